"""Thumbnails: small, upright, without metadata; and the square beside them is the one that is predicted from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.images.load import BadImageError, load_image
from headstart.images.preprocess import Preprocessing
from headstart.images.thumbnail import Size, load_with_thumbnail, make_thumbnail, seen_part


def opened(thumb):
    image = Image.open(io.BytesIO(thumb.jpeg))
    assert image.format == "JPEG" and image.size == (thumb.width, thumb.height)
    return image


def saved(tmp_path, image, name="a.png", **how):
    image.save(tmp_path / name, **how)
    return tmp_path / name


@pytest.mark.parametrize(
    ("size", "shown"),
    [((400, 300), (128, 96)), ((300, 400), (96, 128)), ((40, 30), (40, 30)), ((6000, 3), (128, 1)), ((1, 1), (1, 1))],
)
def test_longer_side_at_most_128_and_nothing_is_enlarged(tmp_path, size, shown):
    thumb = make_thumbnail(saved(tmp_path, Image.new("RGB", size, (200, 30, 30))))
    assert (thumb.width, thumb.height) == shown == opened(thumb).size


def test_it_is_upright(tmp_path):
    image = Image.new("RGB", (200, 100), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 100, 100))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # has to be turned a quarter to the right: white is on top then
    thumb = make_thumbnail(saved(tmp_path, image, "a.jpg", exif=exif))
    pixels = np.asarray(opened(thumb).convert("L"))
    assert (thumb.width, thumb.height) == (64, 128) and pixels[:50].mean() > 200 > 50 > pixels[-50:].mean()


def test_transparency_is_white_and_no_metadata_is_left(tmp_path):
    thumb = make_thumbnail(saved(tmp_path, Image.new("RGBA", (50, 50), (255, 0, 0, 0))))
    assert np.asarray(opened(thumb)).min() > 250
    secret = saved(tmp_path, Image.new("RGB", (50, 50)), "a.jpg", comment=b"at home", exif=b"Exif\0\0where")
    thumb = make_thumbnail(secret)
    assert b"at home" not in thumb.jpeg and b"where" not in thumb.jpeg and not opened(thumb).getexif()


def test_it_keeps_to_the_bytes_it_may_take():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    free, bounded = make_thumbnail(noise, Size(128, 10**6)), make_thumbnail(noise, Size(128, 3000))
    assert len(free.jpeg) > 5000 and free.width == 128
    assert len(bounded.jpeg) <= 3000
    plain = np.full((300, 300), 9, np.uint8)
    assert make_thumbnail(plain, Size(128, 3000)).width == 128


@pytest.mark.parametrize("fit", ["whole", "crop", "pad"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_the_square_is_the_same_as_ever(tmp_path, samples_folder, fit, mode):
    rule = Preprocessing(96, fit)
    with Image.open(samples_folder / "chelsea.png") as file:
        path = saved(tmp_path, file.convert(mode))
    picture, thumb = load_with_thumbnail(path, rule)
    np.testing.assert_array_equal(picture.pixels, load_image(path, rule).pixels)
    assert max(thumb.width, thumb.height) == 128
    photo = samples_folder / "rocket.jpg"
    np.testing.assert_array_equal(load_with_thumbnail(photo, rule)[0].pixels, load_image(photo, rule).pixels)


def test_what_cannot_be_opened_is_refused_with_a_reason(tmp_path):
    for make in (make_thumbnail, lambda p: load_with_thumbnail(p, Preprocessing())):
        with pytest.raises(BadImageError, match="not found"):
            make(tmp_path / "gone.jpg")


def test_which_part_of_a_picture_the_square_shows():
    assert seen_part((400, 200), Preprocessing(224, "whole")) == (0, 0, 1, 1)
    assert seen_part((400, 200), Preprocessing(224, "crop", 0.5)) == pytest.approx((0.375, 0.25, 0.625, 0.75))
    assert seen_part((400, 200), Preprocessing(224, "pad")) == pytest.approx((0, -0.5, 1, 1.5))
    assert seen_part((300, 300), Preprocessing(224, "pad")) == (0, 0, 1, 1)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_part_is_where_the_square_says_it_is(fit):
    """A bright spot in the picture is found in the square at the place that the part tells."""
    pixels = np.zeros((300, 600, 3), np.uint8)
    pixels[140:150, 340:350] = 255
    rule = Preprocessing(224, fit)
    left, top, right, bottom = seen_part((600, 300), rule)
    square = load_image(pixels, rule).pixels.sum(axis=2).astype(float)
    if fit == "pad":
        square[square == 3 * 127] = 0
    y, x = (np.average(np.arange(224) + 0.5, weights=square.sum(axis=axis)) / 224 for axis in (1, 0))
    assert (left + x * (right - left)) * 600 == pytest.approx(345, abs=2)
    assert (top + y * (bottom - top)) * 300 == pytest.approx(145, abs=2)
