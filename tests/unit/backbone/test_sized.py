"""NAME@SIDE: the same weights shown other squares, and who cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from headstart.backbone import listing, own_run
from headstart.backbone.graph_file import graph_key
from headstart.backbone.network import load_network
from headstart.backbone.prepared import packaged_tensors, prepared
from headstart.backbone.sized import at_side, parted
from headstart.backbone.sources import find_source
from headstart.backbone.tensors import load_tensors
from headstart.errors import MachineError, UsageError

LITE0 = "efficientnet_lite0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (LITE0, (LITE0, None)),
        (f"{LITE0}@96", (LITE0, 96)),
        ("resnet18@my.safetensors", ("resnet18@my.safetensors", None)),
        ("resnet18@my.safetensors@160", ("resnet18@my.safetensors", 160)),
        ("resnet18@160.safetensors", ("resnet18@160.safetensors", None)),
        ("runs/first@128", ("runs/first", 128)),
        ("@96", ("@96", None)),
        (f"{LITE0}@-96", (f"{LITE0}@-96", None)),
    ],
)
def test_the_side_is_the_number_behind_the_last_at(name: str, expected: tuple[str, int | None]) -> None:
    assert parted(name) == expected


def test_another_side_is_another_graph_of_the_same_weights(tmp_path: Path) -> None:
    own, small = find_source(LITE0), find_source(f"{LITE0}@96")
    assert (small.side, small.name, small.network) == (96, f"{LITE0}@96", LITE0)
    assert small.depth_names == own.depth_names
    assert graph_key(small) != graph_key(own) and graph_key(small) != graph_key(find_source(f"{LITE0}@128"))
    assert load_tensors(small, tmp_path) == load_tensors(own, tmp_path)
    assert packaged_tensors(small) is not None and prepared(small) is None and prepared(own) is not None
    assert find_source(f"{LITE0}@224") == own == find_source(find_source(f"{LITE0}@224").spec)


@pytest.mark.parametrize("side", [0, 32, 100, 2048])
def test_a_side_that_the_stages_do_not_divide_is_refused(side: int) -> None:
    with pytest.raises(UsageError, match="a side from 64 to 1024 that 32 divides, such as 96"):
        find_source(f"{LITE0}@{side}")


def test_a_transformer_keeps_its_side() -> None:
    source = find_source(LITE0)
    shape = replace(source.shape, plan=replace(source.shape.plan, kind="tokens"))
    with pytest.raises(UsageError, match=r"takes pictures of 224 pixels only: leave @96 away"):
        at_side(replace(source, shape=shape), 96)


def test_windows_that_do_not_fit_are_found_by_trying(tmp_path: Path) -> None:
    file = tmp_path / "my.safetensors"
    body = timm.create_model("test_maxvit", pretrained=False).state_dict()
    save_file({name: tensor.contiguous().clone() for name, tensor in body.items()}, file)
    with pytest.raises(MachineError, match=r"does not take pictures of 96 pixels .*window.*: leave @96 away"):
        load_network(find_source(f"test_maxvit@{file}@96", tmp_path), tmp_path)
    network = load_network(find_source(f"test_maxvit@{file}@320", tmp_path), tmp_path)
    with torch.no_grad():
        assert len(network(torch.zeros((1, 320, 320, 3), dtype=torch.uint8))) == len(network.output_names)


def test_a_run_may_be_called_like_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, made = tmp_path / "exp@128", []
    run.mkdir()
    (run / "classifier.json").write_text("{}")
    monkeypatch.setattr(own_run, "source_of", lambda name, folder, cache: made.append(name) or find_source(LITE0))
    assert find_source(str(run)).side == 224 and listing.to_fetch(str(run)) is None
    assert find_source(f"{run}@96").side == 96 and made == [str(run)] * 2


def test_what_is_fetched_has_no_side() -> None:
    assert listing.to_fetch(f"{LITE0}@96") is None and listing.fetch(f"{LITE0}@96") == listing.fetch(LITE0)
    with pytest.raises(UsageError, match="unknown backbone 'efficientnet_lite9'"):
        find_source("efficientnet_lite9@96")
