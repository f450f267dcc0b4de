"""The data sets of the side-by-side runs: the same files for everyone, whole or cut to so many training pictures."""

import hashlib
import shutil
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import peers_tools
import splits

SEED = 7


@dataclass(frozen=True)
class Pictures:
    """A folder with train/CLASS/* and test/CLASS/*; paths are relative to each part, sorted."""

    name: str
    folder: Path
    train: tuple[str, ...]
    test: tuple[str, ...]
    digest: str

    @property
    def test_name(self):
        """The set whose test pictures these are (those of a cut are the whole set's)."""
        return self.name.rsplit("-", 1)[0]

    def right(self, predictions):
        """One bool per test picture: was its class named? A picture without an answer is wrong."""
        return np.array([_same(predictions.get(path), Path(path).parts[0]) for path in self.test])


def open_set(sets, name, cut, work):
    """The set on disk, or its cut: at most `cut` training pictures per class, the test part as it is."""
    folder = sets / name
    if not (folder / "train").is_dir() or not (folder / "test").is_dir():
        raise SystemExit(f"no train/ and test/ in the folder of {name}: see datasets/README.md")
    if cut is not None:
        folder = _cut(folder, name, cut, work)
    parts = {part: _files(folder / part) for part in ("train", "test")}
    said = hashlib.sha256()
    for part, files in parts.items():  # reading every file also warms the page cache, for everyone
        for path in files:
            said.update(f"{part}/{path}\n".encode() + hashlib.sha256((folder / part / path).read_bytes()).digest())
    return Pictures(peers_tools.set_name(name, cut), folder, parts["train"], parts["test"], said.hexdigest()[:12])


def _cut(whole, name, cut, work):
    """Hard links (or copies) of the chosen pictures, made once."""
    folder = work / "sets" / peers_tools.set_name(name, cut)
    if folder.is_dir():
        return folder
    filling = folder.with_name(f"{folder.name}-filling")
    shutil.rmtree(filling, ignore_errors=True)
    for path in _chosen(_files(whole / "train"), name, cut):
        splits.link(whole / "train" / path, filling / "train" / path)
    for path in _files(whole / "test"):
        splits.link(whole / "test" / path, filling / "test" / path)
    filling.rename(folder)
    return folder


def _chosen(files, name, cut):
    classes = {}
    for path in files:
        classes.setdefault(Path(path).parts[0], []).append(path)
    for label, paths in classes.items():
        rng = np.random.default_rng([SEED, zlib.crc32(f"{name}/{label}".encode())])
        yield from sorted(rng.permutation(paths)[:cut].tolist())


def _files(part):
    return tuple(sorted(p.relative_to(part).as_posix() for p in part.glob("*/*") if p.is_file()))


def _same(predicted, label):
    return predicted is not None and unicodedata.normalize("NFC", predicted) == unicodedata.normalize("NFC", label)
