"""OpenVINO and torch on the real Lite0: same numbers, whatever the batch; nothing written, nobody called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.backbone.backbone import Backbone
from headstart.engine import choose as choosing
from headstart.engine.choose import choose
from headstart.engine.openvino import OpenVinoEngine
from headstart.engine.torch import TorchEngine
from headstart.errors import MachineError, UsageError


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(28, axis=1).repeat(28, axis=2)


@pytest.fixture(scope="module")
def engine(lite0: Backbone) -> OpenVinoEngine:
    return OpenVinoEngine(lite0.graph())


def test_a_picture_has_the_same_numbers_alone_and_in_company(engine: OpenVinoEngine, pixels: np.ndarray) -> None:
    together = engine.run(pixels)
    for i in (0, 3, 6):
        alone = engine.run(pixels[i : i + 1])
        for name, rows in together.items():
            np.testing.assert_allclose(alone[name][0], rows[i], atol=1e-4 * np.abs(rows).max())


@pytest.mark.skipif(sys.platform == "win32", reason="no signal stacks")
def test_ctrl_c_after_two_engines_have_gone_is_no_crash(lite0: Backbone) -> None:
    told = """
import gc, signal, sys
from headstart.engine.openvino import OpenVinoEngine
first, second = OpenVinoEngine(sys.argv[1]), OpenVinoEngine(sys.argv[1])
del first
gc.collect()
del second
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", told, lite0.graph()], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_stream_keeps_order_and_agrees_with_run(engine: OpenVinoEngine, pixels: np.ndarray) -> None:
    parts = [(f"p{i}", pixels[i % 7 : i % 7 + 1 + i % 3]) for i in range(20)]
    results = list(engine.stream(parts))
    assert [tag for tag, _ in results] == [tag for tag, _ in parts]
    for (_, batch), (_, outputs) in zip(parts, results, strict=True):
        np.testing.assert_allclose(outputs["last"], engine.run(batch)["last"], atol=1e-4)


def test_results_belong_to_the_caller(engine: OpenVinoEngine, pixels: np.ndarray) -> None:
    first = engine.run(pixels[:1])["last"]
    kept = first.copy()
    engine.run(pixels[1:2])
    np.testing.assert_array_equal(first, kept)


def test_only_the_asked_outputs_are_there(lite0: Backbone, engine: OpenVinoEngine, pixels: np.ndarray) -> None:
    part = OpenVinoEngine(lite0.graph().read_bytes(), outputs=["block1", "block4"])
    outputs = part.run(pixels[:2])
    assert {name: rows.shape for name, rows in outputs.items()} == {"block1": (2, 24), "block4": (2, 112)}
    np.testing.assert_allclose(outputs["block4"], engine.run(pixels[:2])["block4"], atol=1e-4)
    with pytest.raises(ValueError, match="block9"):
        OpenVinoEngine(lite0.graph(), outputs=["block9"])


def test_torch_on_the_cpu_agrees_with_openvino(lite0: Backbone, engine: OpenVinoEngine, pixels: np.ndarray) -> None:
    torch_engine = TorchEngine(lite0.torch_module, "cpu")
    expected = engine.run(pixels[:3])
    for tag, outputs in torch_engine.stream([("a", pixels[:1]), ("b", pixels[1:3])]):
        rows = slice(0, 1) if tag == "a" else slice(1, 3)
        for name, wanted in expected.items():
            np.testing.assert_allclose(outputs[name], wanted[rows], atol=1e-3 * np.abs(wanted).max())


def test_out_of_memory_halves_the_batch(pixels: np.ndarray) -> None:
    import torch

    class Small(torch.nn.Module):
        output_names, side, room = ("mean",), 224, 2

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            if len(images) > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return (images.float().mean((1, 2)),)

    found = TorchEngine(Small, "cpu").run(pixels)["mean"]
    np.testing.assert_allclose(found, pixels.mean((1, 2)), rtol=1e-5)
    Small.room = 0
    with pytest.raises(MachineError, match="not enough memory"):
        TorchEngine(Small, "cpu").run(pixels)


def test_choose_reports_what_it_measured(lite0: Backbone) -> None:
    engine, facts = choose(lite0.graph())
    assert (facts.name, facts.device, facts.precision) == (engine.name, "cpu", "fp32")
    assert facts.images_per_second is not None and facts.images_per_second > 0


def test_choose_falls_back_to_torch(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> OpenVinoEngine:
        raise RuntimeError("no AVX here\nmore")

    monkeypatch.setattr(choosing, "OpenVinoEngine", broken)
    _, facts = choose(lite0.graph(), lite0.torch_module)
    assert facts.name == "torch" and "no AVX here" in (facts.note or "")
    with pytest.raises(MachineError, match="no AVX here"):
        choose(lite0.graph())


def test_choose_survives_a_driver_without_a_device(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "accelerator_present", lambda: "mps")
    _, facts = choose(lite0.graph(), lite0.torch_module)
    assert facts.name == "openvino" and "mps" in (facts.note or "")


def test_choose_refuses_devices_that_are_not_there(lite0: Backbone) -> None:
    with pytest.raises(UsageError, match="tpu"):
        choose(lite0.graph(), lite0.torch_module, "tpu")
    with pytest.raises(UsageError, match="mps"):
        choose(lite0.graph(), lite0.torch_module, "mps")


GUARDED = """
import socket, sys
def refuse(*a, **k):
    open(sys.argv[2], "a").write(repr(a))
    raise OSError("no connections here")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from pathlib import Path
from headstart.engine.choose import choose
engine, facts = choose(Path(sys.argv[1]), lambda: 1 / 0)
import time; time.sleep(0.3)  # the event would be sent from a thread
print(facts.name, "torch" in sys.modules)
"""


def test_openvino_sends_nothing_writes_nothing_and_needs_no_torch(lite0: Backbone, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # With CI set the telemetry is silent by itself, and this test would prove nothing.
    env = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("XDG_")} | {"HOME": str(home)}
    calls = tmp_path / "calls"
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, str(lite0.graph()), str(calls)],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["openvino", "False"], done.stderr
    assert not calls.exists()
    assert list(home.rglob("*")) == []
