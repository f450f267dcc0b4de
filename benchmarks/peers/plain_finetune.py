"""A plain PyTorch fine-tune of the last stages, as tutorials have it: timm, AdamW, a cosine, mirrored pictures.

    python benchmarks/peers/plain_finetune.py TRAIN.csv TEST.csv OUT.json --train last-2 --epochs 8 --rate 1e-3 --seed 0

The CSVs have the columns path and label. `--train last-K` trains the last K groups of blocks and a new head, `all`
everything; BatchNorm keeps its statistics. Weights: see peers/weights.py.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    def __init__(self, rows, classes, transform, mirrored):
        self.rows, self.classes, self.transform, self.mirrored = rows, classes, transform, mirrored

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        pixels = self.transform(Image.open(self.rows[i]["path"]).convert("RGB"))
        mirror = self.mirrored and torch.rand(()) < 0.5
        return pixels.flip(-1) if mirror else pixels, self.classes.index(self.rows[i]["label"])


def trained_parts(model, train):
    if train == "all":
        return list(model.children())
    last = [model.conv_head, model.bn2, model.classifier]  # the group after the blocks, and the head
    return [*list(model.blocks)[-int(train.removeprefix("last-")) :], *last]


def fine_tune(model, parts, loader, a):
    for parameter in model.parameters():
        parameter.requires_grad = False
    wanted = [p for part in parts for p in part.parameters()]
    for parameter in wanted:
        parameter.requires_grad = True
    optimizer = torch.optim.AdamW(wanted, lr=a.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, a.epochs * len(loader))
    model.eval()  # BatchNorm keeps its statistics: with few pictures new ones are worse
    for _ in range(a.epochs):
        for pixels, labels in loader:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            loss = torch.nn.functional.cross_entropy(model(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.inference_mode()
def predicted(model, loader):
    batches = (pixels.contiguous(memory_format=torch.channels_last) for pixels, _ in loader)
    return np.concatenate([model(pixels).argmax(1).numpy() for pixels in batches])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs=3, type=Path)
    parser.add_argument("--train", default="last-1")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    rows = [list(csv.DictReader(file.open(encoding="utf-8", errors="surrogateescape"))) for file in a.files[:2]]
    classes = sorted({row["label"] for row in rows[0]})
    model = timm.create_model("tf_efficientnet_lite0.in1k", pretrained=True, num_classes=len(classes))
    model = model.to(memory_format=torch.channels_last)  # up to three times as fast on a processor
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    train, test = (Pictures(part, classes, transform, mirrored=k == 0) for k, part in enumerate(rows))
    fine_tune(model, trained_parts(model, a.train), DataLoader(train, 32, shuffle=True), a)
    answers = [classes[k] for k in predicted(model, DataLoader(test, 64))]
    right = [answer == row["label"] for answer, row in zip(answers, rows[1], strict=True)]
    a.files[2].write_text(json.dumps({"top1": float(np.mean(right)), "right": [int(r) for r in right]}))


if __name__ == "__main__":
    main()
