"""Which networks run in torch: what is remembered of them, for how long, and what is not worth remembering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.backbone import graph, measuring, torch_only
from headstart.backbone.graph import onnx_bytes
from headstart.backbone.network import load_network
from headstart.backbone.sources import find_source
from headstart.backbone.torch_only import NotExportableError, forget, known, remember, remembered
from headstart.cli.main import _run
from headstart.errors import MachineError
from odd import known_here_and_in_children, weights_of

LITE0 = find_source("efficientnet_lite0")


@pytest.fixture(scope="module", autouse=True)
def odd() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        known_here_and_in_children(patch)
        yield


def test_it_holds_for_these_weights_and_these_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered(LITE0, tmp_path) is None and known(tmp_path) == {}
    remember(LITE0, tmp_path, "no exporter knows it")
    assert remembered(LITE0, tmp_path) == "no exporter knows it"
    assert known(tmp_path) == {"efficientnet_lite0": "no exporter knows it"}
    assert remembered(replace(LITE0, sha256="0" * 64), tmp_path) is None
    with monkeypatch.context() as patch:
        patch.setattr(torch_only, "_versions", lambda: {"torch": "99"})
        assert remembered(LITE0, tmp_path) is None, "a newer exporter may be able to"
    (record,) = (tmp_path / "graphs").iterdir()
    record.write_text("[1]")
    assert remembered(LITE0, tmp_path) is None
    remember(LITE0, tmp_path, "again")
    forget(LITE0, tmp_path)
    assert remembered(LITE0, tmp_path) is None and known(tmp_path) == {}


def test_the_listing_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remember(LITE0, tmp_path, "no exporter knows it")
    rows = {row["name"]: row["runs_in_torch"] for row in measuring.listed_with_engine(tmp_path)}
    assert rows.pop("efficientnet_lite0") == "no exporter knows it" and set(rows.values()) == {None}
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    assert _run(["backbones", "lite0"]) == 0
    shown = capsys.readouterr().out
    assert "efficientnet_lite0 runs in torch: it cannot be exported (no exporter knows it)." in shown
    assert next(line for line in shown.splitlines() if "75.1" in line).endswith("torch")


def test_an_operation_without_a_counterpart_is_named(tmp_path: Path) -> None:
    source = find_source(f"test_spreads@{weights_of('test_spreads', tmp_path)}", tmp_path)
    with pytest.raises(NotExportableError) as caught:
        onnx_bytes(load_network(source, tmp_path), {})
    assert "linalg_svd" in caught.value.reason and "\x1b" not in caught.value.reason and "\n" not in caught.value.reason


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError("disk"), RuntimeError("DefaultCPUAllocator: not enough memory")]
)
def test_what_may_pass_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(_: object) -> bytes:
        raise error

    monkeypatch.setattr(graph, "prepared", lambda _: None)
    monkeypatch.setattr(graph, "_exported", fails)
    monkeypatch.setattr(graph, "_traced", fails)
    with pytest.raises(MachineError) as caught:
        graph.export_graph(LITE0, tmp_path)
    assert not isinstance(caught.value, NotExportableError) and remembered(LITE0, tmp_path) is None
