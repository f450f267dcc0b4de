"""Pictures of up to 1,000 kinds for growth.py: crops of scikit-image's sample photographs; any number of classes.

A kind is a place in one photograph with colours of its own; its pictures lie around that place, differ in size, light
and side, and have grain. Picture NUMBER is of kind NUMBER mod 1,000, whatever else is generated: the first 1,000 of
100,000 pictures are the 1,000. A class is a run of neighbouring kinds, so that the same files serve 2, 100 and 1,000
classes: `arranged` makes hard links.
"""

import json
import math
import multiprocessing
import os
import shutil

import numpy as np
import pictures
from PIL import Image

KINDS = 1000
EACH = math.ceil(KINDS / len(pictures.PHOTOGRAPHS))  # kinds of one photograph
ACROSS = 9  # of them side by side
SHARE = 0.3  # side of a picture in sides of the photograph
CANVAS = 3.0  # side of the canvas in sides of a picture
TASK = 250  # pictures


def generate(out, count, megapixels):
    """Write the first `count` pictures as out/THOUSAND/NUMBER.jpg, unless they are there; returns `out`."""
    marker = out / ".pictures.json"
    wanted = {"count": count, "megapixels": megapixels}
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        return out
    width = round(math.sqrt(megapixels * 1e6 * 4 / 3))
    size = (width, round(width * 3 / 4))
    for thousand in range(math.ceil(count / 1000)):
        (out / f"{thousand:03d}").mkdir(parents=True, exist_ok=True)
    by_photograph = [[] for _ in pictures.PHOTOGRAPHS]
    for number in range(count):
        by_photograph[place_of(number % KINDS)[0]].append(number)
    tasks = [(out, some[i : i + TASK], size) for some in by_photograph for i in range(0, len(some), TASK)]
    with multiprocessing.Pool(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        pool.starmap(_some, tasks, chunksize=4)  # neighbours share a photograph, and so its canvas
    marker.write_text(json.dumps(wanted))
    return out


def arranged(source, out, count, classes):
    """The first `count` pictures of `source` as out/CLASS/NUMBER.jpg: links to the files, or copies of them."""
    shutil.rmtree(out, ignore_errors=True)
    for k in range(classes):
        (out / f"class{k:04d}").mkdir(parents=True)
    for number in range(count):
        file = source / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        target = out / f"class{number % KINDS * classes // KINDS:04d}" / file.name
        try:
            target.hardlink_to(file)
        except OSError:  # a file system without links
            shutil.copyfile(file, target)
    return out


def place_of(kind):
    """(photograph, column, row) of a kind, by number."""
    photograph, place = divmod(kind, EACH)
    return photograph, place % ACROSS, place // ACROSS


def _some(out, numbers, size):
    for number in numbers:
        file = out / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        if not file.exists():
            temporary = file.with_suffix(".part")
            _picture(number, size).save(temporary, "JPEG", quality=85)
            temporary.replace(file)


def _picture(number, size):
    """A crop around the place of its kind, up to a sixth of its side away, 0.7 to 1.3 times as large."""
    kind, rng = number % KINDS, np.random.default_rng([1, number])
    photograph, column, row = place_of(kind)
    canvas = pictures.canvas(pictures.PHOTOGRAPHS[photograph], size, CANVAS)
    share = SHARE * rng.uniform(0.7, 1.3)
    w, h = int(share * canvas.width), int(share * canvas.height)
    rows = math.ceil(EACH / ACROSS)
    middle = ((column + 0.5) / ACROSS, (row + 0.5) / rows)
    away = rng.uniform(-SHARE / 6, SHARE / 6, 2)
    x, y = ((m + a) * side for m, a, side in zip(middle, away, canvas.size, strict=True))
    x, y = min(max(int(x - w / 2), 0), canvas.width - w), min(max(int(y - h / 2), 0), canvas.height - h)
    image = canvas.crop((x, y, x + w, y + h)).resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return pictures.coloured(image, _colours(kind) * rng.uniform(0.9, 1.1, (3, 2)))


def _colours(kind):
    """How bright and how dark-heavy each channel of a kind is."""
    rng = np.random.default_rng([2, kind])
    return np.stack([rng.uniform(0.6, 0.9, 3), rng.uniform(0.6, 1.6, 3)], axis=1)
