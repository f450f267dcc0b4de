"""Pictures of a set: drop the same-looking ones, divide them into train and test with variants on one side."""

import collections
import hashlib
import io
import random
import re

from PIL import Image

Image.MAX_IMAGE_PIXELS = None
Item = collections.namedtuple("Item", "cls name data group source")


def group_key(stem):
    """File names of variants of one picture -> one key, so that they stay on one side."""
    variants = r"[-_]?(bw|mirror|flip|outline[sd]?|silhouette|black|white|shaded|color|colour)(?=[-_.]|$)"
    return re.sub(r"[-_ ]*\d*[-_ ]*$", "", re.sub(variants, "", stem.lower())) or stem


def _fingerprint(data):
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    base = Image.new("RGBA", image.size, "white")
    base.alpha_composite(image)
    small = base.convert("RGB").resize((24, 24), Image.Resampling.BOX)
    return hashlib.sha1(bytes(b >> 3 for b in small.tobytes())).hexdigest()


def distinct(items):
    """Drop files that look the same (the same 24 x 24 thumbnail), whatever their class."""
    seen, keep = set(), []
    for item in items:
        key = _fingerprint(item.data)
        if key not in seen:
            seen.add(key)
            keep.append(item)
    print("same-looking files dropped:", len(items) - len(keep))
    return keep


def divide(items, test=0.3, seed=0, min_class=12, cap=None):
    """(train, test): stratified by class, whole groups on one side, the same for every run."""
    by_class = collections.defaultdict(lambda: collections.defaultdict(list))
    for item in items:
        by_class[item.cls][item.group].append(item)
    train, held = [], []
    for cls in sorted(by_class):
        groups = []
        for key, group in sorted(by_class[cls].items()):  # more than 5 alike names: a numbered series, not variants
            groups += [(key, group)] if len(group) <= 5 else [(f"{key}{k}", [it]) for k, it in enumerate(group)]
        random.Random(f"{seed}-{cls}").shuffle(groups)
        members, n = [], 0
        for _, group in groups:
            if cap is None or n + len(group) <= cap:
                members.append(group)
                n += len(group)
        if n < min_class:
            print(f"class {cls!r} dropped: {n} images")
            continue
        wanted, got = max(1, round(test * n)), 0
        for group in members:
            if got < wanted:
                held += group
                got += len(group)
            else:
                train += group
    return train, held
