"""docs/backbones.md is executed, and its figures are those of the record that it names. Nothing is downloaded.

What a reader would have fetched (weights of timm and torchvision) lies in the caches already, with random tensors.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from commands import headstart, one_line
from huggingface_hub import constants
from safetensors.torch import save_file
from torchvision.models import get_model, resnet18

from headstart import result
from headstart.backbone import torchvision_files
from headstart.backbone.backbone import Backbone
from headstart.backbone.graph import export_graph
from headstart.backbone.sources import find_source
from headstart.backbone.torchvision_entries import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "backbones.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)
LINES = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
TIMM, COCO = "resnet18.a1_in1k", "ssdlite320_mobilenet_v3_large"
pytestmark = pytest.mark.timeout(400)


def _others(desk: Path, patch: pytest.MonkeyPatch) -> None:
    """Caches of the hub and of torch.hub that hold the two networks which the page fetches."""
    patch.setattr(constants, "HF_HUB_CACHE", str(desk / "hub"))
    patch.setenv("HF_HUB_CACHE", str(desk / "hub"))
    patch.setenv("TORCH_HOME", str(desk / "torch"))
    snapshot = desk / "hub" / f"models--timm--{TIMM}" / "snapshots" / "one"
    snapshot.mkdir(parents=True)
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), snapshot / "model.safetensors")

    made = desk / "made.pth"
    torch.save(get_model(COCO, weights=None, weights_backbone=None).state_dict(), made)
    start = hashlib.sha256(made.read_bytes()).hexdigest()[:8]  # torchvision's files have it in their name
    patch.setitem(ARCHITECTURES, COCO, replace(ARCHITECTURES[COCO], file=f"made-{start}.pth"))
    torchvision_files.folder().mkdir(parents=True)
    made.rename(torchvision_files.folder() / f"made-{start}.pth")


@pytest.fixture(scope="module")
def desk(lite0: Backbone, few_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The reader's working folder: birds/, and my.pth as other people save networks."""
    place = tmp_path_factory.mktemp("reader")
    shutil.copytree(few_photos, place / "birds")
    torch.manual_seed(2)
    tensors = {f"module.{name}": tensor for name, tensor in resnet18(num_classes=20).state_dict().items()}
    torch.save({"epoch": 7, "state_dict": tensors}, place / "my.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        _others(place, patch)
        yield place


@pytest.mark.slow
def test_every_line_runs(desk: Path, cache: Path) -> None:
    # Here, because the process that exports would look for the digits that torchvision has published.
    export_graph(find_source(f"torchvision/{COCO}.coco", cache), cache)
    assert len(LINES) >= 10 and {kind for kind, _ in BLOCKS} == {"sh"}
    for line in LINES:
        words = shlex.split(line, comments=True)
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True, timeout=100)
            continue
        assert words[0] == "headstart", line
        if "efficientnet_lite1" in words:  # the same as with Lite0, and its export takes as long as all the others
            continue
        done = headstart(*words[1:])
        assert done.code == 0, (line, done.err)
    made = dict(re.findall(r"--backbone (\S+) .*--out (\S+)", "\n".join(LINES)))
    assert {"resnet18@my.safetensors", "runs/first", TIMM, f"torchvision/{COCO}.coco"} <= set(made)
    for name, run in made.items():
        assert name == "efficientnet_lite1" or result(desk / run)["decision"]["train"] == "head"


def test_the_line_that_converts_is_the_one_that_the_refusal_shows(desk: Path) -> None:
    said = one_line(headstart("fit", desk / "birds", "--backbone", f"resnet18@{desk / 'my.pth'}"))
    shown = next(line for line in LINES if line.startswith("python -c"))
    assert shown in said


def test_what_the_page_says_about_being_offline(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("resnet34.a1_in1k", "torchvision/fcn_resnet50.voc_labels"):
        done = headstart("fit", desk / "birds", "--backbone", name)
        said = one_line(done)
        assert done.code == 2 and "usable now" in said and f"headstart backbones --download {name}" in said
        assert "bring https://" in said


def test_names_on_the_page_are_names_that_headstart_knows() -> None:
    names = set(re.findall(r"`(torchvision/[a-z0-9_]+\.[a-z_]+)`", TEXT))
    assert names and names <= set(torchvision_files.names())
    for name in re.findall(r"`([a-z0-9_]+\.[a-z0-9_]*(?:in1k|lvd\w+))`", TEXT):
        assert name in timm.list_pretrained(), name


@pytest.mark.parametrize("mark", ["sources", "picture-size"])
def test_the_tables_are_those_of_their_records(mark: str) -> None:
    told = TEXT.split(f"<!-- {mark}: begin -->")[1].split(f"<!-- {mark}: end -->")[0]
    (link,) = re.findall(r"\[record\]\(([^)]+)\)", told)
    record = (PAGE.parent / link).read_text("utf-8")
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert len(rows) >= 10
    assert [row for row in rows if row not in record.splitlines()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_links_exist(page: Path) -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / path).exists(), path
