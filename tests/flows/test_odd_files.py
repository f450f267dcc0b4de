"""A folder as it comes from the world: strange names, links, pipes, bombs. The good pictures are learned."""

from __future__ import annotations

import csv
import io
import os
import shutil
import struct
import sys
import zlib
from pathlib import Path

import pytest
from commands import headstart

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these names nor these files")


def bomb(side: int) -> bytes:
    """A PNG that says it has side x side pixels and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def data(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "data"
    shutil.copytree(photos, folder)
    first, second = sorted(folder.iterdir())[:2]
    (first / "loop").symlink_to(folder, target_is_directory=True)
    (first / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(first / "pipe.jpg")
    (first / "bomb.png").write_bytes(bomb(30_000))
    (second / ".DS_Store").write_bytes(b"x")
    (second / "notes.txt").write_text("not a picture")
    picture = next(p for p in sorted(second.iterdir()) if p.suffix == ".jpg")
    shutil.copy(picture, os.fsencode(second) + b"/caf\xe9.jpg")
    shutil.copy(sorted(second.glob("*.jpg"))[1], second / 'a "quoted", [red]\nname.jpg')
    return folder


def test_fit_goes_through_and_lists_what_it_left(data: Path, photos: Path, tmp_path: Path) -> None:
    done = headstart("fit", data, "--out", tmp_path / "r", "--train", "head", "--json")
    assert done.code == 0, done.err
    good = sum(1 for p in photos.rglob("*") if p.is_file())
    assert done.json["data"]["n"] == good + 2
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r" / "bad_images.csv").read_text())))
    reasons = {Path(row["path"]).name: row["reason"] for row in rows}
    assert set(reasons) == {"bomb.png", "pipe.jpg"}
    assert "30000" in reasons["bomb.png"] or "pixels" in reasons["bomb.png"]


def test_every_output_survives_the_names(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    assert headstart("fit", data, "--out", run, "--train", "head").code == 0
    done = headstart("predict", run, data, "--json", "--csv", tmp_path / "table.csv")
    assert done.code == 3  # the pipe and the bomb
    rows = done.json["predictions"]
    with (tmp_path / "table.csv").open(newline="") as f:
        table = list(csv.DictReader(f))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    assert sum(row["error"] is not None for row in rows) == 2
    assert any("caf" in row["path"] for row in rows)
    assert headstart("audit", data, "--json").json["data"]["skipped"] == 2
