"""Solar cells (electroluminescence): functional / defective, 2,624 grey PNGs of 300 x 300.

Python package elpv-dataset (CC-BY-NC-SA-4.0). Needs numpy and scikit-learn for the split.
"""

import elpv_split
import fetch
import folders
from divide import Item

a = folders.arguments(__doc__)
archive = fetch.wheel("elpv-dataset==1.0.0.post1", a.cache)
labels = next(n for n in archive.namelist() if n.endswith("labels.csv"))
base = labels.rsplit("/", 1)[0]
rows = elpv_split.read_rows(archive.read(labels).decode())


def item(i):
    path = f"{base}/{rows[i][0]}"
    return Item(elpv_split.class_name(rows[i]), f"cell{i:04d}.png", archive.read(path), path, path)


train, test = elpv_split.train_and_test(rows)
folders.write(a.out, {"train": [item(i) for i in train], "test": [item(i) for i in test]}, a.flatten)
