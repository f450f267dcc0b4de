"""Networks that have no graph and run in torch: which they are and why, remembered beside the graphs. No heavy imports.

What cannot be exported with one version of the exporters may be with the next: then it is tried again.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.backbone import own_run
from headstart.backbone.graph_file import graph_file
from headstart.backbone.source import Source
from headstart.cache_folder import write_to_cache
from headstart.errors import MachineError, UsageError

if TYPE_CHECKING:
    from headstart.backbone.backbone import Backbone

SUFFIX = ".torch.json"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # exporters colour what they say
_PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "openvino")


class NotExportableError(MachineError):
    """No graph of this network gives what torch gives, and trying again will not change that. `reason`: one line."""

    def __init__(self, reason: str) -> None:
        self.reason = " ".join(_COLOURS.sub("", reason).split())[:300]
        super().__init__(f"this network cannot be exported ({self.reason})")


def remember(source: Source, cache: Path, reason: str) -> None:
    """From now on `source` runs in torch with these weights and these versions. OSError: it cannot be written."""
    record = {"name": source.name, "weights_sha256": source.sha256, "reason": reason, "versions": _versions()}
    write_to_cache(_record(source, cache), json.dumps(record).encode())


def remembered(source: Source, cache: Path) -> str | None:
    """Why `source` runs in torch; None when nobody found that with the versions that are installed now."""
    found = _read(_record(source, cache))
    return found["reason"] if found is not None else None


def forget(source: Source, cache: Path) -> None:
    """It was exported."""
    with suppress(OSError):
        _record(source, cache).unlink(missing_ok=True)


def known(cache: Path) -> dict[str, str]:
    """Names of all networks that are remembered in `cache`, with the reason."""
    records = [_read(path) for path in sorted((cache / "graphs").glob(f"*{SUFFIX}"))]
    return {record["name"]: record["reason"] for record in records if record is not None}


def graph_of(backbone: Backbone) -> Path | None:
    """The graph of `backbone`; waits for its export. None: it runs in torch. MachineError: any other failure."""
    try:
        return backbone.graph()
    except MachineError:
        if why_in_torch(backbone) is None:
            raise
        return None


def why_in_torch(backbone: Backbone) -> str | None:
    """Why `backbone` runs in torch; None when it does not, or when that is not known yet."""
    return remembered(backbone.source, backbone.cache)


def says(name: str, reason: str) -> str:
    """The line for the user."""
    return (
        f"{name} cannot be exported ({reason}): it runs in torch, slower; "
        "the classifier needs torch and timm to predict"
    )


def refuse_run(name: str) -> None:
    """UsageError when `name` is a run whose network runs in torch: no graph holds it for others to start from."""
    from headstart.artefact import MODEL, read_classifier

    folder = own_run.folder_of(own_run.without_side(name))
    if folder is None or (folder / MODEL).exists() or (network := read_classifier(folder).network) is None:
        return
    raise UsageError(
        f"{name} cannot be a backbone: its network, {network.architecture}, runs in torch and is frozen there; "
        "give the network that it was trained from"
    )


def _record(source: Source, cache: Path) -> Path:
    return graph_file(source, cache).path.with_suffix(SUFFIX)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
        usable = found["versions"] == _versions() and all(isinstance(found[k], str) for k in ("name", "reason"))
        return dict(found) if usable else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: tried again


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
