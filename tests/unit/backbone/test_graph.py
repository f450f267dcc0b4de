"""The graph: it knows real photographs, is checked before it is kept, exported once, repaired when damaged."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from headstart.backbone import graph as exporting
from headstart.backbone.backbone import Backbone
from headstart.backbone.graph import check, export_graph
from headstart.backbone.graph_file import GraphFile, graph_file
from headstart.backbone.network import load_network
from headstart.backbone.sources import find_source
from headstart.backbone.torch_only import SUFFIX, NotExportableError, remembered
from headstart.embedding.embed import embed
from headstart.engine.torch import TorchEngine
from headstart.errors import MachineError
from headstart.images.load import load_image
from headstart.images.preprocess import Preprocessing

LITE0 = find_source("efficientnet_lite0")
KNOWN = {
    "chelsea.png": {"tabby, tabby cat", "tiger cat", "Egyptian cat"},
    "coffee.png": {"espresso"},
    "camera.png": {"tripod"},
    "rocket.jpg": {"missile", "projectile, missile"},
}


def test_the_discarded_head_names_real_photographs(lite0: Backbone, samples_folder: Path) -> None:
    found = embed([samples_folder / file for file in KNOWN], lite0)
    named(lite0.source_classes(), found.source_top[0])


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
def test_the_other_sources_map_onto_their_networks(
    name: str, lite0: Backbone, tmp_path: Path, samples_folder: Path
) -> None:
    source = find_source(name)
    engine = TorchEngine(lambda: load_network(source, tmp_path))
    rule = Preprocessing(side=source.side)
    outputs = engine.run(np.stack([load_image(samples_folder / file, rule).pixels for file in KNOWN]))
    assert [outputs[depth].shape[1] for depth in source.depth_names] == list(source.dims)
    named(lite0.source_classes(), np.argsort(-outputs["source_logits"], axis=1)[:, :5])


def named(classes: tuple[str, ...], top: np.ndarray) -> None:
    """The photographs' known names are among the first five, two of them the first."""
    found = [[classes[i] for i in row] for row in top]
    assert len(classes) == 1000
    for (file, expected), names in zip(KNOWN.items(), found, strict=True):
        assert expected & set(names), (file, names)
    assert found[0][0] in KNOWN["chelsea.png"] and found[1][0] == "espresso"


def test_depths_are_what_the_source_says(lite0: Backbone) -> None:
    model = onnx.load(lite0.graph())
    dims = {o.name: o.type.tensor_type.shape.dim[1].dim_value for o in model.graph.output}
    assert dims == {d.name: d.dim for d in lite0.depths} | {"source_logits": 1000}
    metadata = {p.key: p.value for p in model.metadata_props}
    assert metadata["headstart.weights_sha256"] == f'"{lite0.weights_hash}"'
    assert len(lite0.depths) == 8 and lite0.depths[-1].name == "last"


def with_flipped_bias(graph: bytes) -> bytes:
    model = onnx.load_from_string(graph)
    users = [node for node in model.graph.node if node.op_type == "Conv"]
    name = users[len(users) // 2].input[2]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] = -values[0]
    bias.CopyFrom(onnx.numpy_helper.from_array(values, name))
    return bytes(model.SerializeToString())


def test_a_graph_that_differs_from_torch_leaves_no_file(
    lite0: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = lite0.graph().read_bytes()
    check(good, lite0.torch_module())
    monkeypatch.setattr(exporting, "prepared", lambda _: None)
    monkeypatch.setattr(exporting, "onnx_bytes", lambda *_: with_flipped_bias(good))
    with pytest.raises(NotExportableError, match="differs from torch"):
        export_graph(LITE0, tmp_path)
    assert not graph_file(LITE0, tmp_path).path.exists()
    left = [p.name for p in (tmp_path / "graphs").iterdir() if p.suffix != ".lock"]
    assert len(left) == 1 and left[0].endswith(SUFFIX), "only why there is no graph is kept"
    assert "differs from torch: output" in (remembered(LITE0, tmp_path) or "")


def test_a_graph_with_a_frozen_batch_is_refused(lite0: Backbone) -> None:
    import torch

    def only_two(pixels: np.ndarray) -> dict[str, np.ndarray]:
        module = lite0.torch_module()
        rows = module(torch.from_numpy(np.resize(pixels, (2, *pixels.shape[1:]))))
        return {n: r.detach().numpy() for n, r in zip(module.output_names, rows, strict=True)}

    with pytest.raises(MachineError, match="batch 1"):
        check(b"", lite0.torch_module(), only_two)


def counting_export(calls: list[int]) -> Callable[..., None]:
    def export(source: Any, cache: Path, target: GraphFile) -> None:
        calls.append(1)
        time.sleep(0.2)
        target.path.write_bytes(b"graph")
        target.record.write_text(f'{{"sha256": "{hashlib.sha256(b"graph").hexdigest()}"}}')

    return export


def test_of_many_at_once_one_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(exporting, "_export", counting_export(calls))
    threads = [threading.Thread(target=export_graph, args=(LITE0, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and graph_file(LITE0, tmp_path).is_whole()


@pytest.mark.parametrize("damage", ["flip", "cut", "no record", "foreign record"])
def test_a_damaged_graph_is_exported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    calls: list[int] = []
    monkeypatch.setattr(exporting, "_export", counting_export(calls))
    target = export_graph(LITE0, tmp_path)
    if damage == "flip":
        target.path.write_bytes(b"grapH")
    elif damage == "cut":
        target.path.write_bytes(b"gra")
    elif damage == "no record":
        target.record.unlink()
    else:
        target.record.write_text("[1, 2]")
    assert not target.is_whole()
    export_graph(LITE0, tmp_path)
    assert len(calls) == 2 and target.is_whole()


def test_the_network_still_trains(lite0: Backbone) -> None:
    import torch

    module = lite0.torch_module()
    assert not module.training
    *_, logits = module(torch.zeros((1, 224, 224, 3), dtype=torch.uint8))
    assert logits.requires_grad and all(p.requires_grad for p in module.body.parameters())
