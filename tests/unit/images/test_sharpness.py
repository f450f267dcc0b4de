"""Blur rises with blur and not with contrast; the frame keeps its pixels and nothing of the middle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.images.frame import frame_alone, frame_area
from headstart.images.sharpness import blur


@pytest.fixture(scope="module")
def photo(samples_folder) -> Image.Image:
    with Image.open(samples_folder / "chelsea.png") as file:
        return file.convert("RGB").resize((224, 224))


def test_a_blurred_picture_is_more_blurred(photo: Image.Image) -> None:
    found = [blur(np.asarray(photo.filter(ImageFilter.GaussianBlur(r)))) for r in (0, 1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[0] < 0.4 < 0.6 < found[3] <= 1.0


def test_contrast_and_light_hardly_matter(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    faint = (pixels // 4 + 20).astype(np.uint8)
    assert blur(faint) == pytest.approx(blur(pixels), abs=0.05)


def test_what_shows_nothing_has_no_blur() -> None:
    assert math.isnan(blur(np.full((224, 224, 3), 90, np.uint8)))
    assert math.isnan(blur(np.zeros((4, 4, 3), np.uint8)))


def test_one_direction_is_enough() -> None:
    stripes = np.tile(((np.arange(224) // 14 % 2) * 200).astype(np.uint8)[None, :, None], (224, 1, 3))
    soft = np.asarray(Image.fromarray(stripes).filter(ImageFilter.GaussianBlur(4)))
    assert blur(stripes) < 0.3 < blur(soft)
    assert blur(soft.transpose(1, 0, 2)) == pytest.approx(blur(soft))


def test_the_frame_keeps_its_pixels_and_nothing_of_the_middle(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    framed = frame_alone(pixels)
    assert (framed[:28] == pixels[:28]).all() and (framed[:, -28:] == pixels[:, -28:]).all()
    other = pixels.copy()
    other[28:-28, 28:-28] = 255 - other[28:-28, 28:-28]
    assert (frame_alone(other) == framed).all()
    assert frame_area() == pytest.approx(1 - (168 / 224) ** 2)
