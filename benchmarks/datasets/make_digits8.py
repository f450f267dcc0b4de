"""Digits of 8 x 8 grey pixels, enlarged to 64 x 64 (bilinear), 0..9.

Python package scikit-learn, its bundled UCI digits (data CC-BY-4.0).
"""

import gzip
import io

import fetch
import folders
from divide import Item, divide
from PIL import Image

a = folders.arguments(__doc__)
archive = fetch.wheel("scikit-learn", a.cache)
items = []
for i, row in enumerate(gzip.decompress(archive.read("sklearn/datasets/data/digits.csv.gz")).decode().split()):
    values = [round(float(x)) for x in row.split(",")]
    image = Image.frombytes("L", (8, 8), bytes(min(255, x * 16) for x in values[:64]))
    png = io.BytesIO()
    image.resize((64, 64), Image.Resampling.BILINEAR).save(png, "PNG")
    items.append(Item(str(values[64]), f"digit{i:04d}.png", png.getvalue(), f"{i:04d}", f"row {i}"))
train, test = divide(items, test=0.5)
folders.write(a.out, {"train": train, "test": test}, a.flatten)
