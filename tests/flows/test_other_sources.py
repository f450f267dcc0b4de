"""Other networks than the embedded ones, from the command line to a file that predicts alone; a run as a source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
from commands import child, headstart, one_line
from hurry import STEPS_OF_ALL, STEPS_OF_FOLD, hurry
from safetensors.torch import save_file

from headstart.backbone import torchvision_entries
from headstart.backbone.backbone import open_backbone
from headstart.backbone.network import load_network
from headstart.backbone.sources import find_source

STEPS = f"{STEPS_OF_FOLD + STEPS_OF_ALL}steps"
PREDICT = """
import json, sys
from pathlib import Path
from headstart import api
run, folder = sys.argv[1:]
found = api.load(run).predict_proba(sorted(Path(folder).rglob("*.png"))).tolist()
assert not {"torch", "timm", "torchvision", "sklearn"} & set(sys.modules)
print(json.dumps(found))
"""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch.setattr)
        yield


@pytest.fixture(scope="module")
def vit(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained the last blocks of a transformer from a file."""
    folder = tmp_path_factory.mktemp("sources")
    torch.manual_seed(0)
    body = timm.create_model("test_vit", pretrained=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in body.items()}, folder / "my.safetensors")
    backbone = f"test_vit@{folder / 'my.safetensors'}"
    run = folder / "birds"
    done = headstart(
        "fit", few_digits, "--out", run, "--backbone", backbone, "--train", "last-1", "--budget", STEPS, "--json"
    )
    assert done.code == 0, done.err
    return run


def probabilities(run: Path, folder: Path) -> np.ndarray:
    done = child(run, folder, code=PREDICT)
    assert done.code == 0, done.err
    return np.array(json.loads(done.out))


def test_a_transformer_from_a_file_is_trained_saved_and_predicts_without_torch(vit: Path, few_digits: Path) -> None:
    result = json.loads((vit / "result.json").read_text())
    assert result["decision"]["train"] == "last-1" and result["decision"]["backbone"] == "test_vit@my.safetensors"
    assert result["similarity"]["bn_shift"] is None and result["similarity"]["place"] == "middle"
    found = probabilities(vit, few_digits)
    assert found.shape == (15, 3) and np.allclose(found.sum(axis=1), 1, atol=1e-5)
    written = json.loads((vit / "classifier" / "classifier.json").read_text())["backbone"]
    assert (written["family"], written["architecture"]) == ("timm", "test_vit")
    assert str(vit.parent) not in (vit / "classifier" / "classifier.json").read_text()


@pytest.mark.slow
def test_a_run_is_a_source_with_its_fine_tuned_layers(vit: Path, few_digits: Path, tmp_path: Path) -> None:
    source = find_source(str(vit), tmp_path)
    network = load_network(source, tmp_path)
    stored = {
        tensor.name.removeprefix("body."): onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(vit / "classifier" / "model.onnx").graph.initializer
    }
    parameters = dict(network.body.named_parameters())
    kept = [name for name in parameters if name in stored]
    assert len(kept) > 20 and all(np.array_equal(parameters[name].detach().numpy(), stored[name]) for name in kept)
    origin = timm.create_model("test_vit", pretrained=False).state_dict().keys()
    assert set(kept) <= set(origin)

    done = headstart("fit", few_digits, "--out", tmp_path / "next", "--backbone", vit, "--train", "head", "--json")
    assert done.code == 0, done.err
    decision = json.loads(done.out)["decision"]
    assert decision["backbone"] == "run birds"
    assert probabilities(tmp_path / "next", few_digits).shape == (15, 3)
    # and on from there: a run of a run is a source like any other
    third = find_source(str(tmp_path / "next"), tmp_path)
    assert third.origin == "run birds" and load_network(third, tmp_path).output_names == third.depth_names


