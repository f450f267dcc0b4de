"""Walk one folder tree: picture files out, everything else counted. Links are followed, loops are cut."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headstart.images.printable import printable

# What is taken as a picture by name; what is really in the file decides when it is opened. HEIC and AVIF are taken so
# that they are listed with the reason instead of vanishing silently.
_PICTURES = frozenset(
    (
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "apng",
        "webp",
        "bmp",
        "dib",
        "gif",
        "tif",
        "tiff",
        "mpo",
        "heic",
        "heif",
        "avif",
    )
)
_SYSTEM = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information")
)
_MOST_KINDS = 20  # different reasons counted apart; a folder of random extensions must not fill the report

FolderId = tuple[int, int]


@dataclass
class Tally:
    """What a walk leaves aside: `ignored` files by reason, and `remarks`, one line each."""

    ignored: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    nested: bool = False

    def ignore(self, reason: str) -> None:
        """Count one file or folder left aside."""
        known = reason in self.ignored or len(self.ignored) < _MOST_KINDS
        self.ignored[reason if known else "other files"] += 1

    def remark(self, text: str) -> None:
        """Note something once."""
        if text not in self.remarks:
            self.remarks.append(text)


@dataclass(frozen=True)
class Listing:
    """One folder: names of its sub-folders and of its pictures, each in code point order."""

    folders: tuple[str, ...]
    pictures: tuple[str, ...]


def is_hidden(name: str) -> bool:
    """Names that file managers, archivers and notebooks leave behind."""
    return name.startswith(".") or name.lower() in _SYSTEM


def list_folder(folder: Path, tally: Tally) -> Listing:
    """Sub-folders and pictures of `folder`; a folder that cannot be read is noted and empty."""
    folders: list[str] = []
    pictures: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _sort_out(entry, folders, pictures, tally)
    except OSError as error:
        reason = "permission denied" if error.errno in (errno.EACCES, errno.EPERM) else str(error.strerror)
        tally.ignore("unreadable folder")
        tally.remark(f"folder {printable(str(folder))} could not be read ({reason})")
    return Listing(tuple(sorted(folders)), tuple(sorted(pictures)))


def _sort_out(entry: os.DirEntry[str], folders: list[str], pictures: list[str], tally: Tally) -> None:
    name = entry.name
    if is_hidden(name):
        tally.ignore("hidden or system file")
        return
    try:
        is_folder = entry.is_dir()
        dangling = not is_folder and entry.is_symlink() and not Path(entry.path).exists()
    except OSError:  # a link to itself
        is_folder, dangling = False, True
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if is_folder:
        folders.append(name)
    elif dangling:
        tally.ignore("dangling link")
    elif extension in _PICTURES:
        pictures.append(name)
    else:
        tally.ignore(f".{printable(extension)} file" if extension and len(extension) < 12 else "file without extension")


def folder_id(folder: Path) -> FolderId | None:
    """(device, inode): the same for every way to reach a folder; None when it is gone."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def pictures_below(folder: Path, above: frozenset[FolderId], tally: Tally) -> list[str]:
    """Pictures anywhere below `folder`, as paths relative to it, in code point order.

    `above`: the folders on the way down to `folder`; a link back to one of them is a loop. A folder that several links
    lead to is walked once.
    """
    seen = set(above)
    found: list[str] = []
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        path = folder / inside
        identity = folder_id(path)
        if identity is None or identity in seen:
            tally.ignore("link to a folder already walked" if identity else "vanished folder")
            continue
        seen.add(identity)
        listing = list_folder(path, tally)
        prefix = inside + os.sep if inside else ""
        found.extend(prefix + name for name in listing.pictures)
        waiting.extend(prefix + name for name in reversed(listing.folders))
        tally.nested = tally.nested or bool(inside and listing.pictures)
    found.sort()
    return found
