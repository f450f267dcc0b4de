"""From a source to a Picture: hashes, thumbnails, arrays, draft, threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from headstart.images.load import BadImageError, load_image, load_square
from headstart.images.open import open_image
from headstart.images.preprocess import Preprocessing

SMALL = Preprocessing(side=64)


def photo(width=160, height=120, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def test_path_bytes_and_array_give_the_same_picture(tmp_path):
    content = encode(photo(), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    pictures = [load_image(source, SMALL) for source in (tmp_path / "a.png", content, np.asarray(photo()))]
    for picture in pictures[1:]:
        assert np.array_equal(picture.pixels, pictures[0].pixels)
        assert picture.pixel_hash == pictures[0].pixel_hash
        assert np.array_equal(picture.thumbnail, pictures[0].thumbnail)


@pytest.mark.parametrize("source", [encode(photo(900, 700), "JPEG"), encode(photo(), "PNG"), np.asarray(photo())])
def test_for_predicting_the_square_is_the_same(source):
    whole, square = load_image(source, SMALL), load_square(source, SMALL)
    assert np.array_equal(whole.pixels, square.pixels)
    assert (whole.width, whole.height, whole.note) == (square.width, square.height, square.note)
    assert not square.pixel_hash and not square.thumbnail.size
    with pytest.raises(BadImageError):
        load_square(b"no picture", SMALL)


def test_pixel_hash_is_of_pixels_not_of_files():
    same = {load_image(encode(photo(), f), SMALL).pixel_hash for f in ("PNG", "BMP", "TIFF")}
    grey = photo().convert("L")
    same_grey = {load_image(encode(image, "PNG"), SMALL).pixel_hash for image in (grey, grey.convert("RGB"))}
    assert len(same) == 1 and len(same_grey) == 1 and same != same_grey
    changed = np.asarray(photo()).copy()
    changed[0, 0, 0] ^= 1
    assert load_image(changed, SMALL).pixel_hash not in same
    flat = np.zeros((10, 20, 3), np.uint8)
    assert load_image(flat, SMALL).pixel_hash != load_image(flat.reshape(20, 10, 3), SMALL).pixel_hash


def test_grey_short_cut_gives_the_numbers_of_the_rgb_way():
    grey = photo().convert("L")
    for fit in ("whole", "crop", "pad"):
        preprocessing = Preprocessing(side=64, fit=fit)
        short = load_image(encode(grey, "PNG"), preprocessing)
        long = load_image(encode(grey.convert("RGB"), "PNG"), preprocessing)
        assert np.array_equal(short.pixels, long.pixels)
        assert np.array_equal(short.thumbnail, long.thumbnail)


def test_large_jpeg_is_decoded_small_but_never_below_twice_the_side():
    opened = open_image(encode(photo(3000, 2000), "JPEG"), 224)
    assert (opened.width, opened.height) == (3000, 2000)
    assert 448 <= min(opened.image.size) < 1000


def test_draft_hardly_changes_the_square():
    content = encode(photo(2400, 1600), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        full = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(load_image(content, SMALL).pixels.astype(int) - full).mean() < 1.5


def test_many_threads_agree_with_one():
    sources = [encode(photo(200 + k, 150, seed=k), ("PNG", "JPEG", "WEBP")[k % 3]) for k in range(24)]
    alone = [load_image(source, SMALL) for source in sources]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda source: load_image(source, SMALL), sources * 3))
    for k, picture in enumerate(together):
        assert np.array_equal(picture.pixels, alone[k % 24].pixels)


@pytest.mark.parametrize(
    "array",
    [
        np.full((9, 7), 128, np.uint8),
        np.full((9, 7, 1), 128, np.uint8),
        np.full((9, 7, 3), 128, np.uint8),
        np.full((9, 7), 128 / 255, np.float64),
        np.full((9, 7, 3), 128 / 255, np.float32),
        np.full((9, 7), 128 * 257, np.uint16),
        np.dstack([np.full((9, 7, 3), 128, np.uint8), np.full((9, 7), 255, np.uint8)]),
        np.full((9, 7, 3), 128, np.uint8)[::-1, ::-1],
    ],
)
def test_arrays_of_many_kinds(array):
    picture = load_image(array, SMALL)
    assert (picture.width, picture.height) == (7, 9)
    assert (picture.pixels == 128).all()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 4), np.int64), "int64"),
        (np.full((4, 4), np.nan), "0..1"),
        (np.full((4, 4), 200.0), "divide by 255"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
    ],
)
def test_arrays_that_are_no_pictures(array, said):
    with pytest.raises(BadImageError, match=said):
        load_image(array, SMALL)
