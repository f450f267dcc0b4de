"""The exported graph in the cache: where it lies, whether it is whole, what it says about itself. No heavy imports."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from headstart.backbone.source import Source
from headstart.backbone.tensors import slug

GRAPH_VERSION = 1  # raise it when the outputs for the same pixels change


@dataclass(frozen=True)
class GraphFile:
    """`path`: the ONNX file. `record`: a JSON file beside it with its sha256 and the class names; written last."""

    path: Path

    @property
    def record(self) -> Path:
        """The JSON file beside the graph."""
        return self.path.with_suffix(".json")

    def is_whole(self) -> bool:
        """Whether the graph is there and is, byte for byte, the one that passed the check against torch."""
        try:
            return bool(json.loads(self.record.read_bytes())["sha256"] == _sha256(self.path))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def classes(self) -> tuple[str, ...]:
        """Names of the classes of `source_logits`."""
        return tuple(json.loads(self.record.read_bytes())["classes"])


def graph_file(source: Source, cache: Path) -> GraphFile:
    """Where the graph of `source` lies in `cache`, whether or not it exists."""
    return GraphFile(cache / "graphs" / f"{graph_key(source)}.onnx")


def graph_key(source: Source) -> str:
    """What the outputs depend on: the weights, the version of the graph, and the side where it is not its own."""
    side = f"-{source.side}px" if source.own else ""
    return f"{slug(source)}-{source.sha256[:16]}-graph{GRAPH_VERSION}{side}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
