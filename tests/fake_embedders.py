"""Embedders that need no network: what a picture's file says decides what happens. For workers in other processes.

FAKE_COUNT: file that gets one line per picture that was embedded. FAKE_SLEEP: seconds per picture. FAKE_PIDS: folder in
which every worker leaves a file with its process's number as the name. FAKE_FSIZE: bytes a file of a worker may have.
FAKE_GATE: file without which no worker gets past a picture that says `gate`.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np

from headstart.embedding.columns import empty_columns
from headstart.images.preprocess import Preprocessing
from headstart.images.read import BadImageError
from headstart.scaling.manifest import write_manifest
from headstart.scaling.reading import read_uri, uri_of
from headstart.scaling.spec import Spec, write_spec

DEPTHS = (("block0", 3), ("last", 5))


class Hashing:
    """Vectors from the file's sha256. `poison` in the file: SIGKILL to the own process; `raise`: an exception."""

    def __init__(self, spec):
        self.depths = spec.depth_list()
        if pids := os.environ.get("FAKE_PIDS"):
            Path(pids, str(os.getpid())).touch()
        if most := os.environ.get("FAKE_FSIZE"):
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(most),) * 2)

    def __call__(self, uris):
        columns, errors = empty_columns(len(uris), self.depths), [None] * len(uris)
        for i, uri in enumerate(uris):
            time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
            try:
                content = read_uri(uri)
            except BadImageError as error:
                errors[i] = error.reason
                continue
            while content.startswith(b"gate") and not Path(os.environ.get("FAKE_GATE", "/")).exists():
                time.sleep(0.01)
            if content.startswith(b"poison"):
                os.kill(os.getpid(), signal.SIGKILL)
            if content.startswith(b"raise"):
                raise RuntimeError("an engine that cannot")
            if content.startswith(b"bad"):
                errors[i] = "damaged"
                continue
            self._fill(columns, i, hashlib.sha256(content).digest())
            if count := os.environ.get("FAKE_COUNT"):
                with open(count, "a") as out:
                    out.write(f"{Path(uri).name}\n")
        return columns, errors

    @staticmethod
    def _fill(columns, i, digest):
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        columns["key"][i] = np.frombuffer(digest, np.uint8)
        for column in columns.values():
            if column.dtype == np.float16:
                column[i] = rng.normal(size=column.shape[1:])


def hashing(spec):
    return Hashing(spec)


def cannot_start(spec):
    raise RuntimeError("no engine here")


def fake_spec(manifest, **changes):
    facts = dict(
        backbone="fake", backbone_key="k", weights_hash="w", preprocessing=Preprocessing().to_json(), depths=DEPTHS,
        device="cpu", batch=2, threads=1, rows_per_chunk=manifest.rows_per_chunk, rows=manifest.count,
        manifest_sha256=manifest.sha256, classes=manifest.classes,
    )  # fmt: skip
    return Spec(**(facts | changes))


def fake_pictures(folder, n, special=None):
    """`n` small files in `folder`; `special[i]` is the content of file i."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_bytes((special or {}).get(i, b"picture %d" % i))
    return paths


def begin(out, paths, rows_per_chunk, **changes):
    """An embedded folder with manifest and spec, no parts; the spec."""
    rows = [(uri_of(path), "ab"[i % 2], None) for i, path in enumerate(paths)]
    manifest = write_manifest(out, rows, rows_per_chunk)
    spec = fake_spec(manifest, **changes)
    write_spec(out, spec)
    manifest.close()
    return spec
