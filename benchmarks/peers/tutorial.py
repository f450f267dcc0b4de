"""The loop of PyTorch's transfer learning tutorial, the network as a fixed feature extractor, its 25 epochs.

    python benchmarks/peers/tutorial.py TRAIN TEST OUT.json

The tutorial's recipe: batches of 4, four loader processes, SGD 0.001 with momentum 0.9, a tenth of the rate every 7
epochs, random crops and flips, the best epoch on held-out pictures is kept. Its ResNet-18 is replaced by
EfficientNet-Lite0 through timm, with that network's normalisation; a fifth of TRAIN is held out where the tutorial has
a second folder.
"""

import sys

if __name__ == "__main__":
    # --- the user's lines
    import copy
    from pathlib import Path

    import timm
    import torch
    from torch import nn, optim
    from torch.optim import lr_scheduler
    from torch.utils.data import DataLoader, Subset
    from torchvision import datasets, transforms

    train_folder, test_folder = Path(sys.argv[1]), Path(sys.argv[2])
    model = timm.create_model("tf_efficientnet_lite0.in1k", pretrained=True)
    normal = transforms.Normalize(model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
    views = {
        "train": transforms.Compose(
            [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normal]
        ),
        "val": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normal]),
    }
    whole = {phase: datasets.ImageFolder(train_folder, view) for phase, view in views.items()}
    order = torch.randperm(len(whole["train"]), generator=torch.Generator().manual_seed(0)).tolist()
    held = len(order) // 5
    parts = {"train": Subset(whole["train"], order[held:]), "val": Subset(whole["val"], order[:held])}
    loaders = {p: DataLoader(parts[p], batch_size=4, shuffle=p == "train", num_workers=4) for p in parts}
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.reset_classifier(len(whole["train"].classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.get_classifier().parameters(), lr=0.001, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best, best_weights = -1.0, None
    for epoch in range(25):
        for phase in ("train", "val"):
            model.train(phase == "train")
            right = 0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    if phase == "train":
                        criterion(outputs, labels).backward()
                        optimizer.step()
                right += (outputs.argmax(1) == labels).sum().item()
            if phase == "train":
                scheduler.step()
            print(epoch, phase, right / len(parts[phase]), flush=True)
        if right / held > best:
            best, best_weights = right / held, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    model.eval()
    unseen = datasets.ImageFolder(test_folder, views["val"])
    predicted = []
    with torch.inference_mode():
        for inputs, _ in DataLoader(unseen, batch_size=4, num_workers=4):
            predicted += [unseen.classes[i] for i in model(inputs).argmax(1)]
    # --- end of the user's lines
    import answers

    answers.write(sys.argv[3], test_folder, zip([path for path, _ in unseen.samples], predicted, strict=True))
