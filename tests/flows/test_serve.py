"""`headstart serve` as a command: where it listens, how it ends, what it loads and touches."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import headstart, one_line
from test_privacy import GUARD

from served import multipart, picture, tiny_run

pytest.importorskip("fastapi")

# The modules of the server's own process, told on its way out.
WATCHED = """
import atexit, json, os, sys
atexit.register(lambda: open(os.environ["MODULES"], "w").write(json.dumps(sorted(sys.modules))))
from headstart.cli.main import main
main(sys.argv[1:])
"""

# An engine that never comes back from a picture, as native code that waits for itself does not.
STUCK = """
import sys, time
from headstart.classifier.classifier import Classifier
real = Classifier.run
Classifier.run = lambda self, pixels: time.sleep(60) if pixels.any() else real(self, pixels)
from headstart.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"))


class Command:
    """`headstart serve` in a process of its own."""

    def __init__(self, *arguments: object, program: str = WATCHED, **env: str) -> None:
        command = [sys.executable, "-c", program, "serve", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
        )

    def first_line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def end(self, sign: int | None = None) -> tuple[int, str, str]:
        if sign is not None:
            self.process.send_signal(sign)
        try:
            out, err = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out, err


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Whatever is put in here is ended."""
    started: list[Command] = []
    yield started
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
            command.process.communicate()


def post(port: int, content: bytes) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/v1/predict?top=3", *multipart(("a.png", content)))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["predictions"][0]


def test_it_answers_quickly_without_torch_and_touches_nothing(
    run: Path, tmp_path: Path, commands: list[Command]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "home").mkdir()
    env = {"HOME": tmp_path / "home", "GUARD_LOG": tmp_path / "connections", "PYTHONPATH": tmp_path / "site"}
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    start = time.monotonic()
    command = Command(
        run, "--port", "0", "--json", **{k: str(v) for k, v in env.items()}, MODULES=str(tmp_path / "modules"), CI=""
    )
    commands.append(command)
    told = json.loads(command.first_line())
    assert told["url"] == f"http://127.0.0.1:{told['port']}/"
    content = picture(7)
    row = post(told["port"], content)
    assert time.monotonic() - start < 20, "the figure is in benchmarks/serving.py; this one only says that it answers"
    (tmp_path / "a.png").write_bytes(content)
    predicted = headstart("predict", run, tmp_path / "a.png", "--top", "3", "--json").json["predictions"][0]
    assert row["class"] == predicted["class"]
    assert np.allclose([p for _, p in row["top"]], [p for _, p in predicted["top"]], atol=1e-5)

    code, out, err = command.end(signal.SIGINT)
    assert (code, out) == (0, "")
    assert "Traceback" not in err
    modules = set(json.loads((tmp_path / "modules").read_text()))
    assert not modules & {"torch", "timm", "torchvision", "sklearn", "onnxscript", "scipy"}
    assert not (tmp_path / "connections").exists()
    assert not list((tmp_path / "home").iterdir())
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_without_json_the_url_is_for_people(run: Path, commands: list[Command]) -> None:
    command = Command(run, "--port", "0")
    commands.append(command)
    assert "http://127.0.0.1:" in command.first_line()
    code, _, err = command.end(signal.SIGTERM)
    assert code == 0
    assert "ended" in err


def test_it_ends_though_the_engine_hangs(run: Path, commands: list[Command]) -> None:
    command = Command(run, "--port", "0", "--json", program=STUCK)
    commands.append(command)
    port = json.loads(command.first_line())["port"]
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("POST", "/v1/predict", *multipart(("a.png", picture(7))))
    time.sleep(1.0)
    command.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)  # the second time it does not wait for answers
    code, _, err = command.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err
    assert client.getresponse().status == 503
    client.close()


def test_case_87_a_port_in_use(run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = headstart("serve", run, "--port", port, "--json")
    assert done.code == 5
    assert str(port) in one_line(done)
    assert "--port 0" in one_line(done)
    assert done.json["error"]["code"] == 5


def test_case_88_other_machines_only_with_a_token(run: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        done = headstart("serve", run, "--port", 0, "--host", host)
        assert done.code == 2
        assert "--token" in one_line(done)
    done = headstart("serve", run, "--port", 0, "--host", "0.0.0.0", "--token", "short")
    assert done.code == 2
    assert "at least 16" in one_line(done)


def test_what_cannot_be_served_is_said_in_one_line(run: Path, tmp_path: Path) -> None:
    missing = headstart("serve", tmp_path / "nothing", "--port", 0)
    assert missing.code == 4
    assert "nothing" in one_line(missing)
    assert headstart("serve", run, "--port", 70000).code == 2
    assert headstart("serve", run, "--port", 0, "--host", "no such host").code == 5


def test_without_the_web_packages_it_says_what_to_install(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = headstart("serve", run, "--port", 0)
    assert done.code == 5
    assert "pip install 'headstart[serve]'" in one_line(done)
