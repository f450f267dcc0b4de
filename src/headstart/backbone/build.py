"""From the name of an architecture to its module, and to what is known about it before any weights are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstart.backbone.source import Shape
from headstart.cache_folder import write_to_cache
from headstart.errors import MachineError

_VERSION = "shape1"  # raise it when the same architecture is cut, named or scaled otherwise


def build(family: str, architecture: str) -> Any:
    """The bare torch module (random weights; on the meta device under `torch.device("meta")`). Imports torch."""
    from headstart.backbone import lite

    if family == "timm" and lite.known(architecture):  # without importing timm
        return lite.build(architecture)
    return _builders()[family][0](architecture)


def shape_of(family: str, architecture: str, cache: Path) -> Shape:
    """What follows from the architecture; worked out once (seconds, imports torch) and then read from `cache`."""
    key = f"{family}-{architecture}-{version(family)}-{_VERSION}"
    path = cache / "weights" / f"shape-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(path.read_bytes())
        if known["key"] == key:
            return Shape.from_json(known["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there yet, or damaged
    shape = _builders()[family][1](architecture)
    with suppress(MachineError, OSError):  # a cache that cannot be written is done without
        write_to_cache(path, json.dumps({"key": key, "shape": shape.to_json()}).encode())
    return shape


def _builders() -> dict[str, tuple[Callable[[str], Any], Callable[[str], Shape]]]:
    from headstart.backbone import timm_body, torchvision_body

    return {
        "timm": (timm_body.build, timm_body.shape_of),
        "torchvision": (torchvision_body.build, torchvision_body.shape_of),
    }
