"""Write an exported folder whole or not at all: a temporary folder, the check in it, then one rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from headstart.errors import MachineError, UsageError
from headstart.images.printable import printable

MARK = "labels.txt"  # every exported folder has one


def check_free(out: Path, overwrite: bool) -> None:
    """UsageError unless `out` can be written: not there, empty, or an export that may be replaced."""
    shown = printable(str(out))
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise UsageError(f"{shown} exists and is not a folder: choose another --out")
    held = {entry.name for entry in out.iterdir()}
    if not held:
        return
    if MARK not in held or not held & {"model.onnx", "model.xml"} or any(entry.is_dir() for entry in out.iterdir()):
        raise UsageError(f"{shown} exists and is not an exported folder: choose another --out")
    if not overwrite:
        raise UsageError(f"{shown} exists: add --overwrite to replace it, or choose another --out")


def write_folder(out: Path, files: Mapping[str, bytes], check: Callable[[Path], None]) -> None:
    """Make `out` hold exactly `files`, once `check` has passed on a temporary folder with the same files.

    Whatever fails, `out` is as it was before and nothing is left beside it. MachineError: no space, no permission.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  (not resolved: a link in the path stays the user's business)
    near = next(place for place in out.parents if place.is_dir())
    token = secrets.token_hex(6)
    fresh, aside = near / f".tmp-export-{token}", near / f".old-export-{token}"
    try:
        fresh.mkdir()
        for name, content in files.items():
            with (fresh / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        check(fresh)
        out.parent.mkdir(parents=True, exist_ok=True)
        _swap(fresh, out, aside)
    except OSError as error:
        raise MachineError(
            f"cannot write {printable(str(out))}: {error.strerror or error}; free some space or choose another --out"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _swap(fresh: Path, out: Path, aside: Path) -> None:
    """Put `fresh` in the place of `out`; when that fails, `out` comes back."""
    if out.exists():
        out.rename(aside)
    try:
        fresh.rename(out)
    except BaseException:  # also Ctrl-C
        if aside.exists():
            with suppress(OSError):
                aside.rename(out)
        raise
