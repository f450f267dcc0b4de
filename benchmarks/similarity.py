"""How similar are the reference sets to what each embedded backbone was trained on? Calibrates near, middle and far.

    python benchmarks/similarity.py --sets SETS

Both measures (BatchNorm shift, confidence of the discarded head) on at most 240 training pictures per set, on
photographs that were made worse, and on textures; thresholds at the geometric midpoints between the groups below; the
place that howmuch/places.py gives; and how steady it is over draws of 96 and of 24 pictures. The caches are the
user's own (HEADSTART_CACHE). About 8 minutes.
"""

import itertools
import math

import numpy as np
import record

# What the sets show: photographs like ImageNet's; drawn things and printed cards; grey cells and digits.
GROUPS = {
    "near": ("gcompris", "nature"),
    "middle": ("emoji_subgroup", "cards"),
    "far": ("elpv", "mnist5k", "digits8"),
}
SETS = [name for group in GROUPS.values() for name in group]
ANCHORS = ("nature, grey", "nature, contrast / 4", "nature, noisy", "nature, blurred", "grey texture", "white noise")
MEASURES = ("bn_shift", "bn_shift_early", "bn_shift_late", "source_confidence")
PICTURES, DRAWS = 240, 10
SIZES = (96, 24, 5)


def main():
    from headstart.backbone.packages import PACKAGES

    parser = record.arguments(__doc__)
    parser.add_argument("--backbones", nargs="*", default=list(PACKAGES), help="these backbones [all embedded]")
    a = parser.parse_args()
    kept = record.Record("similarity", "Similarity of the reference sets to ImageNet, per embedded backbone", a)
    for backbone in a.backbones:
        for name in (*SETS, *ANCHORS):
            if not kept.runs(backbone=backbone, set=name):
                kept.add(backbone=backbone, set=name, **measured(backbone, name, a.sets))
    summarise(kept, a.backbones)


def measured(backbone_name, name, sets):
    """The measures on all pictures of one set, and on draws of them."""
    from headstart.backbone.backbone import open_backbone
    from headstart.cache_folder import cache_folder
    from headstart.embedding.embed import EmbedOptions, embed
    from headstart.embedding.moments import picture_moments

    anchor = name in ANCHORS
    sources = pictures_of(name, sets)
    backbone = open_backbone(backbone_name)
    confidence = embed(sources, backbone, EmbedOptions(cache=None if anchor else cache_folder())).source_top[1][:, 0]
    found = picture_moments(sources, backbone)
    if len(found) != len(sources):
        raise ValueError(f"{name}: {len(sources) - len(found)} pictures could not be read")
    everything = np.arange(len(sources))
    rng = np.random.default_rng(1)
    draws = {}
    for size in SIZES if not anchor else ():
        chosen = [rng.choice(everything, min(size, len(everything)), replace=False) for _ in range(DRAWS)]
        draws[str(size)] = [values(found, confidence, rows) for rows in chosen]
    return {"n": len(sources), **values(found, confidence, everything), "draws": draws}


def values(found, confidence, rows):
    """The four measures on some of the pictures."""
    from headstart.embedding.moments import shifts
    from headstart.howmuch.similarity import measure

    seen = measure(shifts(found, rows), float(confidence[rows].astype(float).mean()), None, "")
    return {key: getattr(seen, key) for key in MEASURES}


def pictures_of(name, sets):
    """Paths of a set's training pictures, a seeded draw; or the arrays of an anchor."""
    if name in SETS:
        return drawn(sets / name, PICTURES)
    rng = np.random.default_rng(2)
    if name == "white noise":
        return list(rng.integers(0, 256, (96, 256, 256, 3), dtype=np.uint8))
    if name == "grey texture":
        return [texture(rng) for _ in range(96)]
    return [degraded(path, name, rng) for path in drawn(sets / "nature", 96)]


def drawn(folder, most):
    files = sorted(path for path in (folder / "train").rglob("*") if path.is_file())
    order = np.random.default_rng(0).permutation(len(files))[:most]
    return [files[i] for i in sorted(order)]


