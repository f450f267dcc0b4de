"""The cut cache gives what the network gives there, whatever the order, the views and the place it is kept in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import Backbone
from headstart.embedding.embed import embed
from headstart.errors import DataError
from headstart.finetune.cutcache import CutCache, CutOptions, build_cut_cache, cut_shapes
from headstart.finetune.views import UNTOUCHED, apply_view, draw_views
from headstart.images.load import load_image
from tiny import tiny_features

VIEWS = draw_views(3, ("horizontal",), seed=4)
EVERY = CutOptions(head_depths=(0, 1, 2))


def everything(cache: CutCache, cut: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rows = np.arange(cache.n)
    return [cache.batch(cut, rows, np.full(cache.n, view)) for view in range(len(cache.views(cut)))]


def same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    pairs = [pair for one, two in zip(first, second, strict=True) for pair in zip(one, two, strict=True)]
    return all(np.array_equal(a, b) for a, b in pairs)


def test_maps_and_vectors_are_those_of_the_real_network(lite0: Backbone, photos: Path) -> None:
    sources = sorted(photos.rglob("*.png"))[:3]
    views = draw_views(2, ("horizontal",), seed=0)
    with build_cut_cache(sources, lite0, (4, 6), views, CutOptions(head_depths=(2, 5, 7))) as cache:
        (early, early_vectors), (late, late_vectors) = (cache.batch(cut, [2, 0, 1], [0, 1, 1]) for cut in (4, 6))
    squares = [load_image(source, lite0.preprocessing) for source in sources]
    seen = [apply_view(squares[i].pixels, views[v], squares[i].pixel_hash) for i, v in ((2, 0), (0, 1), (1, 1))]
    body = lite0.torch_module().body
    with torch.no_grad():
        x = (torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        x = body.blocks[:4](body.bn1(body.conv_stem(x)))
        near(early, x.permute(0, 2, 3, 1).numpy())
        near(late, body.blocks[4:6](x).permute(0, 2, 3, 1).numpy())
    assert early.dtype == late.dtype == np.float16 and early.flags.c_contiguous and early.shape == (3, 14, 14, 80)
    known = embed(sources, lite0).matrix([2, 5])
    near(late_vectors[:1], known[2:])  # view 0; the last depth lies behind the cut
    near(early_vectors, late_vectors[:, :40])


def near(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max() / 4)


def test_every_view_of_every_picture_is_in_its_place(tiny_backbone: Any, pictures: list[Path]) -> None:
    with build_cut_cache(pictures, tiny_backbone, (0, 1, 2), VIEWS, EVERY) as cache:
        found = {cut: everything(cache, cut) for cut in (0, 1, 2)}
    for v, view in enumerate(VIEWS):
        loaded = [load_image(file, tiny_backbone.preprocessing) for file in pictures]
        squares = np.stack([apply_view(picture.pixels, view, picture.pixel_hash) for picture in loaded])
        np.testing.assert_array_equal(found[0][v][0], squares)
        expected = tiny_features(squares)
        near(found[1][v][0].astype(np.float32).mean((1, 2)), expected["block0"])
        near(found[2][v][0].astype(np.float32).mean((1, 2)), expected["block1"])
        near(found[2][v][1], np.concatenate([expected["block0"], expected["block1"]], axis=1))
        assert found[0][v][1].shape == (7, 0)
    np.testing.assert_array_equal(found[0][0][0], [picture.pixels for picture in loaded_all(tiny_backbone, pictures)])


def loaded_all(backbone: Any, files: list[Path]) -> list[Any]:
    return [load_image(file, backbone.preprocessing) for file in files]


def test_order_and_number_of_views_change_nothing(tiny_backbone: Any, pictures: list[Path]) -> None:
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    more = draw_views(5, ("horizontal",), seed=4)
    one = build_cut_cache(pictures, tiny_backbone, (0, 2), VIEWS, EVERY)
    two = build_cut_cache([pictures[i] for i in order], tiny_backbone, (2, 0), more, EVERY)
    for cut in (0, 2):
        for view in range(3):
            assert same([one.batch(cut, order, np.full(7, view))], [two.batch(cut, np.arange(7), np.full(7, view))])


def test_files_hold_the_same_numbers_as_memory(tiny_backbone: Any, pictures: list[Path], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    small = CutOptions(limit_bytes=1, scratch=scratch, head_depths=(0, 1))
    with build_cut_cache(pictures, tiny_backbone, (0, 1, 2), VIEWS[:1], small) as cache:
        assert cache.disk_bytes > 0 and cache.bytes < 1000  # only the vectors
        assert cache.cuts == (0, 1, 2)
        from_disk = {cut: everything(cache, cut) for cut in cache.cuts}
    with pytest.raises(ValueError, match="not in the cache"):
        cache.batch(0, [0], [0])
    assert not any(scratch.iterdir())
    with build_cut_cache(pictures, tiny_backbone, (0, 1, 2), VIEWS[:1], CutOptions(head_depths=(0, 1))) as cache:
        assert cache.disk_bytes == 0 and all(same(from_disk[cut], everything(cache, cut)) for cut in cache.cuts)


def test_without_a_disk_the_limit_costs_views_and_says_so(
    tiny_backbone: Any, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.finetune.cutcache.disk_room", lambda _folder: 0)
    limit = sum(7 * shape.view_bytes for shape in cut_shapes(tiny_backbone, (0, 1, 2), (0, 1)).values()) * 3 // 2
    with build_cut_cache(pictures, tiny_backbone, (0, 1, 2), VIEWS, EVERY) as whole:
        wanted = {cut: everything(whole, cut) for cut in (0, 1, 2)}
    with build_cut_cache(pictures, tiny_backbone, (0, 1, 2), VIEWS, CutOptions(limit, head_depths=(0, 1, 2))) as cache:
        assert cache.bytes <= limit and cache.disk_bytes == 0
        few = [cut for cut in (1, 2) if len(cache.views(cut)) < 3]
        assert few and all(any(f"cut {cut}" in note for note in cache.notes) for cut in few)
        assert cache.views(0) == VIEWS  # pixels have all views: they are made when read
        assert same(everything(cache, 0), wanted[0])
        for cut in (1, 2):
            kept = len(cache.views(cut))
            assert same(everything(cache, cut), wanted[cut][:kept])
            with pytest.raises(IndexError, match="views"):
                cache.batch(cut, [0], [kept])
        with pytest.raises(IndexError, match="rows"):
            cache.batch(0, [7], [0])


def test_a_scratch_folder_that_cannot_be_written_costs_the_cut_not_the_run(
    tiny_backbone: Any, pictures: list[Path], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    limit = 7 * cut_shapes(tiny_backbone, (2,))[2].view_bytes
    with build_cut_cache(pictures, tiny_backbone, (0, 2), VIEWS, CutOptions(limit, blocked / "cuts")) as cache:
        assert cache.cuts == (2,) and any("cut 0" in note and "file" in note for note in cache.notes)


def test_memory_that_is_refused_becomes_a_file(
    tiny_backbone: Any, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("headstart.finetune.cutcache.MemoryRows", refused)
    with build_cut_cache(pictures, tiny_backbone, (0,), VIEWS) as cache:
        assert cache.bytes == 0 and cache.disk_bytes == 7 * 32 * 32 * 3  # one view; the others are made when read
        assert cache.batch(0, [3], [1])[0].any()


def test_more_than_a_little_goes_to_a_file_with_all_its_views(
    tiny_backbone: Any, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with build_cut_cache(pictures, tiny_backbone, (1, 2), VIEWS, EVERY) as cache:
        assert cache.disk_bytes == 0
        wanted = {cut: everything(cache, cut) for cut in (1, 2)}
    monkeypatch.setattr("headstart.finetune.room.KEPT_IN_MEMORY", 1000)
    with build_cut_cache(pictures, tiny_backbone, (1, 2), VIEWS, CutOptions(None, tmp_path, (0, 1, 2))) as cache:
        assert cache.bytes < 1000 and cache.disk_bytes > 1000 and not cache.notes  # only the vectors in memory
        assert all(same(everything(cache, cut), wanted[cut]) for cut in (1, 2))


def test_a_picture_that_vanished_is_named_and_nothing_stays(
    tiny_backbone: Any, pictures: list[Path], tmp_path: Path
) -> None:
    pictures[4].unlink()
    with pytest.raises(DataError, match=r"4\.png.*any more"):
        build_cut_cache(pictures, tiny_backbone, (0,), VIEWS, CutOptions(1, tmp_path / "scratch"))
    with pytest.raises(DataError, match=r"4\.png.*any more"):
        build_cut_cache(pictures, tiny_backbone, (1,), VIEWS, CutOptions(1, tmp_path / "scratch"))
    assert not any((tmp_path / "scratch").iterdir())


def test_pixels_alone_need_no_network(tiny_backbone: Any, pictures: list[Path]) -> None:
    tiny_backbone.graph = None
    seen: list[int] = []
    options = CutOptions(progress=lambda done, total: seen.append(done))
    with build_cut_cache(pictures, tiny_backbone, (0,), VIEWS, options) as cache:
        pixels, vectors = cache.batch(0, [1, 1], [0, 1])
    assert pixels.dtype == np.uint8 and not np.array_equal(pixels[0], pixels[1]) and vectors.shape == (2, 0)
    assert seen == sorted(seen) and seen[-1] == 7


def test_a_released_cut_is_gone_and_the_others_stay(tiny_backbone: Any, pictures: list[Path]) -> None:
    with build_cut_cache(pictures, tiny_backbone, (1, 2)) as cache:
        before = cache.bytes
        cache.release(1)
        assert cache.cuts == (2,) and cache.bytes < before / 2
        assert cache.batch(2, [6], [0])[0].shape == (1, 8, 8, 6)


@pytest.mark.parametrize(
    ("cuts", "views", "said"),
    [((9,), VIEWS, "cut 9"), ((-1,), VIEWS, "cut -1"), ((1,), VIEWS[1:], "first view"), ((1,), (), "first view")],
)
def test_what_makes_no_sense_is_refused(
    tiny_backbone: Any, pictures: list[Path], cuts: tuple[int, ...], views: tuple[Any, ...], said: str
) -> None:
    assert VIEWS[0] == UNTOUCHED
    with pytest.raises(ValueError, match=said):
        build_cut_cache(pictures, tiny_backbone, cuts, views)
