"""The listing of pretrained networks: light, true to timm and torchvision, and it remembers what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fake_hub import OLD_KEYS, empty_caches
from headstart.backbone import hub, listing, measuring
from headstart.backbone.backbone import Backbone
from headstart.backbone.packages import PACKAGES
from headstart.backbone.torchvision_entries import ARCHITECTURES
from headstart.errors import UsageError


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of the hub and of torch.hub with nothing in them."""
    empty_caches(tmp_path, monkeypatch)
    return tmp_path


def in_the_cache(empty: Path, name: str) -> Path:
    """A weights file in the hub's cache as the hub's library leaves it (a link to a file named by its sha256)."""
    repository = empty / "hub" / f"models--timm--{name}"
    blob = repository / "blobs" / ("a" * 64)
    place = repository / "snapshots" / "c0ffee" / "model.safetensors"
    for folder in (blob.parent, place.parent, repository / "refs"):
        folder.mkdir(parents=True)
    tensors = {"conv.weight": torch.zeros(4, 3, 2, 2), "bn.weight": torch.ones(4), "bn.running_mean": torch.ones(4)}
    save_file(tensors, blob)
    place.symlink_to(blob)
    (repository / "refs" / "main").write_text("c0ffee")
    return place


def test_the_listing_is_light() -> None:
    code = (
        "import sys; from headstart import api; rows = api.backbones();"
        "print(len(rows), [m for m in ('torch', 'timm', 'torchvision', 'onnx', 'openvino', 'httpx', 'httpx2',"
        " 'requests', 'huggingface_hub.file_download', 'huggingface_hub.hf_api') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, heavy = done.stdout.strip().split(" ", 1)
    assert int(count) >= len(PACKAGES) + len(listing.CHOSEN) + len(ARCHITECTURES) and heavy == "[]"


def test_every_source_has_its_row_with_every_old_key(empty: Path) -> None:
    rows = {row.name: row for row in listing.listed(empty)}
    assert set(PACKAGES) <= set(rows)
    assert {one.name for one in listing.CHOSEN} <= set(rows)
    assert sum(row.family == "torchvision" for row in rows.values()) == len(ARCHITECTURES)
    for row in rows.values():
        facts = row.to_json()
        assert set(facts) >= OLD_KEYS and json.loads(json.dumps(facts)) == facts
        assert row.installed == (row.family == "package"), row.name
        assert row.dataset and row.licence, row.name
    assert "not VOC pictures" in rows["torchvision/fcn_resnet50.voc_labels"].dataset


def test_what_lies_in_the_caches_comes_first(empty: Path) -> None:
    unlisted, chosen = "resnet34.a2_in1k", listing.CHOSEN[1].name
    in_the_cache(empty, unlisted)
    place = in_the_cache(empty, chosen)
    (empty / "hub" / "models--timm--resnet26.bt_in1k" / "refs").mkdir(parents=True)  # begun, without a file
    entry = ARCHITECTURES["fcn_resnet50"]
    torchvision = empty / "torch" / "hub" / "checkpoints" / entry.file
    torchvision.parent.mkdir(parents=True)
    torchvision.write_bytes(b"x" * 1234)
    rows = listing.listed(empty)
    here = {row.name: row for row in rows if row.installed}
    assert [row.installed for row in rows] == sorted((row.installed for row in rows), reverse=True)
    assert set(here) - set(PACKAGES) == {unlisted, chosen, "torchvision/fcn_resnet50.voc_labels"}
    assert here[unlisted].parameters == 4 * 3 * 2 * 2 + 4 and here[unlisted].dataset == "ImageNet-1k"
    assert here[unlisted].sha256 == "a" * 64 and here[unlisted].bytes == place.stat().st_size
    assert here[chosen].parameters == listing.CHOSEN[1].parameters and here[chosen].licence
    assert here["torchvision/fcn_resnet50.voc_labels"].bytes == 1234
    assert listing.usable().startswith("efficientnet_lite0") and len(here) == len(PACKAGES) + 3


def test_a_damaged_file_is_listed_without_what_it_does_not_say(empty: Path) -> None:
    in_the_cache(empty, "resnet34.a2_in1k").resolve().write_bytes(b"damaged")
    (row,) = [row for row in listing.listed(empty) if row.name == "resnet34.a2_in1k"]
    assert row.installed and row.parameters is None and row.bytes == 7


def test_the_chosen_ones_are_what_timm_says() -> None:
    import timm

    known = set(timm.list_pretrained())
    for one in listing.CHOSEN:
        assert one.name in known
        config = timm.get_pretrained_cfg(one.name)
        assert (config.license, config.hf_hub_id) == (one.licence, f"timm/{one.name}")
        with torch.device("meta"):
            model = timm.create_model(one.name, pretrained=False)
        assert sum(p.numel() for p in model.parameters()) == one.parameters, one.name
        assert sum(t.numel() * t.element_size() for t in model.state_dict().values()) == one.bytes, one.name
        assert timm.data.resolve_data_config({}, model=model)["input_size"][-1] == one.side, one.name
        # A published ImageNet accuracy only for what has ImageNet's classes.
        assert (one.top1 is not None) == (config.num_classes == 1000), one.name
    assert len({one.name for one in listing.CHOSEN}) == len(listing.CHOSEN)


def test_data_sets_are_read_from_names() -> None:
    words = {one.name: hub.dataset_of(one.name) for one in listing.CHOSEN}
    assert words["resnet18.a1_in1k"] == "ImageNet-1k"
    assert words["convnext_tiny.in12k_ft_in1k"] == "ImageNet-12k, then 1k"
    assert words["vit_small_patch14_dinov2.lvd142m"] == "LVD-142M"
    assert words["vit_base_patch16_clip_224.openai"] == "OpenAI's 400 M pairs"
    assert words["vit_base_patch16_siglip_224.webli"] == "WebLI"
    assert hub.dataset_of("resnet18.of_mine") == "of_mine" and hub.dataset_of("resnet18") == "not said"


def test_what_would_be_fetched_is_known_beforehand(empty: Path) -> None:
    entry = ARCHITECTURES["fcn_resnet50"]
    size = round(entry.mebibytes * 2**20)
    wanted = {"name": "torchvision/fcn_resnet50.voc_labels", "bytes": size, "host": "download.pytorch.org"}
    assert listing.to_fetch("torchvision/fcn_resnet50", empty) == wanted
    chosen = listing.CHOSEN[0]
    assert listing.to_fetch("timm/resnet18.a1_in1k", empty) == {
        "name": chosen.name,
        "bytes": chosen.bytes,
        "host": "huggingface.co",
    }
    found = listing.to_fetch("test_vit", empty)
    assert found and found["name"].startswith("test_vit.") and 1e6 < found["bytes"] < 3e6
    for name in ("efficientnet_lite0", "efficientnet_lite2", "resnet18@my.safetensors", "runs/birds"):
        assert listing.to_fetch(name, empty) is None
    in_the_cache(empty, chosen.name)
    assert listing.to_fetch("resnet18", empty) is None, "what is here needs no download"
    with pytest.raises(UsageError, match="did you mean"):
        listing.to_fetch("resnet_18", empty)
    with pytest.raises(UsageError, match="did you mean"):
        listing.to_fetch("torchvision/fcn_resnet5", empty)


def test_fetching_what_is_no_download_says_what_to_do(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listing.fetch("efficientnet_lite0").is_file()
    monkeypatch.setattr(listing, "located", lambda package: None)
    with pytest.raises(UsageError, match=r"pip install 'headstart\[backbones\]'"):
        listing.fetch("efficientnet_lite2")
    with pytest.raises(UsageError, match="nothing to download"):
        listing.fetch("resnet18@my.safetensors")
    with pytest.raises(UsageError, match="no network's name"):
        listing.fetch("runs/birds")


def test_a_measurement_is_remembered_with_its_engine_and_day(lite0: Backbone, empty: Path) -> None:
    cache = lite0.cache
    measured = measuring.measure("efficientnet_lite0", cache)
    name = measured["name"]
    assert name == "efficientnet_lite0" and measured["images_per_second"] > 1 and measured["side"] == 224
    assert measured["sha256"] == PACKAGES[name].sha256 and measured["parameters"] == PACKAGES[name].shape.parameters
    (record,) = (cache / "graphs").glob("speed-efficientnet_lite0.json")
    try:
        (row,) = [row for row in listing.listed(cache) if row.name == name]
        assert row.speed and len(row.speed.day) == 10 and len(row.speed.engine.split()) == 3
        assert row.to_json()["images_per_second"] == measured["images_per_second"]
        assert all(row.speed is None for row in listing.listed(cache) if row.name != name)
        record.write_text("damaged")
        assert all(row.speed is None for row in listing.listed(cache))
    finally:
        record.unlink()
