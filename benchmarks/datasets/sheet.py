"""Contact sheet of a data set, to see it before trusting it: python sheet.py FOLDER SHEET.png

8 x 5 thumbnails, picked evenly over the classes with a fixed seed.
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")


def pick(folder, count, seed=0):
    """`count` (class, file) pairs, one class after the other, ordered by class."""
    rng = random.Random(seed)
    by_class = {}
    for file in sorted(Path(folder).rglob("*.*")):
        if file.suffix.lower() in SUFFIXES:
            by_class.setdefault(file.parent.name, []).append(file)
    names = sorted(by_class)
    rng.shuffle(names)
    for files in by_class.values():
        rng.shuffle(files)
    picks, k = [], 0
    while len(picks) < count and any(by_class.values()):
        cls = names[k % len(names)]
        k += 1
        if by_class[cls]:
            picks.append((cls, by_class[cls].pop()))
    return sorted(picks, key=lambda p: p[0])


def draw(folder, out, columns=8, rows=5, side=150):
    """Write the contact sheet of `folder` to `out`."""
    page = Image.new("RGB", (columns * side, rows * (side + 14)), "white")
    pen = ImageDraw.Draw(page)
    for i, (cls, file) in enumerate(pick(folder, columns * rows)):
        image = Image.open(file).convert("RGBA")
        image.thumbnail((side - 4, side - 4))
        if max(image.size) < side - 4:
            zoom = (side - 4) / max(image.size)
            image = image.resize((max(1, int(image.width * zoom)), max(1, int(image.height * zoom))))
        x, y = i % columns * side, i // columns * (side + 14)
        page.paste(image, (x + 2, y + 2), image)
        pen.text((x + 3, y + side), cls[:24], fill="black")
    page.save(out)


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2])
