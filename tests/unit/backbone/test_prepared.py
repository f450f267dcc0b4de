"""Structures that come along: filled, they are the graphs that torch exports; what does not fit is exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file

from headstart.backbone import graph as exporting
from headstart.backbone.graph import check, export_graph, onnx_bytes
from headstart.backbone.network import load_network
from headstart.backbone.packages import PACKAGES
from headstart.backbone.prepared import FOLDER, packaged_tensors, prepared
from headstart.backbone.sources import find_source
from headstart.backbone.tensors import load_tensors

LITE0 = find_source("efficientnet_lite0")
WITHOUT_TORCH = """
import sys
from pathlib import Path
from headstart.backbone.graph import export_graph
from headstart.backbone.sources import find_source

cache = Path(sys.argv[1])
print(export_graph(find_source("efficientnet_lite0", cache), cache).is_whole(), {"torch", "timm"} & set(sys.modules))
"""


def weights(content: bytes) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(content).graph.initializer}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_has_one_that_agrees_with_torch(name: str, tmp_path: Path) -> None:
    source = find_source(name, tmp_path)
    found = prepared(source)
    assert found is not None, f"run python -m headstart.backbone.preparing {name}"
    check(found.content, load_network(source, tmp_path))
    assert found.record["weights_sha256"] == source.sha256 and len(found.record["classes"]) == 1000
    assert found.record["depths"] == dict(zip(source.depth_names, source.dims, strict=True))


def test_its_weights_are_those_that_torch_exports_bit_by_bit(tmp_path: Path) -> None:
    network, found = load_network(LITE0, tmp_path), prepared(LITE0)
    assert found is not None
    with torch.no_grad():
        content = onnx_bytes(network, exporting.record_of(LITE0))
    exported, filled = weights(content), weights(found.content)
    assert list(exported) == list(filled)
    assert all(exported[name].tobytes() == filled[name].tobytes() for name in exported)


@pytest.mark.parametrize("name", PACKAGES)
def test_tensors_are_read_without_torch_as_with_it(name: str, tmp_path: Path) -> None:
    source = find_source(name, tmp_path)
    found, wanted = packaged_tensors(source), load_file(load_tensors(source, tmp_path))
    assert found is not None
    assert set(wanted) - set(found) == {name for name in wanted if name.endswith("num_batches_tracked")}
    assert all(np.array_equal(value, wanted[name]) for name, value in found.items())


def test_the_first_graph_of_a_machine_needs_no_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "True set()", done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "structures"))


@pytest.mark.parametrize("change", ["graph_version", "timm", "weights_sha256", "digest", "folds", "tensors"])
def test_notes_that_do_not_fit_are_not_used(copy: Path, change: str) -> None:
    assert prepared(LITE0, copy) is not None
    file = copy / "efficientnet_lite0.json"
    notes = json.loads(file.read_text())
    if change == "folds":
        notes["folds"]["conv_stem"][1] *= 1.01  # another epsilon: other weights
    elif change == "tensors":
        notes["tensors"]["conv_stem.weight"][0] += 4
    else:
        notes[change] = {"graph_version": 0, "timm": "0.9"}.get(change, "0" * 64)
    file.write_text(json.dumps(notes))
    assert prepared(LITE0, copy) is None


@pytest.mark.parametrize("damage", ["cut", "gone", "no JSON"])
def test_damaged_structures_are_not_used(copy: Path, damage: str) -> None:
    structure, notes = copy / "efficientnet_lite0.onnx", copy / "efficientnet_lite0.json"
    if damage == "cut":
        structure.write_bytes(structure.read_bytes()[:2000])
    elif damage == "gone":
        structure.unlink()
    else:
        notes.write_text("[")
    assert prepared(LITE0, copy) is None


def test_weights_of_another_file_are_not_used(tmp_path: Path) -> None:
    other = tmp_path / "weights.pth"
    content = bytearray(LITE0.place.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    other.write_bytes(content)
    assert prepared(replace(LITE0, place=other)) is None
    other.write_bytes(content[:1000])
    assert prepared(replace(LITE0, place=other)) is None


@pytest.mark.parametrize("fails", [False, True])
def test_an_engine_that_answers_otherwise_leaves_it_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    found, calls = prepared(LITE0), []
    assert found is not None

    def wrong(_: bytes):
        if fails:
            raise RuntimeError("no such operation")
        return lambda pixels: {name: np.zeros((len(pixels), dim)) for name, dim in found.record["depths"].items()}

    monkeypatch.setattr(exporting, "_openvino", wrong)
    monkeypatch.setattr(exporting, "_by_torch", lambda *_: calls.append(1) or (b"graph", {}))
    target = export_graph(LITE0, tmp_path)
    assert calls == [1] and target.path.read_bytes() == b"graph"
