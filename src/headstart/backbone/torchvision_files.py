"""Weights of torchvision's detectors and segmenters: in the cache of torch.hub, or fetched there when asked for."""

from __future__ import annotations

import difflib
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from headstart.backbone.build import shape_of
from headstart.backbone.source import Source
from headstart.backbone.torchvision_entries import ARCHITECTURES, Entry
from headstart.errors import MachineError, UsageError

PREFIX = "torchvision/"


def names() -> list[str]:
    """Everything that can be asked for: `torchvision/ARCHITECTURE.TAG`."""
    return [f"{PREFIX}{architecture}.{entry.tag}" for architecture, entry in ARCHITECTURES.items()]


def source_of(name: str, cache: Path) -> Source:
    """The body of a detector or segmenter whose file is in torch.hub's cache.

    UsageError when the name is unknown or the file is not here, with the ways to bring it; MachineError when it was
    altered.
    """
    architecture = architecture_of(name)
    entry = ARCHITECTURES[architecture]
    place = cached(entry)
    if place is None:
        from headstart.backbone.listing import usable

        raise UsageError(
            f"the weights of {name} are not on this machine and nothing is downloaded unasked: "
            f"headstart backbones --download {name}, or {_by_hand(entry)}; usable now: {usable()}"
        )
    shape = shape_of("torchvision", architecture, cache)
    return Source(
        name, name, "torchvision", architecture, "torchvision", place, _digest(place, entry), shape, entry.facts
    )


def architecture_of(name: str) -> str:
    """`torchvision/fcn_resnet50.voc_labels` -> `fcn_resnet50`; the tag may be left out. UsageError: unknown."""
    architecture, _, tag = name.removeprefix(PREFIX).partition(".")
    entry = ARCHITECTURES.get(architecture)
    if entry is None or tag not in ("", entry.tag):
        close = difflib.get_close_matches(name, names(), 3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names())}"
        raise UsageError(f"unknown backbone {name!r}: {hint}")
    return architecture


def cached(entry: Entry) -> Path | None:
    """The file in torch.hub's cache, or None."""
    place = folder() / entry.file
    return place if place.is_file() else None


def folder() -> Path:
    """Where torch.hub keeps files (without importing torch): TORCH_HOME, else under the user's cache folder."""
    own = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(own).expanduser() / "hub" / "checkpoints"


def tensors_of(source: Source) -> dict[str, Any]:
    """The body's tensors: the rest of the detector or segmenter is left out.

    The file is a pickle: it is opened with weights_only after its sha256 was compared with the digits in its name.
    """
    import torch

    from headstart.backbone.torchvision_body import own_tensors

    _digest(source.place, ARCHITECTURES[source.architecture])
    whole = torch.load(source.place, map_location="cpu", weights_only=True)
    return own_tensors(whole, source.architecture)[0]


def download(name: str) -> Path:
    """Fetch the file into torch.hub's cache, where it may lie already; its sha256 is checked either way. Imports torch.

    MachineError when that fails; then nothing new is left behind.
    """
    entry = ARCHITECTURES[architecture_of(name)]
    if (here := cached(entry)) is not None:
        _digest(here, entry)
        return here
    import torch

    place = folder() / entry.file
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # torch.hub writes to a temporary name, compares the sha256 and only then renames.
        torch.hub.download_url_to_file(entry.url, str(place), entry.sha256_start, progress=sys.stderr.isatty())
    except Exception as error:  # OSError, RuntimeError for wrong digits, and what Python's HTTP client raises
        getattr(error, "close", str)()  # an HTTPError is an open connection, too
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise MachineError(f"{name} could not be downloaded ({reason}); {_by_hand(entry)}") from None
    return place


def _by_hand(entry: Entry) -> str:
    return f"bring {entry.url} over from elsewhere and put it into {folder()}"


def _digest(place: Path, entry: Entry) -> str:
    """sha256 of the file. MachineError unless it begins as the file's name says."""
    with place.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(entry.sha256_start):
        raise MachineError(f"the weights {place} are not the published ones (sha256 {found[:12]}): remove the file")
    return found
