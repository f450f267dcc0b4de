"""A server on a tiny run, in a process of its own, and clients for it: whole requests, and bytes on a socket."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.artefact.write import write_classifier
from headstart.classifier.explain import explainer
from headstart.classifier.nearest import build_index, pack_index
from headstart.images.load import load_image
from tiny import CLASSES, SIDE, tiny_artefact

START = """
import faulthandler, json, signal, sys
from pathlib import Path
from headstart.serving.options import ServeOptions, ServingLimits
from headstart.serving.server import serve
if hasattr(signal, "SIGUSR1"): faulthandler.register(signal.SIGUSR1)  # a test that waits in vain asks where it is
asked = json.loads(sys.argv[2])
limits = ServingLimits(**asked.pop("limits", {}))
asked = {key: tuple(value) if isinstance(value, list) else value for key, value in asked.items()}
serve(Path(sys.argv[1]), ServeOptions(limits=limits, **{"port": 0, **asked}), lambda a: print(a.port, flush=True))
print("ended", flush=True)
"""
# A decoder that dies, hangs or lies when a picture says so: what a hostile file could do to the real one.
ROUGH = """
import os, signal, sys, time
from headstart.serving import decoder, frames
real = decoder.Decode.answer
def answer(self, kind, content):
    if b"KILL" in content[-9:]: os.kill(os.getpid(), signal.SIGKILL)
    if b"ABORT" in content[-9:]: os.abort()
    if b"HANG" in content[-9:]: time.sleep(60)
    if b"HUGE" in content[-9:]: return (frames.DONE.pack(1, 9, 9, 0, 2**32 - 1), b"", b"")
    if b"LIE" in content[-9:]: return (b"\\xff" * frames.DONE.size, b"", b"x" * 100)
    return real(self, kind, content)
decoder.Decode.answer = answer
decoder.main(sys.argv[1])
"""
ROUGH_DECODER = [sys.executable, "-c", ROUGH]


def picture(seed: int, side: int = SIDE, kind: str = "PNG") -> bytes:
    """A small picture, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def tiny_run(folder: Path, classes: tuple[str, ...] = CLASSES, explained: bool = True) -> Path:
    """A run as `fit` would leave it: classifier, result, and training pictures in folder/data with their index."""
    artefact = tiny_artefact(classes=classes)
    write_classifier(folder / "classifier", artefact)
    coverage = [{"threshold": t, "coverage": 1 - t / 2, "top1": 0.8 + t / 10, "n": 90} for t in (0.5, 0.7, 0.9)]
    accuracy = {"top1": 0.9, "low": 0.8, "high": 0.95, "how": "out of fold"}
    result = {"schema": 1, "data": {"n": 90}, "accuracy": accuracy, "coverage": coverage}
    (folder / "result.json").write_text(json.dumps(result))
    if explained:
        data = folder / "data"
        data.mkdir()
        names = [f"{k:02}.png" for k in range(12)]
        for k, name in enumerate(names):
            (data / name).write_bytes(picture(500 + k))
        look = explainer(artefact)
        squares = np.stack([load_image(data / name, look.preprocessing).pixels for name in names])
        labels = [classes[k % len(classes)] for k in range(12)]
        index = build_index(
            look.look(squares).features, (artefact.head["mean"], artefact.head["scale"]), (names, labels)
        )
        (folder / "explain").mkdir()
        for name, content in pack_index(index).items():
            (folder / "explain" / name).write_bytes(content)
        written = folder / "explain" / "nearest.json"
        written.write_text(json.dumps(json.loads(written.read_text()) | {"root": str(data)}))
    return folder


def multipart(*parts: tuple[str, bytes], boundary: str = "xx-boundary") -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form with these files; names are sent as they are."""
    pieces = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode(
            "utf-8", "surrogateescape"
        )
        + content
        + b"\r\n"
        for name, content in parts
    ]
    body = b"".join(pieces) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Served:
    """A running server. `log` is what it wrote to stderr."""

    def __init__(self, run: Path, **options: Any) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(run), json.dumps(options)], stdout=subprocess.PIPE, stderr=self._log
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self.log
        self.port, self.pid = int(line), self._process.pid
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}/"

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        except TimeoutError:
            raise AssertionError(f"no answer to {method} {path}:\n{self.where()}") from None
        finally:
            connection.close()

    def where(self) -> str:
        """The log, with what every thread of the server is doing."""
        if hasattr(signal, "SIGUSR1"):
            self.signal(signal.SIGUSR1)
            time.sleep(1.0)
        return self.log

    def predict(self, *parts: tuple[str, bytes], query: str = "") -> Answer:
        """POST /v1/predict with files."""
        return self.ask("POST", f"/v1/predict{query}", *multipart(*parts))

    def raw(self, content: bytes, kind: str = "image/png", query: str = "", **headers: str) -> Answer:
        """POST /v1/predict with one picture as the body."""
        return self.ask("POST", f"/v1/predict{query}", content, {"Content-Type": kind, **headers})

    def socket(self) -> socket.socket:
        """A connection to write anything to."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def bytes(self, data: bytes) -> Answer:
        """What the server answers to these bytes before it closes (or has answered whole)."""
        with self.socket() as connection:
            connection.sendall(data)
            return read_answer(connection)

    def children(self) -> list[int]:
        """The decode processes."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in listed]

    def memory(self) -> int:
        """Bytes resident in the server and its decode processes."""
        pages = 0
        for pid in (self.pid, *self.children()):
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (FileNotFoundError, ProcessLookupError):  # it is being replaced
                continue
        return pages * os.sysconf("SC_PAGE_SIZE")

    def signal(self, sign: int = signal.SIGTERM) -> None:
        self._process.send_signal(sign)

    def end(self, seconds: float = 20.0) -> tuple[int, bytes]:
        """Exit code, and what else it printed; killed when it does not end."""
        assert self._process.stdout
        try:
            code = self._process.wait(seconds)
            return code, self._process.stdout.read()
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.where()}") from None
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.signal()
            self.end()
        self._log.close()


def read_answer(connection: socket.socket) -> Answer:
    """One answer from a socket; status 0 when the server closed without one."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    except (http.client.HTTPException, ConnectionError):
        return Answer(0, {}, b"")
    finally:
        response.close()


def until(what: Any, seconds: float = 10.0) -> bool:
    """Whether `what()` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
