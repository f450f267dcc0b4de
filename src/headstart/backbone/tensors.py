"""The tensors of a source as one safetensors file, named as its module names them; what needs converting is, once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.backbone import own_run, packages, torchvision_files, weights_file
from headstart.backbone.source import Source
from headstart.cache_folder import write_to_cache

# How the file of a source becomes tensors; None: it is used as it is.
READERS: dict[str, Callable[[Source], dict[str, Any] | None]] = {
    "package": packages.tensors_of,
    "file": weights_file.tensors_of,
    "torchvision": torchvision_files.tensors_of,
    "run": own_run.tensors_of,
}


def load_tensors(source: Source, cache: Path) -> Path:
    """A safetensors file with the tensors of `source`; converted copies lie in `cache`. Imports torch when converting.

    The copy's own sha256 is recorded beside it and checked at every use. MachineError, UsageError: they do not fit.
    """
    path = cache / "weights" / f"{slug(source)}-{source.sha256[:16]}.safetensors"
    record = path.with_suffix(".json")
    try:
        known = json.loads(record.read_bytes())
        if known.get("as_it_is"):
            return source.place
        if known["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest():
            return path
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not converted yet, or damaged: convert
    tensors = READERS[source.reader](source)
    if tensors is None:
        write_to_cache(record, json.dumps({"as_it_is": True, "source_sha256": source.sha256}).encode())
        return source.place
    from safetensors.torch import save

    content = bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
    write_to_cache(path, content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "source_sha256": source.sha256}
    write_to_cache(record, json.dumps(facts).encode())
    return path


def slug(source: Source) -> str:
    """A name for files in the cache: the package's own, elsewhere the architecture's, the same for every path to it."""
    name = source.network if source.reader == "package" else f"{source.family}-{source.architecture}"
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:80] + ("-run" if source.reader == "run" else "")
