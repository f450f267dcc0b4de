"""What a Ray actor is: a `Worker` in a process that Ray places, watches and ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from headstart.errors import HeadstartError, MachineError
from headstart.scaling.answers import Answer, refusal
from headstart.scaling.spec import NAME, read_spec
from headstart.scaling.worker import Worker


class RayWorker:
    """Opens the embedded folder `folder` where it runs; answers are plain data, pictures and vectors stay here.

    `spec_hash`: of the spec that the driver sees; `environment`: variables of this process, which works in the driver's
    current folder (PWD in it) where there is such a folder, so that a backbone of one's own has the same name.
    """

    def __init__(self, folder: str, spec_hash: str, embedder: str | None, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        with suppress(OSError, KeyError):
            os.chdir(environment["PWD"])
        self._folder, self._spec_hash, self._embedder = Path(folder), spec_hash, embedder
        self._worker: Worker | None = None

    def prepare(self) -> Answer:
        """Open the folder and make the engine; the host's name, or a HeadstartError as an answer."""
        try:
            self._check_shared()
            self._worker = Worker(self._folder, self._embedder)
            self._worker.prepare()
            return {"host": socket.gethostname()}
        except HeadstartError as error:
            return refusal(error)

    def run(self, chunk_id: str) -> Answer:
        """Do one chunk: what `Worker.run` gives, as a dict."""
        assert self._worker is not None, "prepare comes first"  # noqa: S101
        try:
            return asdict(self._worker.run(chunk_id))
        except HeadstartError as error:
            return refusal(error)

    def _check_shared(self) -> None:
        host = socket.gethostname()
        if not (self._folder / NAME).exists():
            raise MachineError(
                f"{self._folder} is not there on {host}: the output folder must lie on storage that every machine of "
                "the cluster and this one see under the same path"
            )
        if read_spec(self._folder).hash != self._spec_hash:
            raise MachineError(f"{self._folder} on {host} is another folder: it must lie on shared storage")
