"""Folders: one per class, or train/ val/ test/ that each hold one per class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart.data.assemble import Columns, assemble, shown
from headstart.data.samples import Samples
from headstart.data.walk import FolderId, Listing, Tally, folder_id, list_folder, pictures_below
from headstart.errors import DataError
from headstart.images.printable import printable

_PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class _ClassFolder:
    label: str
    part: str
    inside: str  # relative to the root
    above: frozenset[FolderId]


def scan_folder(root: Path) -> Samples:
    """Samples of a folder. Raises DataError: empty, no class folders, an archive's wrapper named by mistake."""
    tally = Tally()
    top = list_folder(root, tally)
    _check_readable(root, tally)
    for _ in top.pictures:
        tally.ignore("picture outside a class folder")
    here = frozenset(identity for identity in [folder_id(root)] if identity)
    columns = Columns()
    empty: list[str] = []
    for folder in _class_folders(root, top, here, tally):
        if not _take(root, folder, columns, tally):
            empty.append(folder.inside)
    if not columns.paths:
        raise _nothing(root, top, tally)
    if len(set(columns.labels)) == 1:
        _hint_at_wrapper(root, top)
    if empty:
        tally.remark(f"no pictures in {shown(name.replace(os.sep, '/') for name in empty)}: left out")
    if tally.nested:
        tally.remark("class folders hold sub-folders: their pictures count for the class")
    if top.pictures:
        tally.remark(f"{len(top.pictures)} pictures lie outside the class folders: left out")
    return assemble(root, columns, dict(tally.ignored), tally.remarks)


def _class_folders(root: Path, top: Listing, here: frozenset[FolderId], tally: Tally) -> Iterator[_ClassFolder]:
    named_as_parts = bool(top.folders) and all(name.lower() in _PARTS for name in top.folders)
    if not named_as_parts:
        yield from (_ClassFolder(name, "train", name, here) for name in top.folders)
        return
    quiet = Tally()
    inner = {name: list_folder(root / name, quiet) for name in top.folders}
    if not any(listing.folders for listing in inner.values()):
        tally.remark(f"{shown(top.folders)} hold pictures and no class folders: taken as classes of these names")
        yield from (_ClassFolder(name, "train", name, here) for name in top.folders)
        return
    for name, listing in inner.items():
        list_folder(root / name, tally)  # what lies beside the class folders is counted once
        if listing.pictures:
            tally.ignored["picture outside a class folder"] += len(listing.pictures)
            tally.remark(f"{len(listing.pictures)} pictures in {name} lie outside its class folders: left out")
        identity = folder_id(root / name)
        above = here | {identity} if identity else here
        for label in listing.folders:
            yield _ClassFolder(label, _PARTS[name.lower()], name + os.sep + label, above)


def _take(root: Path, folder: _ClassFolder, columns: Columns, tally: Tally) -> int:
    """Add the pictures of one class folder to `columns`; returns how many."""
    found = pictures_below(root / folder.inside, folder.above, tally)
    for inside in found:
        relative = folder.inside + os.sep + inside
        columns.paths.append(root / relative)
        columns.names.append(printable(relative if os.sep == "/" else relative.replace(os.sep, "/")))
    columns.labels.extend([folder.label] * len(found))
    columns.parts.extend([folder.part] * len(found))
    return len(found)


def _check_readable(root: Path, tally: Tally) -> None:
    if tally.ignored["unreadable folder"]:
        raise DataError(f"{tally.remarks[0]}: check its permissions")


def _nothing(root: Path, top: Listing, tally: Tally) -> DataError:
    place = printable(str(root))
    name = printable(root.resolve().name) or "data"
    wanted = f"one folder per class ({name}/robin/1.jpg, {name}/wren/2.jpg), or a CSV with the columns path,label"
    if top.pictures:
        return DataError(f"{place}: {len(top.pictures)} pictures but no class folders: give {wanted}")
    if top.folders or tally.ignored:
        return DataError(f"{place}: no pictures found (left aside: {_listed(tally)}): give {wanted}")
    return DataError(f"{place}: the folder is empty: give {wanted}")


def _listed(tally: Tally) -> str:
    counted = [f"{count} x {reason}" for reason, count in sorted(tally.ignored.items())]
    return shown(counted) if counted else "nothing"


def _hint_at_wrapper(root: Path, top: Listing) -> None:
    """An unpacked archive often has one folder around everything."""
    for name in top.folders:
        inner = list_folder(root / name, Tally())
        if len(top.folders) == 1 and len(inner.folders) > 1 and not inner.pictures:
            raise DataError(
                f"{printable(str(root))}: only one class folder ({printable(name)}), at least two are needed: "
                f"did you mean {printable(str(root / name))}?"
            )
