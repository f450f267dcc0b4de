"""NAME@FILE: what fits is taken, another head is left out, everything else is refused in one line that says why."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from headstart.backbone.network import load_network
from headstart.backbone.sources import find_source
from headstart.errors import HeadstartError, UsageError

NAME = "test_resnet"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: t.contiguous() for name, t in timm.create_model(NAME, pretrained=False).state_dict().items()}


def saved(tensors: dict[str, torch.Tensor], folder: Path) -> str:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "my.safetensors")
    return f"{NAME}@{folder / 'my.safetensors'}"


def refused(tensors: dict[str, torch.Tensor], folder: Path, cache: Path) -> str:
    with pytest.raises(UsageError) as error:
        find_source(saved(tensors, folder), cache)
    assert "\n" not in str(error.value) and "my.safetensors" in str(error.value)
    return str(error.value)


def test_every_tensor_is_taken_as_it_is(tensors: dict[str, torch.Tensor], tmp_path: Path, cache: Path) -> None:
    source = find_source(saved(tensors, tmp_path), cache)
    found = load_network(source, cache).body.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert source.shape.classes == 1000 and source.name == f"{NAME}@my.safetensors"  # no path of this machine


@pytest.mark.parametrize("head", ["other", "none"])
def test_a_head_of_another_size_is_discarded(
    head: str, tensors: dict[str, torch.Tensor], tmp_path: Path, cache: Path
) -> None:
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    other = {"fc.weight": torch.ones(20, tensors["fc.weight"].shape[1]), "fc.bias": torch.ones(20)}
    source = find_source(saved({**body, **(other if head == "other" else {})}, tmp_path), cache)
    assert source.shape.classes == 0
    network = load_network(source, cache)
    assert network.output_names == source.depth_names  # nothing claims to know the thousand classes
    assert torch.equal(network.body.state_dict()["conv1.0.weight"], tensors["conv1.0.weight"])


def test_names_with_something_in_front_are_understood(
    tensors: dict[str, torch.Tensor], tmp_path: Path, cache: Path
) -> None:
    source = find_source(saved({f"module.{name}": t for name, t in tensors.items()}, tmp_path), cache)
    found = load_network(source, cache).body.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_what_is_missing_too_much_or_of_another_shape_is_named(
    tensors: dict[str, torch.Tensor], tmp_path: Path, cache: Path
) -> None:
    less = {name: t for name, t in tensors.items() if not name.startswith("layer2.")}
    assert "has no layer2." in refused(less, tmp_path, cache) and "more)" in refused(less, tmp_path, cache)
    assert "extra.weight belongs to another network" in refused(
        {**tensors, "extra.weight": torch.ones(1)}, tmp_path, cache
    )
    wrong = {**tensors, "layer1.0.conv1.weight": torch.ones(7, 5, 3, 3)}
    assert "layer1.0.conv1.weight is (7, 5, 3, 3)" in refused(wrong, tmp_path, cache)
    other = timm.create_model("test_vit", pretrained=False).state_dict()
    assert "name the architecture" in refused({k: v.contiguous() for k, v in other.items()}, tmp_path, cache)


def test_a_pickle_is_refused_with_a_conversion_that_works(
    tensors: dict[str, torch.Tensor], tmp_path: Path, cache: Path
) -> None:
    file = tmp_path / "old.pth"
    torch.save({"state_dict": tensors}, file)
    with pytest.raises(UsageError) as error:
        find_source(f"{NAME}@{file}", cache)
    _, _, command = str(error.value).partition("convert it once: ")
    words = shlex.split(command)
    assert words[:2] == ["python", "-c"] and "\n" not in str(error.value)
    subprocess.run([sys.executable, *words[1:]], check=True, cwd=tmp_path)
    assert load_file(tmp_path / "old.safetensors").keys() == tensors.keys()
    assert find_source(f"{NAME}@{tmp_path / 'old.safetensors'}", cache).shape.classes == 1000


@pytest.mark.parametrize(
    "content", [b"", b"\x10", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}" + b"x" * 9, b"PK\x03\x04" * 20]
)
def test_what_is_no_weights_file(content: bytes, tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "my.safetensors"
    file.write_bytes(content)
    with pytest.raises(HeadstartError) as error:
        find_source(f"{NAME}@{file}", cache)
    assert "\n" not in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (f"{NAME}@nowhere.safetensors", "no weights file"),
        ("resnet180@nowhere.safetensors", "did you mean resnet18"),
        ("resnet1888", "did you mean"),
        ("runs/nothing", "no folder of a run"),
        ("torchvision/fasterrcnn_resnet5_fpn.coco", "did you mean torchvision/fasterrcnn_resnet50_fpn.coco"),
        ("torchvision/fcn_resnet50.voc_labels", "--download torchvision/fcn_resnet50.voc_labels"),
        ("resnet18.a1_in1k", "--download resnet18.a1_in1k"),
    ],
)
def test_names_that_mean_nothing_here_say_what_to_do(
    name: str, says: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UsageError) as error:
        find_source(name, cache)
    assert says in str(error.value) and "\n" not in str(error.value)
