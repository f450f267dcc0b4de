"""The square: what each fit shows, and its form in a classifier file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.errors import ClassifierError
from headstart.images.preprocess import Preprocessing, to_square


def bordered(width, height, border):
    """White with a black border of `border` pixels left and right."""
    a = np.full((height, width, 3), 255, np.uint8)
    a[:, :border] = a[:, -border:] = 0
    return Image.fromarray(a)


def test_whole_shows_the_border_crop_hides_it_pad_adds_grey():
    image = bordered(200, 100, 20)
    whole = to_square(image, Preprocessing(side=50))
    crop = to_square(image, Preprocessing(side=50, fit="crop"))
    pad = to_square(image, Preprocessing(side=50, fit="pad"))
    assert (whole[25, [0, -1]] == 0).all() and (whole[:, 25] == 255).all()
    assert (crop == 255).all()
    assert (pad[[0, -1]] == 127).all() and (pad[25, [0, -1]] == 0).all() and (pad[25, 25] == 255).all()


def test_the_right_size_is_left_alone():
    a = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert np.array_equal(to_square(Image.fromarray(a), Preprocessing(side=32)), a)


def test_resizing_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (640, 320))
    square = to_square(Image.fromarray(stripes).convert("RGB"), Preprocessing(side=32))
    assert np.abs(square.astype(int) - 127).max() <= 3


def test_json_goes_there_and_back_and_into_the_key():
    some = Preprocessing(side=240, fit="crop", crop_share=0.9)
    assert Preprocessing.from_json(some.to_json()) == some
    assert len({some.key, Preprocessing(side=240).key, Preprocessing().key}) == 3
    assert "pillow" in some.key


@pytest.mark.parametrize(
    "values",
    [
        {"side": 224, "fit": "whole", "crop_share": 0.875, "extra": 1},
        {"side": 224, "fit": "whole"},
        {"side": "224", "fit": "whole", "crop_share": 0.875},
        {"side": 10**9, "fit": "whole", "crop_share": 0.875},
        {"side": 224, "fit": "stretch", "crop_share": 0.875},
        {"side": 224, "fit": ["whole"], "crop_share": 0.875},
        {"side": 224, "fit": "whole", "crop_share": float("nan")},
        [],
    ],
)
def test_edited_json_is_refused(values):
    with pytest.raises(ClassifierError, match="preprocessing"):
        Preprocessing.from_json(values)
