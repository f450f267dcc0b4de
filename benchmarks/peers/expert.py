"""What an expert writes by hand: timm embeddings, StandardScaler, LogisticRegressionCV.

    python benchmarks/peers/expert.py TRAIN TEST OUT.json        both folders hold CLASS/*

The weights come from a local Hugging Face hub cache (see peers/weights.py), so that every rival starts from the same
tensors. The 23 lines between the marks are what the user has to write; the rest only records. `embed` and `head` can be
imported: splits.py fits the same head on other divisions of the same embeddings.
"""

import sys

# --- the user's lines
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

model = timm.create_model("tf_efficientnet_lite0.in1k", pretrained=True, num_classes=0).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))


@torch.inference_mode()
def embed(paths):
    batches = [paths[i : i + 32] for i in range(0, len(paths), 32)]
    return np.concatenate([model(torch.stack([transform(Image.open(p).convert("RGB")) for p in b])) for b in batches])


folds = StratifiedKFold(5, shuffle=True, random_state=0)
head = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 1, 7), cv=folds, max_iter=1000))
# --- (not counted) what is above can be imported
if __name__ == "__main__":
    # --- the user's lines go on
    parts = {"train": Path(sys.argv[1]), "test": Path(sys.argv[2])}
    files = {part: sorted(p for p in folder.glob("*/*") if p.is_file()) for part, folder in parts.items()}
    X, y = {k: embed(v) for k, v in files.items()}, {k: [p.parent.name for p in v] for k, v in files.items()}
    head.fit(X["train"], y["train"])
    predicted = head.predict(X["test"])
    print("accuracy", np.mean(predicted == np.array(y["test"])))
    # --- end of the user's lines
    import answers

    answers.write(sys.argv[3], parts["test"], zip(files["test"], predicted, strict=True))
