"""A hub of weights on this machine: serves a few files as huggingface.co and download.pytorch.org do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

# What every row of the listing has had since there was one.
OLD_KEYS = {
    "name", "installed", "install", "dataset", "parameters", "side", "published_top1", "licence", "bytes", "sha256",
}  # fmt: skip
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def empty_caches(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The caches of the hub and of torch.hub in `folder`: nothing is in them."""
    patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    patch.setenv("TORCH_HOME", str(folder / "torch"))


@dataclass
class FakeHub:
    """`files`: path to content. `etags`: what a file is said to be instead of its sha256. `asked`: paths asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def serve(self, name: str, content: bytes) -> None:
        """As the weights of a timm model."""
        self.files[f"/timm/{name}/resolve/main/model.safetensors"] = content


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub until the end of the block."""
    hub = FakeHub("")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            content = hub.files.get(self.path)
            self.send_response(200 if content is not None else 404)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("X-Repo-Commit", COMMIT)
            digest = hub.etags.get(self.path) or hashlib.sha256(content or b"").hexdigest()
            self.send_header("ETag", f'"{digest}"')
            self.end_headers()
            if with_body and content is not None:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
