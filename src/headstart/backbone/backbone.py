"""A backbone: facts at once, the graph when it is ready, the torch module when asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from headstart.backbone.graph_file import graph_file, graph_key
from headstart.backbone.source import Source
from headstart.backbone.sources import DEFAULT, find_source
from headstart.cache_folder import cache_folder
from headstart.errors import MachineError
from headstart.images.preprocess import Preprocessing


@dataclass(frozen=True)
class Depth:
    """One place where features are taken: `block0` .. `block6`, `last`; `dim` numbers per picture."""

    name: str
    dim: int


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, frozen. `graph()` waits for the ONNX file; everything else is known at once.

    `key`: weights and graph version, what the outputs depend on besides preprocessing and precision. `notes`: what the
    user should know, such as that the cache folder cannot be written.
    """

    name: str
    weights_hash: str
    depths: tuple[Depth, ...]
    preprocessing: Preprocessing
    cache: Path
    key: str
    source: Source
    notes: tuple[str, ...] = ()
    _export: _Export | None = field(default=None, repr=False, compare=False)

    @property
    def exporting(self) -> bool:
        """Whether the graph was missing and is being made: some ten seconds, once per machine."""
        return self._export is not None

    def graph(self) -> Path:
        """Path of the checked all-depths ONNX graph; waits for its export. MachineError when the export fails."""
        file = graph_file(self.source, self.cache)
        if self._export is not None:
            self._export.wait()
        if not file.is_whole():
            _Export(self.source.spec, self.cache).wait()
            if not file.is_whole():
                raise MachineError(f"the graph {file.path} is damaged again and again: check the disk")
        return file.path

    def source_classes(self) -> tuple[str, ...]:
        """Names of the classes the discarded head knows, in the order of `source_logits`; waits for the graph.

        Empty where there is no such head, or only its number of outputs is known.
        """
        self.graph()
        return graph_file(self.source, self.cache).classes()

    def torch_module(self) -> Any:
        """The torch module in evaluation mode: uint8 NHWC in, `(depth..., source_logits)` out. Imports torch."""
        from headstart.backbone.network import load_network

        return load_network(self.source, self.cache)


def open_backbone(name: str = DEFAULT, cache: Path | None = None) -> Backbone:
    """Find, check and describe backbone `name`; the export of its graph starts in the background when it is missing.

    Raises UsageError for a name that is unknown or not installed, MachineError for an altered weights file.
    """
    folder = cache or cache_folder()
    source = find_source(name, folder)
    notes: tuple[str, ...] = ()
    export = None
    if not graph_file(source, folder).is_whole():
        if reason := _unwritable(folder):
            notes = (f"the cache {folder} cannot be written ({reason}): the network is prepared again in every run",)
            folder = _temporary_cache()
        export = _Export(name, folder)
    depths = tuple(Depth(depth, dim) for depth, dim in zip(source.depth_names, source.dims, strict=True))
    preprocessing = Preprocessing(side=source.side, interpolation=source.shape.interpolation)
    return Backbone(source.name, source.sha256, depths, preprocessing, folder, graph_key(source), source, notes, export)


class _Export:
    """The exporting process. It outlives an impatient parent: the next run then finds the graph ready."""

    def __init__(self, name: str, cache: Path) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._said = ""
        # Not a pipe: nobody reads it before the end.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # -P: a file named torch.py in the user's current folder must not be imported.
        command = [sys.executable, "-P", "-m", "headstart.backbone.graph", name, str(cache)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, env=environment
        )

    def wait(self) -> None:
        """Wait for the end; MachineError with the process's own last line when it failed."""
        with self._lock:
            code = self._process.wait()
            if not self._errors.closed:
                self._errors.seek(0)
                self._said = self._errors.read().decode("utf-8", "replace").strip()
                self._errors.close()
        if code != 0:
            reason = self._said.splitlines()[-1] if self._said else f"exit code {code}"
            raise MachineError(f"backbone {self._name} could not be prepared: {reason}")

    def __del__(self) -> None:
        # Nobody waits when all pictures were cached: the process ends by itself, and Popen need not warn about it.
        if hasattr(self, "_process"):
            self._errors.close()
            if self._process.poll() is None:
                self._process.returncode = 0


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written into `folder`, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _temporary_cache() -> Path:
    import atexit
    import shutil

    folder = Path(tempfile.mkdtemp(prefix="headstart-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
