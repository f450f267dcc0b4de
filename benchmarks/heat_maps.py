"""Do heat maps show the place? A small patch on real backgrounds decides the class, at a random position.

    python benchmarks/heat_maps.py --sets SETS [--patches 56 40] [--train head last-1] [--layers 128]

Backgrounds are the photographs of `nature`, squeezed to 224 x 224; every training photograph (every third where the
network itself is trained) appears once with each of four textures, so that nothing but the texture tells the class. The
patch lies inside one quarter of the picture. A classifier is made by `fit`; its heat maps, for the class it answers,
are made of 200 pictures on the test photographs, which it has not seen. Extra layers only with the first size of patch.
Counted: whether the strongest place lies in the patch's quarter, and the share of all heat in it. Some four minutes.
"""

import shutil

import numpy as np
import record

SIDE, PICTURES = 224, 200
BACKBONE, BUDGET = "efficientnet_lite0", "60s"
CLASSES = ("stripes", "checks", "dots", "rings")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument(
        "--patches", nargs="+", type=int, default=[56, 40], help="sides in pixels; all cases on the first [56 40]"
    )
    parser.add_argument("--train", nargs="+", default=["head", "last-1"], help="how much is trained")
    parser.add_argument("--layers", default="128", help="widths of extra layers on the frozen network; empty: none")
    a = parser.parse_args()
    kept = record.Record("heat-maps", "Heat maps: is the strongest place, and most of the heat, where the patch is?", a)
    for side in a.patches:
        every = cases(a.train, a.layers)
        for train, layers in every if side == a.patches[0] else every[: len(a.train)]:
            if not kept.runs(patch=side, train=train, layers=layers):
                kept.add(patch=side, train=train, layers=layers, **measured(a, side, train, layers))
    summarise(kept)


def cases(amounts, layers):
    """Every amount with a plain head, and the frozen network with extra layers."""
    return [(amount, "") for amount in amounts] + ([("head", layers)] if layers else [])


def measured(a, side, train, layers):
    """One classifier and what its heat maps show on unseen backgrounds."""
    from headstart.api import fit
    from headstart.artefact import read_classifier
    from headstart.classifier.explain import explainer

    work = a.work / "heat-maps" / f"{side}-{train}-{layers}"
    shutil.rmtree(work, ignore_errors=True)
    learned = backgrounds(a.sets, "train")
    data = write_set(work / "data", learned if train == "head" else learned[::3], side)
    asked = {"train": "auto" if layers else train, "extra_layers": layers or None, "budget": BUDGET}
    fit(data, out=work / "run", backbone=BACKBONE, **asked)
    artefact = read_classifier(work / "run" / "classifier")
    rng = np.random.default_rng(1)
    unseen = backgrounds(a.sets, "test")
    chosen = [unseen[i % len(unseen)] for i in range(PICTURES)]
    labels = rng.integers(0, len(CLASSES), PICTURES)
    made = [pasted(ground, CLASSES[label], side, rng) for ground, label in zip(chosen, labels, strict=True)]
    looked = explainer(artefact).look(np.stack([picture for picture, _ in made]))
    order = [artefact.classes.index(CLASSES[label]) for label in labels]
    right = looked.probabilities.argmax(axis=1) == order
    hit, mass = scores(looked.heat, [quarter for _, quarter in made])
    return {
        "trained": artefact.decision["train"],
        "depths": list(artefact.depths),
        "grid": list(looked.heat.shape[1:]),
        "right": float(right.mean()),
        "hit": float(hit.mean()),
        "mass": float(mass.mean()),
        "mass_low": float(np.quantile(mass, 0.1)),
        "hit_when_right": float(hit[right].mean()),
        "mass_when_right": float(mass[right].mean()),
    }


def scores(heat, quarters):
    """Whether the maximum of each map lies in its quarter (row, column), and the share of the heat there."""
    n, height, width = heat.shape
    hit, mass = np.zeros(n, bool), np.zeros(n)
    for i, (row, column) in enumerate(quarters):
        # a place belongs to a half by its centre; the middle one of an odd number by half
        rows, columns = shares(height)[row], shares(width)[column]
        inside = np.outer(rows, columns)
        mass[i] = (heat[i] * inside).sum() / max(heat[i].sum(), 1e-9)
        hit[i] = inside.flat[heat[i].argmax()] > 0
    return hit, mass


def shares(length):
    """How much of every place lies in the first and in the second half."""
    first = np.clip(length / 2 - np.arange(length), 0, 1)
    return first, 1 - first


def backgrounds(sets, part):
    """Photographs of `nature` as uint8 (224, 224, 3)."""
    from headstart.images.load import load_image
    from headstart.images.preprocess import Preprocessing

    files = sorted(path for path in (sets / "nature" / part).rglob("*") if path.is_file())
    return [load_image(path, Preprocessing(SIDE)).pixels for path in files]


def write_set(folder, grounds, side):
    """Every background with every texture, as class folders."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for i, ground in enumerate(grounds):
            Image.fromarray(pasted(ground, name, side, rng)[0]).save(folder / name / f"{i:03}.png")
    return folder


def pasted(ground, texture, side, rng):
    """A background with a patch somewhere inside a quarter; the quarter as (row, column)."""
    half = ground.shape[0] // 2
    row, column = (int(x) for x in rng.integers(0, 2, 2))
    top, left = (half * at + int(rng.integers(0, half - side + 1)) for at in (row, column))
    picture = ground.copy()
    picture[top : top + side, left : left + side] = patch(texture, side, rng)
    return picture, (row, column)


def patch(texture, side, rng):
    """A grey texture with a period of 8 to 12 pixels at a random phase, uint8 (side, side, 3)."""
    period = rng.uniform(8, 12)
    y, x = np.mgrid[:side, :side] + rng.uniform(0, period, (2, 1, 1))
    wave = {
        "stripes": np.sin(2 * np.pi * (x + y) / period),
        "checks": np.sign(np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)),
        "dots": 1.5 - 4 * np.hypot(x % period - period / 2, y % period - period / 2) / period,
        "rings": np.sin(2 * np.pi * np.hypot(x - side / 2, y - side / 2) / period),
    }[texture]
    grey = (127.5 + 100 * wave.clip(-1, 1)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def summarise(kept):
    for r in kept.runs():
        what = f"{r['train']}{', an extra layer' if r['layers'] else ''}, patch of {r['patch']} pixels"
        kept.target(f"{what}: strongest place in the patch's quarter", r["hit"], at_least=0.95)
        kept.target(f"{what}: share of the heat in it (chance: 0.25)", r["mass"], at_least=0.5)
    header = ("patch", "asked", "trained", "layers", "depths", "grid", "right", "strongest", "heat", "lowest tenth")
    rows = [
        (r["patch"], r["train"], r["trained"], r["layers"], " ".join(r["depths"]), "x".join(map(str, r["grid"])),
         r["right"], r["hit"], r["mass"], r["mass_low"])
        for r in kept.runs()
    ]  # fmt: skip
    kept.note("all pictures count, also those answered wrong; the map is for the class that is answered")
    kept.finish({"pictures": PICTURES}, {"runs": kept.runs()}, [("Runs", header, rows)])


if __name__ == "__main__":
    main()
