"""Write a classifier folder so that at every moment, also after a crash, a whole classifier can be read."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from glob import escape
from pathlib import Path

from headstart.artefact.document import class_list_hash, seal
from headstart.artefact.read import DOCUMENT, ENGINE, MODEL, WEIGHTS, newest_set_aside, shown
from headstart.artefact.record import Artefact, format_of
from headstart.artefact.torch_network import PREFIX
from headstart.errors import MachineError

STALE_AFTER = 3600.0  # seconds; a leftover younger than this may belong to a process that is still writing
RENAME_PATIENCE = 2.5  # seconds; virus scanners hold fresh files open on Windows, other writers may be in between


def write_classifier(folder: Path, artefact: Artefact, check: Callable[[Path], None] | None = None) -> None:
    """Write `artefact` as `folder`, replacing a classifier that is there only once the new one is complete.

    `check` is called with the complete temporary folder before the swap; when it raises, the error is passed on and
    the old classifier stays. A full disk, a lack of permission: MachineError, and the old classifier stays.
    """
    folder = Path(folder).resolve()
    token = f"{folder.name}-{secrets.token_hex(6)}"
    files = pack(artefact)
    fresh = folder.with_name(f".tmp-{token}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        fresh.mkdir()
        _write_files(fresh, files)
        if check is not None:
            check(fresh)
        _swap(fresh, folder, token)
    except OSError as error:
        raise MachineError(
            f"the classifier could not be saved in {shown(folder)}: {error.strerror or error}; "
            "what was there before is unchanged; free space or choose another --out"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def pack(artefact: Artefact) -> dict[str, bytes]:
    """The files of a classifier folder, by name; `unpack` is the inverse."""
    contents, network = _contents(artefact), artefact.network
    document = {
        "format": format_of(artefact.head, network),
        "headstart": artefact.headstart,
        "created": artefact.created,
        "classes": list(artefact.classes),
        "classes_sha256": class_list_hash(artefact.classes),
        "preprocessing": dict(artefact.preprocessing),
        "backbone": dict(artefact.backbone),
        "depths": list(artefact.depths),
        "temperature": artefact.temperature,
        "decision": dict(artefact.decision),
        "provenance": dict(artefact.provenance),
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
        },
    }
    if network is not None:
        document |= {"engine": ENGINE, "network": network.to_json()}
    return {**contents, DOCUMENT: seal(document)}


def _contents(artefact: Artefact) -> dict[str, bytes]:
    """The files beside the document. Without a model the weights say what they were made for, as a model would."""
    import numpy as np
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in artefact.head.items()}
    if artefact.network is None:
        return {WEIGHTS: save(tensors), MODEL: artefact.model}
    tensors |= {PREFIX + name: np.array(tensor, order="C") for name, tensor in artefact.network.tensors.items()}
    made_for = {
        "classes_sha256": class_list_hash(artefact.classes),
        "preprocessing": json.dumps(dict(artefact.preprocessing), sort_keys=True),
    }
    return {WEIGHTS: save(tensors, metadata=made_for)}


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        with (folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync_folder(folder)


def _swap(fresh: Path, folder: Path, token: str) -> None:
    """Move what is at `folder` aside and `fresh` in its place; when the second step fails, undo the first."""
    deadline = time.monotonic() + RENAME_PATIENCE
    moved: list[Path] = []
    while True:
        # Another writer may fill the place between the two steps: then that one has to go aside as well.
        aside = folder.with_name(f".old-{token}-{len(moved)}")
        try:
            if folder.exists():
                folder.rename(aside)
                moved.append(aside)
            fresh.rename(folder)
            break
        except BaseException as error:  # also Ctrl-C
            if not folder.exists() and aside.exists():
                with suppress(OSError):  # another writer was faster
                    aside.rename(folder)
            if not isinstance(error, OSError) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    _sync_folder(folder.parent)
    for old in moved:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Finish what a killed process began: bring back a classifier left aside, remove old leftovers."""
    if not folder.exists() and (old := newest_set_aside(folder)):
        with suppress(OSError):  # its owner was only slow, not killed
            old.rename(folder)
    oldest = time.time() - STALE_AFTER
    for kind in ("tmp", "old"):
        for leftover in folder.parent.glob(f".{kind}-{escape(folder.name)}-*"):
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime < oldest:
                    shutil.rmtree(leftover, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
