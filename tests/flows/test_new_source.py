"""A new source of weights touches one file: the worked example of CONTRIBUTING.md, on a copy of the source tree."""

from __future__ import annotations

import filecmp
import os
import re
import shlex
import shutil
from pathlib import Path
from textwrap import indent

import pytest
import timm
import torch
from commands import Outcome, child, headstart, one_line

import headstart as product
from headstart.backbone.source import Plan, Shape

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## A new source of weights")[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", SECTION, re.M | re.S)
(ASK, ENTRY), (COMMANDS,) = ([text for kind, text in BLOCKS if kind == wanted] for wanted in ("python", "sh"))
SAME = """
import torch
from pathlib import Path
from headstart.backbone.backbone import open_backbone

backbone = open_backbone("shore_birds")
backbone.graph()
network = backbone.torch_module()
given = torch.load(Path("../site/shore_birds_weights/weights.pth"), weights_only=True)
own = network.body.state_dict()
assert all(torch.equal(own[name], tensor) for name, tensor in given.items()) and len(own) == len(given)
print(network.output_names)
"""
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def desk(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tree/headstart`: the copy with the entry; `site`: the package; `work`: where the commands are typed."""
    place = tmp_path_factory.mktemp("contributor")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(product.__file__).parent, place / "tree" / "headstart", ignore=ignore)
    package = place / "site" / "shore_birds_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    torch.manual_seed(5)
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), package / "weights.pth")
    (place / "work").mkdir()
    shutil.copytree(photos, place / "work" / "birds")
    return place


@pytest.fixture
def typed(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The desk, with the copy and the package in front of what is installed, in `work`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(desk / name) for name in ("tree", "site")))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(desk / "work")
    return desk


def asked(desk: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Shape]:
    """What the first block prints: the hash of the file and the shape of the network."""
    with monkeypatch.context() as there:
        there.chdir(desk / "site" / "shore_birds_weights")
        done = child(code=ASK)
        shutil.rmtree("scratch")
    assert done.code == 0, done.err
    sha256, shape = done.out.splitlines()
    return sha256, eval(shape, {"Shape": Shape, "Plan": Plan})


def add_entry(desk: Path, sha256: str) -> Path:
    """The second block behind the other entries, with the hash of this file; the file that was changed."""
    file = desk / "tree" / "headstart" / "backbone" / "packages.py"
    text = (ROOT / "src" / "headstart" / "backbone" / "packages.py").read_text("utf-8")
    entry, found = re.subn('"[0-9a-f]{64}"', f'"{sha256}"', ENTRY)
    before, end, after = text.partition("\n    )\n}\n")
    assert found == 1 and end and "PACKAGES" in before
    file.write_text(f"{before}\n{indent(entry.rstrip(), ' ' * 8)},{end}{after}", "utf-8")
    return file


def changed(desk: Path) -> list[str]:
    """Files of the copy that differ from the source tree."""
    copy, tree = desk / "tree" / "headstart", Path(product.__file__).parent
    names = {p.relative_to(f).as_posix() for f in (copy, tree) for p in f.rglob("*") if p.is_file()}
    names = {name for name in names if "__pycache__" not in name}
    return sorted(filecmp.cmpfiles(copy, tree, names, shallow=False)[1] + filecmp.cmpfiles(copy, tree, names)[2])


def line(command: str, *more: str) -> Outcome:
    words = shlex.split(command, comments=True)
    assert words[0] == "headstart"
    return child(*words[1:], *more)


@pytest.mark.slow
def test_the_example_works_and_touches_one_file(typed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed(typed) == []
    sha256, shape = asked(typed, monkeypatch)
    add_entry(typed, sha256)
    assert changed(typed) == ["backbone/packages.py"]
    code = (
        "import headstart; from headstart.backbone.packages import PACKAGES; print(repr(PACKAGES['shore_birds'].shape))"
    )
    written = child(code=code)
    assert written.code == 0, written.err
    assert eval(written.out, {"Shape": Shape, "Plan": Plan}) == shape, "the page shows what the first block prints"

    listing, fit = COMMANDS.splitlines()
    listed = line(listing, "--json")
    assert listed.code == 0, listed.err
    (row,) = listed.json["backbones"]
    assert row["name"] == "shore_birds" and row["sha256"] == sha256 and row["licence"] == "CC-BY-4.0"
    assert "shore_birds" in line(listing).out

    done = line(fit, "--json")
    assert done.code == 0, done.err
    assert done.json["accuracy"]["top1"] > 0.3, "five classes of easy photographs, random weights"
    same = child(code=SAME)
    assert same.code == 0 and "block2" in same.out, same.err

    weights = typed / "site" / "shore_birds_weights" / "weights.pth"
    weights.write_bytes(weights.read_bytes() + b"x")
    refused = line(fit, "--overwrite")
    assert refused.code == 5 and "not the published ones" in one_line(refused)


def test_the_installed_headstart_does_not_know_it(photos: Path) -> None:
    done = headstart("fit", photos, "--backbone", "shore_birds")
    assert done.code == 2 and "unknown backbone" in one_line(done)
