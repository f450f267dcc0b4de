"""The resizing of other programs, against what is known about it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.exporting.gate import agreement, differing
from headstart.exporting.resizing import area, bilinear
from headstart.images.preprocess import Preprocessing


def smooth(width, height):
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 200 // height, columns * 200 // width, rows * 0 + 9], 2).astype(np.uint8))


@pytest.mark.parametrize("way", [bilinear, area])
@pytest.mark.parametrize("fit", ["whole", "crop", "pad"])
@pytest.mark.parametrize("size", [(64, 48), (20, 33), (16, 16)])
def test_a_slope_stays_a_slope(way, fit, size):
    """On a picture that changes evenly every sensible resize gives nearly the same."""
    rule = Preprocessing(16, fit, 0.875, "bilinear")
    from headstart.images.preprocess import to_square

    picture = smooth(*size)
    np.testing.assert_allclose(way(picture, rule).astype(int), to_square(picture, rule).astype(int), atol=14)
    assert way(picture, rule).shape == (16, 16, 3)


def test_area_is_the_mean_and_bilinear_is_not():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 200
    picture, rule = Image.fromarray(stripes), Preprocessing(16, "whole", 0.875)
    assert set(np.unique(area(picture, rule))) == {50}
    assert set(np.unique(bilinear(picture, rule))) == {0}, "it never looks at the first of four columns"


def test_area_with_broken_ratios_keeps_the_mean():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 51, 3), dtype=np.uint8)
    small = area(Image.fromarray(pixels), Preprocessing(8, "whole", 0.875))
    np.testing.assert_allclose(small.mean((0, 1)), pixels.mean((0, 1)), atol=0.5)


def test_what_counts_as_the_same_answer():
    expected = np.array([[0.5005, 0.4995], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    found = np.array([[0.4999, 0.5001], [0.9009, 0.0991], [0.8989, 0.1011], [np.nan, np.nan]])
    assert differing(expected, found).tolist() == [False, False, True, True]
    assert agreement(expected[:3], found[:3]).same == 2