def texture(rng):
    """Grey noise smoothed over some 4 pixels, stretched to the middle half of the range."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.normal(size=(256, 256)), 4)
    return (127.5 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def degraded(path, how, rng):
    from PIL import Image, ImageFilter

    with Image.open(path) as file:
        whole = file.convert("RGB")
    whole.thumbnail((512, 512))
    if how.endswith("grey"):
        return np.asarray(whole.convert("L"))
    if how.endswith("blurred"):
        return np.asarray(whole.filter(ImageFilter.GaussianBlur(8)))
    pixels = np.asarray(whole, float)
    worse = 127.5 + (pixels - 127.5) / 4 if how.endswith("/ 4") else pixels + rng.normal(0, 50, pixels.shape)
    return worse.clip(0, 255).astype(np.uint8)


def thresholds(runs, without=None):
    """Per measure the two geometric midpoints between neighbouring groups; None when the groups overlap."""
    found = {}
    for key in ("bn_shift", "source_confidence"):
        groups = [[r[key] for r in runs if r["set"] in g and r["set"] != without] for g in GROUPS.values()]
        if key == "source_confidence":  # falls where the shift rises
            groups = groups[::-1]
        pairs = list(itertools.pairwise(groups))
        middles = [math.sqrt(max(low) * min(high)) for low, high in pairs]
        apart = all(max(low) < min(high) for low, high in pairs)
        found[key] = (middles[::-1] if key == "source_confidence" else middles) if apart else None
    return found


def left_out(runs):
    """Sets that come into another group by thresholds that were made without them."""
    from headstart.howmuch.places import Places
    from headstart.howmuch.similarity import place_of

    wrong = []
    for r in runs:
        found = thresholds(runs, r["set"])
        shift, confidence = found["bn_shift"], found["source_confidence"]
        table = Places(tuple(shift), tuple(confidence) if confidence else None, "")
        place = place_of(r["bn_shift"], r["source_confidence"], table)
        if place != group(r["set"]):
            wrong.append(f"{r['set']} ({place})")
    return wrong


def summarise(kept, backbones):
    from headstart.howmuch.places import PLACES
    from headstart.howmuch.similarity import place_of

    tables, proposed = [], {}
    header = ("set", "pictures", "shift", "early", "late", "confidence", "place")
    header += (*(f"same at {size}" for size in SIZES), "shift at 24")
    for backbone in backbones:
        runs, table = kept.runs(backbone=backbone), PLACES[backbone]
        tables.append((backbone, header, [row(r, table) for r in runs]))
        judged = [r for r in runs if r["set"] in SETS]
        proposed[backbone] = thresholds(judged)
        right = [place_of(r["bn_shift"], r["source_confidence"], table) == group(r["set"]) for r in judged]
        kept.target(
            f"{backbone}: sets in their group by places.py, which was made from them", sum(right), at_least=len(SETS)
        )
        rounded = {k: v and [round(x, 3) for x in v] for k, v in proposed[backbone].items()}
        said = ", ".join(f"{k} {v or 'does not count (the groups overlap)'}" for k, v in rounded.items())
        kept.note(f"{backbone}, midpoints: {said}")
        kept.note(
            f"{backbone}, in another group by thresholds made without them: {', '.join(left_out(judged)) or 'none'}"
        )
    n = {name: kept.runs(set=name)[0]["n"] for name in (*SETS, *ANCHORS)}
    kept.note("the groups are ours, by what the pictures show; seven sets, so every threshold rests on two of them")
    kept.note("`same at 24`: draws of 24 pictures with the place of all; draws overlap, the more the smaller a set is")
    kept.finish(n, {"thresholds": proposed}, tables)


def row(r, table):
    from headstart.howmuch.similarity import place_of

    place = place_of(r["bn_shift"], r["source_confidence"], table)
    steady = []
    for size in SIZES:
        draws = r["draws"].get(str(size), [])
        same = sum(place_of(d["bn_shift"], d["source_confidence"], table) == place for d in draws)
        steady.append(f"{same}/{len(draws)}" if draws else None)
    shifts = [d["bn_shift"] for d in r["draws"].get("24", [])]
    span = f"{min(shifts):.3f}-{max(shifts):.3f}" if shifts else None
    return (r["set"], r["n"], *(f"{r[key]:.3f}" for key in MEASURES), place, *steady, span)


def group(name):
    return next(place for place, names in GROUPS.items() if name in names)


if __name__ == "__main__":
    main()
