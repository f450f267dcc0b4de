"""The cells of the decision grid: which pictures are trained on, which are test, written down as manifests.

A pool is a whole set, train and test part together: readable pictures, of identical pixels the first (all go when they
lie in two classes). Cuts: at most 5 or 20 pictures per class, or "full". In every cut a class keeps at least a quarter
of its pictures (rounded up) for the test, so a class of 8 gives 6 to a cut of 20. No cell has more than 600 training
pictures: "full" then takes every class in proportion, the others lower the number per class. What is not trained on is
test. A cell with fewer than 400 test pictures, or with at most 40 to learn from, is drawn four times: the pictures of
a class stand in one random order, in which every draw starts a quarter further; so training sets of a cut share as
little as they can, and in "full" every picture is tested once. Smaller cuts are parts of larger ones.
"""

import csv
import hashlib
import io
import json
import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

SETS = ("nature", "gcompris", "elpv", "emoji_subgroup", "mnist5k", "digits8")
CUTS = ("full", "20", "5")
NO_CUT = ("emoji_subgroup-20",)  # 86 classes: 20 of each are more than 600, it would be "full" once more
MOST_TRAINING, FEW_TEST, DRAWS = 600, 400, 4
FEW_TRAINING = 40  # which ten of 2,600 solar cells are learned from decides more than how
SEED = 3


@dataclass(frozen=True)
class Pool:
    """Pictures of a set, in the order of their paths: `paths`, `labels` (names), `hashes` of the pixels (hex)."""

    name: str
    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    hashes: tuple[str, ...]
    left_out: int

    @cached_property
    def by_class(self):
        """Rows of each class in its one random order."""
        found = {}
        for label in sorted(set(self.labels)):
            rows = np.flatnonzero(np.array(self.labels) == label)
            rng = np.random.default_rng([SEED, zlib.crc32(f"{self.name}/{label}".encode())])
            found[label] = rng.permutation(rows)
        return found


@dataclass(frozen=True)
class Draw:
    """One sub-cell: rows of the pool to train on and to test on, ascending."""

    cell: str
    number: int
    pool: Pool
    train: np.ndarray
    test: np.ndarray

    @property
    def name(self):
        return f"{self.cell}-d{self.number}"

    @cached_property
    def digest(self):
        """What the draw is made of, labels and pixels: entries of another one are not its own."""
        said = hashlib.sha256()
        for part in (self.train, self.test):
            said.update("".join(f"{self.pool.hashes[i]} {self.pool.labels[i]}\n" for i in part).encode() + b"\0")
        return said.hexdigest()[:12]

    def manifest(self, work, part="train"):
        """The CSV of one part, path and label, for the real command line."""
        rows = self.train if part == "train" else self.test
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("path", "label"))
        writer.writerows((self.pool.paths[i], self.pool.labels[i]) for i in rows)
        file = work / "cells" / f"{self.name}-{part}.csv"
        content = text.getvalue().encode("utf-8", "surrogateescape")
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return file


def cell_names(patterns=()):
    """Names of all cells, or of those that are named (or whose set is)."""
    names = [cell for name in SETS for cut in CUTS if (cell := f"{name}-{cut}") not in NO_CUT]
    wanted = [n for n in names if not patterns or n in patterns or n.rsplit("-", 1)[0] in patterns]
    if unknown := [p for p in patterns if p not in names and p not in SETS]:
        raise SystemExit(f"no cell {unknown[0]!r}: choose among {', '.join(names)}, or a set")
    return wanted


