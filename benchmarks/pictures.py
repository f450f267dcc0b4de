"""Many generated JPEGs, quickly: crops of scikit-image's sample photographs, scaled, mirrored, re-coloured, with grain.

    python benchmarks/pictures.py OUT --megapixels 12 --count 2000
    python benchmarks/pictures.py OUT --megapixels 0.08 --count 20000

OUT/CLASS/NUMBER.jpg, one class per photograph, quality 85, the same files for the same numbers and Pillow. Uses every
core; 2,000 of 12 megapixels take about three minutes on two cores, 20,000 small ones half a minute. An OUT that is
complete is left alone.
"""

import argparse
import functools
import json
import math
import multiprocessing
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
ROOM = 1.6  # side of the canvas in sides of a picture
GRAIN = 12  # sensor noise, so that files are as large as photographs' files
TASK = 50  # pictures


def generate(out, count, megapixels, seed=0):
    """Write `count` pictures below `out`, unless they are there; returns `out`."""
    wanted = {"count": count, "megapixels": megapixels, "seed": seed}
    marker = out / ".pictures.json"  # hidden: no part of the data
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        return out
    tasks = []
    for k, name in enumerate(PHOTOGRAPHS):
        (out / Path(name).stem).mkdir(parents=True, exist_ok=True)
        numbers = list(range(k, count, len(PHOTOGRAPHS)))
        tasks += [(out, name, numbers[i : i + TASK], megapixels, seed) for i in range(0, len(numbers), TASK)]
    with multiprocessing.Pool(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        pool.starmap(_some, tasks, chunksize=4)  # neighbours share a photograph, and so its canvas
    marker.write_text(json.dumps(wanted))
    return out


def _some(out, name, numbers, megapixels, seed):
    width = round(math.sqrt(megapixels * 1e6 * 4 / 3))
    size = (width, round(width * 3 / 4))
    whole = canvas(name, size)
    for number in numbers:
        file = out / Path(name).stem / f"{number:06d}.jpg"
        if not file.exists():
            temporary = file.with_suffix(".part")
            _picture(whole, size, np.random.default_rng([seed, number])).save(temporary, "JPEG", quality=85)
            temporary.replace(file)


@functools.lru_cache(maxsize=1)
def canvas(name, size, room=ROOM):
    """The photograph, cut to 4:3 and enlarged to `room` times the size of a picture, with grain."""
    spec = find_spec("skimage")
    if spec is None:
        raise SystemExit("pip install scikit-image: its sample photographs are the raw material")
    photograph = Image.open(Path(spec.submodule_search_locations[0]) / "data" / name).convert("RGB")
    w, h = photograph.size
    cut_w, cut_h = min(w, h * 4 / 3), min(h, w * 3 / 4)
    box = ((w - cut_w) / 2, (h - cut_h) / 2, (w + cut_w) / 2, (h + cut_h) / 2)
    whole = photograph.resize((int(room * size[0]), int(room * size[1])), Image.Resampling.BICUBIC, box=box)
    pixels = np.asarray(whole, np.int16)
    noise = np.random.default_rng(0).integers(-GRAIN, GRAIN + 1, pixels.shape, dtype=np.int16)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def coloured(image, channels):
    """Every channel of `image` with a brightness of its own (at most 1) and a curve of its own: `channels` has both."""
    ramp = np.linspace(0, 1, 256)
    return image.point([int(v) for light, power in channels for v in 255 * (light * ramp**power)])


def _picture(whole, size, rng):
    """A crop of the canvas: a large picture keeps the canvas's scale (resizing 12 megapixels costs more than JPEG)."""
    scale = 1.0 if size[0] > 1000 else rng.uniform(0.7, ROOM)
    w, h = int(scale * size[0]), int(scale * size[1])
    x, y = int(rng.integers(0, whole.width - w + 1)), int(rng.integers(0, whole.height - h + 1))
    image = whole.crop((x, y, x + w, y + h))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return coloured(image, [(rng.uniform(0.7, 1.0), rng.uniform(0.7, 1.4)) for _ in range(3)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    folder = generate(a.out, a.count, a.megapixels, a.seed)
    total = sum(p.stat().st_size for p in folder.rglob("*.jpg"))
    print(
        f"{a.count} pictures of {a.megapixels:g} megapixels, {total / a.count / 1e6:.2f} MB each, {total / 1e9:.2f} GB"
    )
