"""Embedding: what comes back, that it comes back the same from the cache, and that known pictures cost nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.backbone.backbone import Backbone
from headstart.embedding import work
from headstart.embedding.embed import Embeddings, EmbedOptions, embed, not_cached
from headstart.engine.openvino import OpenVinoEngine
from headstart.images.load import load_image


@pytest.fixture
def files(photos: Path) -> list[Path]:
    return sorted(p for p in photos.rglob("*") if p.is_file())[::3]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every picture that is decoded."""
    count: list[int] = []

    def counting(*arguments: object) -> object:
        count.append(1)
        return load_image(*arguments)

    monkeypatch.setattr(work, "load_image", counting)
    return count


def same(one: Embeddings, two: Embeddings) -> None:
    for a, b in zip(one.vectors, two.vectors, strict=True):
        assert a.dtype == np.float16
        np.testing.assert_array_equal(a, b)
    for name in ("thumbnails", "sizes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.source_top[0], two.source_top[0])
    np.testing.assert_array_equal(one.source_top[1], two.source_top[1])
    assert one.pixel_hashes == two.pixel_hashes and one.errors == two.errors


def test_rows_are_what_the_engine_says_of_each_picture(lite0: Backbone, files: list[Path]) -> None:
    found = embed(files, lite0)
    engine = OpenVinoEngine(lite0.graph())
    for i in (0, 7, len(files) - 1):
        picture = load_image(files[i], lite0.preprocessing)
        outputs = engine.run(picture.pixels[None])
        for depth, vectors in zip(lite0.depths, found.vectors, strict=True):
            wanted = outputs[depth.name][0]
            np.testing.assert_allclose(vectors[i], wanted, rtol=1e-3, atol=1e-3)
        assert found.pixel_hashes[i] == picture.pixel_hash
        np.testing.assert_array_equal(found.thumbnails[i], picture.thumbnail)
        assert tuple(found.sizes[i]) == (picture.width, picture.height)
        assert found.source_top[0][i, 0] == outputs["source_logits"][0].argmax()
    probabilities = found.source_top[1].astype(float)
    assert (np.diff(probabilities, axis=1) <= 0).all() and (probabilities.sum(axis=1) <= 1.01).all()
    assert found.facts.computed == len(files) and found.facts.cached == 0 and found.facts.engine is not None


def test_matrix_puts_depths_side_by_side(lite0: Backbone, files: list[Path]) -> None:
    found = embed(files[:4], lite0)
    both = found.matrix([1, 7], np.array([3, 0]))
    assert both.dtype == np.float16 and both.shape == (2, 24 + 1280)
    np.testing.assert_array_equal(both[0, :24], found.vectors[1][3])
    np.testing.assert_array_equal(both[1, 24:], found.vectors[7][0])
    mask = np.array([True, False, False, True])
    np.testing.assert_array_equal(found.matrix([7], mask), found.matrix([7])[mask])


def test_a_second_pass_decodes_nothing_and_gives_the_same_bits(
    lite0: Backbone, files: list[Path], tmp_path: Path, decoded: list[int]
) -> None:
    options = EmbedOptions(cache=tmp_path)
    cold = embed(files, lite0, options)
    assert len(decoded) == len(files)
    warm = embed(files[::-1], lite0, options)
    assert len(decoded) == len(files)
    assert (warm.facts.computed, warm.facts.cached, warm.facts.engine) == (0, len(files), None)
    same(cold, embed(files, lite0, options))
    np.testing.assert_array_equal(warm.vectors[7], cold.vectors[7][::-1])
    same(cold, embed(files, lite0))  # and so does a pass without any cache


def test_new_pictures_alone_are_computed(
    lite0: Backbone, files: list[Path], tmp_path: Path, decoded: list[int]
) -> None:
    options = EmbedOptions(cache=tmp_path)
    embed(files[10:], lite0, options)
    decoded.clear()
    mixed = embed(files, lite0, options)
    assert len(decoded) == 10 and (mixed.facts.computed, mixed.facts.cached) == (10, len(files) - 10)
    same(mixed, embed(files, lite0))


def test_content_is_the_key_not_the_name_or_the_time(lite0: Backbone, files: list[Path], tmp_path: Path) -> None:
    options = EmbedOptions(cache=tmp_path / "cache")
    moved = tmp_path / "other name.jpg"
    moved.write_bytes(files[1].read_bytes())
    embed(files[:2], lite0, options)
    assert embed([moved], lite0, options).facts.cached == 1
    stamp = moved.stat()
    with Image.open(files[4]) as other:
        other.save(moved)
    import os

    os.utime(moved, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert embed([moved], lite0, options).facts.computed == 1


def test_another_preprocessing_is_another_space(lite0: Backbone, files: list[Path], tmp_path: Path) -> None:
    options = EmbedOptions(cache=tmp_path)
    whole = embed(files[:3], lite0, options)
    cropping = dataclasses.replace(lite0, preprocessing=dataclasses.replace(lite0.preprocessing, fit="crop"))
    cropped = embed(files[:3], cropping, options)
    assert cropped.facts.cached == 0 and not np.array_equal(whole.vectors[7], cropped.vectors[7])


def test_paths_bytes_and_arrays(lite0: Backbone, files: list[Path], tmp_path: Path) -> None:
    png = next(f for f in files if f.suffix == ".png")
    with Image.open(png) as image:
        array = np.asarray(image.convert("RGB"))
    options = EmbedOptions(cache=tmp_path)
    found = embed([png, png.read_bytes(), array, array[:, ::-1]], lite0, options)
    np.testing.assert_array_equal(found.vectors[7][0], found.vectors[7][1])
    np.testing.assert_array_equal(found.vectors[7][0], found.vectors[7][2])
    assert not np.array_equal(found.vectors[7][0], found.vectors[7][3])
    assert embed([array[:, ::-1], array], lite0, options).facts.cached == 2


def test_bad_pictures_are_listed_and_their_rows_are_zero(lite0: Backbone, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    mixed = [files[0], tmp_path / "empty.jpg", files[1], tmp_path / "page.jpg", tmp_path / "gone.png"]
    for _ in range(2):  # cold, then warm
        found = embed(mixed, lite0, EmbedOptions(cache=tmp_path / "cache"))
        assert [e is None for e in found.errors] == [True, False, True, False, False]
        assert "empty" in (found.errors[1] or "") and "HTML" in (found.errors[3] or "")
        assert not found.vectors[7][[1, 3, 4]].any() and found.vectors[7][[0, 2]].any()
        assert found.facts.computed + found.facts.cached == 2


def test_no_pictures(lite0: Backbone) -> None:
    found = embed([], lite0)
    assert len(found) == 0 and found.matrix([0, 7]).shape == (0, 16 + 1280)


@pytest.fixture
def unsteady(lite0: Backbone, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the engine answer NaN for the darkest picture, the first `times` times."""
    engine = OpenVinoEngine(lite0.graph())

    def prepare(times: int) -> None:
        left = [times]

        def stream(batches: Iterator) -> Iterator:
            for tag, pixels in batches:
                outputs = engine.run(pixels)
                for i in range(len(pixels)):
                    if 0 < pixels[i].max() <= 3 and left[0] > 0:
                        left[0] -= 1
                        outputs["block3"][i, 5] = np.nan
                yield tag, outputs

        stand_in = type("Unsteady", (), {"batch": 4, "stream": staticmethod(stream)})()
        monkeypatch.setattr(work, "fastest_engine", lambda *_: (stand_in, None))

    return prepare


def test_not_finite_numbers_are_computed_once_more_then_listed(
    lite0: Backbone, files: list[Path], unsteady: Callable[[int], None], tmp_path: Path
) -> None:
    dark = np.full((40, 40, 3), 3, np.uint8)
    sources = [*files[:5], dark, *files[5:8]]
    options = EmbedOptions(cache=tmp_path)
    unsteady(1)
    once = embed(sources, lite0)
    assert once.errors == (None,) * 9 and once.vectors[3][5].any()
    unsteady(99)
    always = embed(sources, lite0, options)
    assert always.errors[5] is not None and "finite" in always.errors[5]
    assert always.errors.count(None) == 8 and not always.vectors[3][5].any()
    unsteady(0)  # nothing that is not finite was kept in the cache
    same(once, embed(sources, lite0, options))


def test_what_the_cache_lacks_is_known_without_decoding(
    lite0: Backbone, files: list[Path], tmp_path: Path, decoded: list[int]
) -> None:
    sources = [*files[:6], files[6].read_bytes(), np.zeros((40, 40, 3), np.uint8), tmp_path / "absent.jpg"]
    assert not_cached(sources, lite0, tmp_path) == list(range(8))
    embed([*sources[1:4], *sources[6:8]], lite0, EmbedOptions(cache=tmp_path))
    before = len(decoded)
    assert not_cached(sources, lite0, tmp_path) == [0, 4, 5]
    assert len(decoded) == before
    assert embed([], lite0, EmbedOptions(cache=tmp_path)).facts.engine is None