@pytest.mark.slow
def test_a_run_of_an_embedded_network_gives_the_vectors_of_its_graph(few_digits: Path, tmp_path: Path) -> None:
    """Folded BatchNorm and all; the stages behind the deepest depth that its head reads are gone."""
    done = headstart(
        "fit", few_digits, "--out", tmp_path / "run", "--train", "last-2", "--budget", STEPS, "--json"
    )  # fmt: skip
    assert done.code == 0, done.err
    depths = json.loads(done.out)["decision"]["depths"]
    backbone = open_backbone(str(tmp_path / "run"), tmp_path / "cache")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        *vectors, last = backbone.torch_module()(torch.from_numpy(pixels))
    model = onnx.load(tmp_path / "run" / "classifier" / "model.onnx")
    known = {name for node in model.graph.node for name in node.output}
    read = [name for name in depths if name in known]
    assert read and len(vectors) + 1 == len(backbone.depths)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in read)
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [depth.name for depth in backbone.depths]
    for name, wanted in zip(read, session.run(read, {"images": pixels}), strict=True):
        found = ([*vectors, last])[names.index(name) if name in names else -1].numpy()
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max(), name


@pytest.mark.parametrize("body", ["test_efficientnet", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)])
def test_squares_of_another_side_all_the_way(few_digits: Path, tmp_path: Path, body: str) -> None:
    """Frozen, trained further, predicted without torch, and as a source of the next run: always 96 pixels."""
    run = tmp_path / "run"
    asked = small = f"{body}@96"
    if body.startswith("test_"):
        torch.manual_seed(0)
        file = tmp_path / "my.safetensors"
        save_file(timm.create_model(body, pretrained=False).state_dict(), file)
        asked, small = f"{body}@{file}@96", f"{body}@{file.name}@96"
    done = headstart(
        "fit", few_digits, "--out", run, "--backbone", asked, "--train", "last-1", "--budget", STEPS, "--json"
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["decision"]["backbone"], result["decision"]["train"]) == (small, "last-1")
    # how sure the old head is depends on the side, so its thresholds, measured at 224, are not used
    assert result["similarity"]["position_confidence"] is None and result["similarity"]["bn_shift"] > 0
    written = json.loads((run / "classifier" / "classifier.json").read_text())
    assert written["preprocessing"]["side"] == 96 and written["backbone"]["name"] == small
    model = onnx.load(run / "classifier" / "model.onnx")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == [96, 96, 3]
    assert probabilities(run, few_digits).shape == (15, 3)
    source = find_source(str(run), tmp_path)
    assert source.side == 96 and source.origin == small and find_source(f"{run}@128", tmp_path).side == 128


def test_a_coco_body_comes_from_the_cache_of_torch_hub(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save(model.state_dict(), checkpoints / "weights.pth")
    digits = hashlib.sha256((checkpoints / "weights.pth").read_bytes()).hexdigest()[:8]
    name = "ssdlite320_mobilenet_v3_large"
    entry = replace(torchvision_entries.ARCHITECTURES[name], file=f"{name}_coco-{digits}.pth")
    monkeypatch.setitem(torchvision_entries.ARCHITECTURES, name, entry)

    (checkpoints / "weights.pth").rename(checkpoints / entry.file)
    source = find_source(f"torchvision/{name}.coco", tmp_path)
    with torch.no_grad():
        network = load_network(source, tmp_path)
        pixels = torch.randint(0, 256, (1, 320, 320, 3), dtype=torch.uint8)
        scaled = (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        maps = model.eval().backbone(scaled)
        wanted = list(maps.values())[1].mean((2, 3))
        found = network(pixels)[-1]
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))
    assert source.shape.classes == 0 and source.facts.dataset == "COCO detection"

    altered = bytearray((checkpoints / entry.file).read_bytes())
    altered[-100] ^= 1
    (checkpoints / entry.file).write_bytes(altered)
    done = headstart("fit", few_digits, "--out", tmp_path / "run", "--backbone", f"torchvision/{name}.coco")
    assert done.code == 5 and "not the published ones" in one_line(done)
