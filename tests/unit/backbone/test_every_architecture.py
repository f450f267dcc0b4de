"""What holds for every network, whatever it is made of: one suite over the families that timm has, with random weights.

They come in as users bring them: as NAME@FILE. Exports (seconds each) are compared for one network per mechanism; those
of all are in benchmarks/architectures.py.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save_file

from headstart.backbone.folding import folded
from headstart.backbone.graph import check, onnx_bytes
from headstart.backbone.graph_maps import map_graph, map_name
from headstart.backbone.graph_moments import moment_graph
from headstart.backbone.graph_weights import graph_with
from headstart.backbone.network import Network, load_network
from headstart.backbone.source import Source
from headstart.backbone.sources import find_source
from headstart.backbone.tensors import load_tensors
from headstart.engine.openvino import OpenVinoEngine
from headstart.finetune.tail import Tail
from headstart.head.linear import LinearHead

TINY = (
    "test_byobnet", "test_coatnet", "test_convnext", "test_convnext2", "test_convnext3", "test_efficientnet",
    "test_efficientnet_evos", "test_efficientnet_gn", "test_efficientnet_ln", "test_mambaout", "test_maxvit",
    "test_nfnet", "test_resnet", "test_vit", "test_vit2", "test_vit3", "test_vit4", "test_vit_relpos",
)  # fmt: skip
REAL = (
    "convnext_atto", "lcnet_050", "levit_128s", "mobilenetv3_small_050", "mobilenetv4_conv_small_050", "pvt_v2_b0",
    "resnet10t", "vit_small_patch16_dinov3",
)  # fmt: skip
EVERY = (*TINY, *REAL)
# One per way of cutting, layout, norm and exporter.
SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("test_efficientnet_gn", "test_mambaout", "test_maxvit", "test_nfnet")
]
EXPORTED = ("test_resnet", "test_vit3", *SLOW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("architectures")


@lru_cache(maxsize=2)  # of all tests of one network, which follow each other
def opened(name: str, folder: Path) -> tuple[Source, Network]:
    torch.manual_seed(0)
    body = timm.create_model(name, pretrained=False)
    with torch.no_grad():
        for module in body.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        for parameter in body.parameters():  # zeros would hide what is cut wrongly
            parameter.add_(0.02 * torch.randn_like(parameter))
    file = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in body.state_dict().items()}, file)
    source = find_source(f"{name}@{file}", folder)
    return source, load_network(source, folder)


@pytest.fixture(scope="module")  # so that pytest runs all tests of one network after each other
def source(request: pytest.FixtureRequest, folder: Path) -> Source:
    return opened(request.param, folder)[0]


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest, folder: Path) -> Network:
    return opened(request.param, folder)[1]


def pictures(network: Network, n: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    fine = coarse.repeat(-(-network.side // 8), axis=1).repeat(-(-network.side // 8), axis=2)
    return torch.from_numpy(np.ascontiguousarray(fine[:, : network.side, : network.side]))


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= tolerance * wanted.abs().max())


@pytest.mark.parametrize("network", EVERY, indirect=True)
def test_the_stages_together_are_the_network_that_timm_has(network: Network) -> None:
    body, some = network.body, pictures(network)
    with torch.no_grad():
        scaled = network.scaled(some)
        *vectors, last = network(some) if not network.shape.classes else network(some)[:-1]
        assert close(last, body.forward_head(body.forward_features(scaled), pre_logits=True))
        if network.shape.classes:
            assert close(network(some)[-1], body(scaled))
        assert [v.shape[1] for v in (*vectors, last)] == [dim for _, dim in network.shape.depths]
        assert 2 <= len(network.shape.depths) <= 9
    owned = {id(p) for stage in network.stages() for p in stage.parameters()}
    head = body.get_classifier()
    heads = head if isinstance(head, tuple) else (head,)
    loose = {id(p) for p in body.parameters()} - owned
    assert loose == {id(p) for h in heads if isinstance(h, torch.nn.Module) for p in h.parameters()}


@pytest.mark.parametrize("network", EVERY, indirect=True)
def test_a_picture_alone_is_what_it_is_in_a_batch_and_every_cut_composes(network: Network) -> None:
    some = pictures(network)
    with torch.no_grad():
        together = network(some)
        alone = network(some[1:2])
        assert all(close(one[0], many[1]) for one, many in zip(alone, together, strict=True))
        maps = [network.scaled(some)]
        for stage in network.stages():
            maps.append(stage(maps[-1]))
            assert maps[-1].ndim == 4
        for cut in range(1, len(maps) - 1):
            x = maps[cut].permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as it comes from a cache
            for stage in network.stages()[cut:]:
                x = stage(x)
            assert close(x.mean((2, 3)), together[len(maps) - 2])


@pytest.mark.parametrize("network", EVERY, indirect=True)
@pytest.mark.parametrize("train", ["last-1", "norms"])
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_moves(network: Network, train: str) -> None:
    depths = len(network.shape.depths)
    if train == "last-1" and depths < 3:
        pytest.skip("cannot be cut")
    dim = network.shape.depths[-1][1]
    head = LinearHead(np.full((2, dim), 0.01) * [[1], [-1]], np.zeros(2), np.zeros(dim), np.ones(dim))
    original = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tail = Tail(network, train, (depths - 1,), head)
    before = {name: tensor.clone() for name, tensor in tail.network.state_dict().items()}
    with torch.no_grad():
        x = tail.network.scaled(pictures(network))
        for stage in tail.network.stages()[: tail.cut]:
            x = stage(x)
    maps = pictures(network) if tail.cut == 0 else x.permute(0, 2, 3, 1)
    tail.eval()
    trained = [p for p in tail.parameters() if p.requires_grad]
    loss = torch.nn.functional.cross_entropy(tail(maps, torch.zeros(3, 0)), torch.tensor([0, 1, 0]))
    loss.backward()
    with torch.no_grad():
        for parameter in trained:
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad.sign())
    after = tail.network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    free = {name for name, p in tail.network.named_parameters() if p.requires_grad}
    assert moved and moved <= free, sorted(moved - free)[:3]
    assert set(tail.trained().tensors) >= {name.replace(".factor", ".weight") for name in moved}
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in original.items())


@pytest.mark.parametrize("source", EVERY, indirect=True)
def test_other_weights_are_another_source(source: Source, folder: Path) -> None:
    tensors = load_file(source.place)
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name].view(-1)[0] += 1e-3
    other = folder / f"other-{source.architecture}.safetensors"
    save_file(tensors, other)
    changed = find_source(f"{source.architecture}@{other}", folder)
    assert changed.sha256 != source.sha256 and changed.shape == source.shape
    assert load_tensors(changed, folder) != load_tensors(source, folder)
    other.unlink()


@pytest.mark.parametrize("network", EXPORTED, indirect=True)
def test_the_graph_agrees_can_be_cut_and_takes_trained_weights(network: Network, folder: Path) -> None:
    graph = onnx_bytes(network, {"backbone": "test"})
    check(graph, network)
    names = [name for name, _ in network.shape.depths]
    values = {tensor.name for tensor in onnx.load_from_string(graph).graph.initializer}
    plain = folded(network)
    owned = {id(p) for stage in plain.stages() for p in stage.parameters()}
    fixed = {name for name in dict(plain.named_parameters()) if name.endswith("attention_biases")}  # read from a cache
    assert {name for name, p in plain.named_parameters() if id(p) in owned} - fixed <= values

    front = OpenVinoEngine(map_graph(graph, names[:1]))
    with torch.no_grad():
        wanted = network.stages()[0](network.scaled(pictures(network))).numpy()
        found = front.run(pictures(network).numpy())[map_name(names[0])]
    assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()

    changed = {
        name: 1.1 * p.detach().numpy() for name, p in plain.named_parameters() if id(p) in owned and name not in fixed
    }
    with torch.no_grad():
        for name, p in plain.named_parameters():
            if name in changed:
                p.copy_(torch.from_numpy(changed[name]))
        wanted = plain(pictures(network))[len(names) - 1].numpy()
    found = OpenVinoEngine(graph_with(graph, changed)).run(pictures(network).numpy())["last"]
    assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max()


def test_what_the_engine_does_not_read_is_traced_instead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As DINOv3: the exporter gives a graph, with sequences that OpenVINO refuses."""
    network = opened("test_resnet", folder)[1]
    export = torch.onnx.export

    def exporter(*arguments: Any, **options: Any) -> Any:
        if not options["dynamo"]:
            return export(*arguments, **options)
        node = onnx.helper.make_node("SequenceEmpty", [], ["last"])
        value = onnx.helper.make_tensor_value_info("last", onnx.TensorProto.FLOAT, None)
        model = onnx.helper.make_model(onnx.helper.make_graph([node], "unreadable", [], [value]))
        return SimpleNamespace(model_proto=model)

    monkeypatch.setattr(torch.onnx, "export", exporter)
    check(onnx_bytes(network, {}), network)


@pytest.mark.slow
def test_parameters_of_equal_values_keep_their_names_when_traced(folder: Path) -> None:
    """As they are before training: scales of one, biases of zero. Merged, none of them could be set on its own."""
    torch.manual_seed(0)
    body = timm.create_model("test_maxvit", pretrained=False)
    shape = opened("test_maxvit", folder)[0].shape
    network = Network(body, shape).eval()
    values = {tensor.name for tensor in onnx.load_from_string(onnx_bytes(network, {})).graph.initializer}
    plain = folded(network)
    owned = {id(p) for stage in plain.stages() for p in stage.parameters()}
    assert {name for name, p in plain.named_parameters() if id(p) in owned} <= values


@pytest.mark.parametrize("source", (pytest.param("test_vit", marks=pytest.mark.slow), "test_byobnet"), indirect=True)
def test_moments_of_any_network_are_measured_or_missing(source: Source, folder: Path) -> None:
    network = opened(source.architecture, folder)[1]
    graph, norms = moment_graph(onnx_bytes(network, {}), load_arrays(source.place))
    assert bool(graph) == bool(norms) == any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
