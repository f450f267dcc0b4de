"""fastai as its quick start has it: `vision_learner`, then one of its two schedules.

    python benchmarks/peers/fastai_learner.py TRAIN TEST OUT.json frozen|fine_tune

`frozen`: five epochs of the new head, `fit_one_cycle(5)`. `fine_tune`: one epoch of the head and three of everything,
`fine_tune(3)`. A fifth of TRAIN is held out, as in fastai's own examples. The weights come from a local hub cache
(weights.py). Lines that the user does not write are outside of the marks.
"""

import sys

SCHEDULES = {"frozen": lambda learn: learn.fit_one_cycle(5), "fine_tune": lambda learn: learn.fine_tune(3)}

if __name__ == "__main__":
    train_with = SCHEDULES[sys.argv[4]]
    # --- the user's lines
    from pathlib import Path

    from fastai.vision.all import ImageDataLoaders, Resize, accuracy, parent_label, vision_learner

    train, test = Path(sys.argv[1]), Path(sys.argv[2])
    files, unseen = sorted(train.glob("*/*")), sorted(test.glob("*/*"))
    loaders = ImageDataLoaders.from_path_func(train, files, parent_label, valid_pct=0.2, seed=42, item_tfms=Resize(224))
    learn = vision_learner(loaders, "tf_efficientnet_lite0.in1k", metrics=accuracy)
    train_with(learn)
    probabilities, _ = learn.get_preds(dl=loaders.test_dl(unseen))
    predicted = [loaders.vocab[i] for i in probabilities.argmax(dim=1)]
    # --- end of the user's lines
    import answers

    answers.write(sys.argv[3], test, zip(unseen, predicted, strict=True))
