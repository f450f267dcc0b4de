"""Squares that embedding leaves behind: the same pixels as decoding again, of all pictures or of none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.backbone.backbone import Backbone
from headstart.embedding import squares
from headstart.embedding.embed import EmbedOptions, embed
from headstart.embedding.moments import channel_moments
from headstart.images.load import BadImageError, load_square


@pytest.fixture
def files(photos: Path) -> list[Path]:
    return sorted(p for p in photos.rglob("*") if p.is_file())[::9]


def test_what_is_kept_is_what_decoding_again_gives(lite0: Backbone, files: list[Path]) -> None:
    kept = embed(files, lite0).squares
    assert sorted(kept.kept) == list(range(len(files)))
    for row, file in enumerate(files):
        wanted = load_square(file, lite0.preprocessing).pixels
        np.testing.assert_array_equal(kept.picture(row, Path("gone.png"), lite0.preprocessing).pixels, wanted)


def test_what_came_from_the_cache_is_decoded_when_asked_for(lite0: Backbone, files: list[Path], tmp_path: Path) -> None:
    embed(files[:3], lite0, EmbedOptions(cache=tmp_path))
    kept = embed(files, lite0, EmbedOptions(cache=tmp_path)).squares
    assert sorted(kept.kept) == list(range(3, len(files)))
    wanted = load_square(files[0], lite0.preprocessing).pixels
    np.testing.assert_array_equal(kept.picture(0, files[0], lite0.preprocessing).pixels, wanted)
    with pytest.raises((BadImageError, OSError)):
        kept.picture(0, tmp_path / "gone.png", lite0.preprocessing)


def test_more_than_there_is_room_for_is_not_kept(
    lite0: Backbone, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squares, "ROOM", len(files) * 224 * 224 * 3 - 1)
    assert embed(files, lite0).squares.kept == {}


def test_moments_are_those_of_pictures_decoded_again(lite0: Backbone, files: list[Path]) -> None:
    found = embed(files, lite0)
    rows = np.arange(len(files))
    kept = channel_moments(found, [Path("gone.png")] * len(files), rows, lite0, None)
    again = channel_moments(replace(found, squares=squares.Squares()), files, rows, lite0, None)
    assert kept.pictures == again.pictures == len(files)
    np.testing.assert_array_equal(kept.shifts, again.shifts)