def draws_of(cell, pool):
    """The draws of a cell, checked."""
    cut = cell.rsplit("-", 1)[1]
    share = quotas({label: len(rows) for label, rows in pool.by_class.items()}, cut)
    few = len(pool.paths) - sum(share.values()) < FEW_TEST
    draws = []
    for number in range(DRAWS if few or sum(share.values()) <= FEW_TRAINING else 1):
        train = [np.roll(rows, -(number * len(rows) // DRAWS))[: share[c]] for c, rows in pool.by_class.items()]
        rows = np.sort(np.concatenate(train))
        draws.append(Draw(cell, number, pool, rows, np.setdiff1d(np.arange(len(pool.paths)), rows)))
        check(draws[-1])
    if cut == "full" and few and len(np.unique(np.concatenate([d.test for d in draws]))) != len(pool.paths):
        raise AssertionError(f"{cell}: a picture is never tested")
    return draws


def quotas(sizes, cut):
    """Training pictures per class."""
    room = {c: n - math.ceil(n / 4) for c, n in sizes.items()}
    if min(room.values()) < 1:
        raise SystemExit(f"class {min(room, key=room.get)!r} has one picture: it cannot be trained on and tested")
    limit = max(room.values()) if cut == "full" else int(cut)
    share = {c: min(limit, n) for c, n in room.items()}
    if sum(share.values()) <= MOST_TRAINING:
        return share
    if cut == "full":
        exact = {c: MOST_TRAINING * n / sum(sizes.values()) for c, n in sizes.items()}
        share = {c: max(1, math.floor(x)) for c, x in exact.items()}
        next_ones = sorted(exact, key=lambda c: (math.floor(exact[c]) - exact[c], c))
    else:
        while sum(share.values()) > MOST_TRAINING:
            limit -= 1
            share = {c: min(limit, n) for c, n in room.items()}
        next_ones = sorted(sizes, key=lambda c: (-sizes[c], c))
    for c in next_ones[: MOST_TRAINING - sum(share.values())]:
        share[c] += share[c] < room[c]
    return share


def check(draw):
    """Nothing is on both sides, by number or by pixels; nothing is lost; every class is on both sides."""
    pool = draw.pool
    train, test = ({pool.hashes[i] for i in rows} for rows in (draw.train, draw.test))
    assert not set(draw.train.tolist()) & set(draw.test.tolist()), f"{draw.name}: a picture in train and test"
    assert not train & test, f"{draw.name}: identical pixels in train and test"
    assert len(train) + len(test) == len(pool.paths), f"{draw.name}: a picture is lost or doubled"
    assert len(draw.train) <= MOST_TRAINING, f"{draw.name}: too many training pictures"
    for rows in (draw.train, draw.test):
        assert {pool.labels[i] for i in rows} == set(pool.labels), f"{draw.name}: a class is missing"


def open_pool(sets, name, work):
    """The pool of a set; pixels are hashed by headstart's own pass, once per work folder."""
    listed = sorted(p for part in ("train", "test") for p in (sets / name / part).glob("*/*") if p.is_file())
    if not listed:
        raise SystemExit(f"{sets / name} has no pictures: see datasets/README.md")
    lines = "".join(f"{p} {p.stat().st_size}\n" for p in listed)
    listing = hashlib.sha256(lines.encode("utf-8", "replace")).hexdigest()
    kept = work / "pools" / f"{name}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("listing") != listing:
        known = {"listing": listing, "hashes": _pixel_hashes(listed, work / "cache")}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(known))
    labels = [p.parent.name for p in listed]
    classes_of = {}
    for label, pixels in zip(labels, known["hashes"], strict=True):
        classes_of.setdefault(pixels, set()).add(label)
    seen, rows = set(), []
    for i, pixels in enumerate(known["hashes"]):
        if pixels and pixels not in seen and len(classes_of[pixels]) == 1:
            rows.append(i)
        seen.add(pixels)
    columns = [tuple(column[i] for i in rows) for column in (listed, labels, known["hashes"])]
    return Pool(name, *columns, left_out=len(listed) - len(rows))


def _pixel_hashes(paths, cache):
    from headstart import rules
    from headstart.backbone.backbone import open_backbone
    from headstart.embedding.embed import EmbedOptions, embed

    print(f"embedding {len(paths)} pictures of {paths[0].parent.parent.parent.name}", flush=True)
    found = embed(paths, open_backbone(rules.backbone("auto").value, cache), EmbedOptions(cache=cache))
    return ["" if error else key.hex() for key, error in zip(found.pixel_hashes, found.errors, strict=True)]
