"""Views: the first is the picture; the others are drawn from seed and picture alone and keep most of it."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.finetune.views import UNTOUCHED, View, apply_view, crop_box, draw_views, flipped

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_view_0_is_the_picture_itself() -> None:
    views = draw_views(4, ("horizontal",), seed=3)
    assert views[0] == UNTOUCHED
    np.testing.assert_array_equal(apply_view(PIXELS, views[0], b"a"), PIXELS)


def test_flips_go_where_they_say() -> None:
    corner = np.zeros((4, 4, 3), np.uint8)
    corner[0, 0] = 255
    where = {flip: tuple(np.argwhere(flipped(corner, flip)[..., 0])[0]) for flip in ("none", "horizontal", "both")}
    assert where == {"none": (0, 0), "horizontal": (0, 3), "both": (3, 3)}
    assert tuple(np.argwhere(apply_view(corner, View("vertical"), b"")[..., 0])[0]) == (3, 0)


def test_more_views_never_change_the_earlier_ones() -> None:
    assert draw_views(8, ("horizontal",), seed=1)[:3] == draw_views(3, ("horizontal",), seed=1)
    assert len(set(draw_views(8, ("horizontal",), seed=1))) == 8
    assert set(draw_views(3, (), seed=1)).isdisjoint(draw_views(3, (), seed=2)[1:])


def test_only_allowed_flips_are_drawn_and_all_of_them() -> None:
    assert {view.flip for view in draw_views(6, (), seed=0)} == {"none"}
    assert {view.flip for view in draw_views(6, ("horizontal", "both"), seed=0)} == {"none", "horizontal", "both"}


def test_without_strength_there_are_flips_only() -> None:
    assert draw_views(4, ("vertical",), strength="none") == (UNTOUCHED, View("vertical"))


def test_crops_depend_on_seed_view_and_picture_alone() -> None:
    first, second = draw_views(3, (), seed=0)[1:]
    same = crop_box(first, 224, b"picture")
    assert crop_box(draw_views(9, (), seed=0)[1], 224, b"picture") == same
    others = [crop_box(first, 224, b"other"), crop_box(second, 224, b"picture")]
    others.append(crop_box(draw_views(2, (), seed=1)[1], 224, b"picture"))
    assert same not in others and len(set(others)) == 3
    assert not np.array_equal(apply_view(PIXELS, first, b"picture"), apply_view(PIXELS, first, b"other"))


def test_crops_keep_most_of_the_picture() -> None:
    boxes = np.array([crop_box(view, 1, bytes([i])) for i in range(100) for view in draw_views(9, (), seed=i)[1:]])
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert (boxes > -1e-9).all() and (boxes < 1 + 1e-9).all()
    assert (width * height).min() >= 0.6 - 1e-9 and (width * height).max() > 0.95
    assert (width / height).min() >= 3 / 4 - 1e-9 and (width / height).max() <= 4 / 3 + 1e-9
    assert boxes[:, 0].max() > 0.15 and (width < height).mean() == pytest.approx(0.5, abs=0.07)


def test_a_crop_shows_what_is_in_its_box() -> None:
    ramp = np.repeat(np.arange(224, dtype=np.uint8)[None, :, None], 224, axis=0).repeat(3, axis=2)
    view = draw_views(2, (), seed=0)[1]
    left, _, right, _ = crop_box(view, 224, b"p")
    seen = apply_view(ramp, view, b"p")
    assert seen.shape == ramp.shape and seen.dtype == np.uint8
    assert abs(float(seen.min()) - left) < 2 and abs(float(seen.max()) - right) < 2


@pytest.mark.parametrize("wrong", [{"flip": "diagonal"}, {"share": 0.0}])
def test_impossible_views_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        View(**wrong)
