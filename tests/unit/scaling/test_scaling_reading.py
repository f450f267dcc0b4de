"""Pictures at other places: fsspec's memory and file systems stand for all; s3 and gs were not run here."""

from __future__ import annotations

import sys

import fsspec
import pytest

from headstart.errors import MachineError
from headstart.images.read import BadImageError
from headstart.scaling import reading
from headstart.scaling.reading import read_uri, uri_of


def test_places(tmp_path):
    with fsspec.open("memory://bucket/a b.jpg", "wb") as file:
        file.write(b"remote")
    (tmp_path / "a %20b.jpg").write_bytes(b"local")
    assert read_uri("memory://bucket/a b.jpg") == b"remote"
    assert read_uri(uri_of(tmp_path / "a %20b.jpg")) == b"local"
    (tmp_path / "plain.jpg").write_bytes(b"plain")
    assert read_uri(f"file://{tmp_path}/plain.jpg") == b"plain"


@pytest.mark.parametrize("uri", ["memory://bucket/none.jpg", "/nowhere/none.jpg", "file:///nowhere/none.jpg"])
def test_a_missing_picture_is_bad(uri):
    with pytest.raises(BadImageError, match="file not found"):
        read_uri(uri)


def test_a_place_nobody_can_open_ends_the_run():
    with pytest.raises(MachineError, match=r"nothere://x/a.jpg cannot be opened"):
        read_uri("nothere://x/a.jpg")


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MachineError, match=r"needs fsspec.*pip install 'headstart\[scale\]'"):
        read_uri("memory://bucket/a.jpg")


def test_an_outage_is_no_bad_picture(monkeypatch):
    tries = []

    def gone(_fsspec, uri):
        tries.append(uri)
        raise TimeoutError("no answer")

    monkeypatch.setattr(reading, "_read", gone)
    monkeypatch.setattr(reading, "_PAUSE", 0.0)
    with pytest.raises(MachineError, match=r"no answer.*what was computed is kept"):
        read_uri("memory://bucket/a.jpg")
    assert len(tries) == 3
