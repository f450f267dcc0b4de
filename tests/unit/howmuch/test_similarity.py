"""The place, and the sentence, for everything that may be missing."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.backbone.packages import PACKAGES
from headstart.embedding.moments import NO_NORMS, Moments
from headstart.howmuch.places import BORROWED, PLACES
from headstart.howmuch.similarity import Similarity, measure, place_of, positions_of

LITE0 = "efficientnet_lite0"


def moved(early: float, middle: float, late: float, pictures: int = 96) -> Moments:
    values = np.repeat([early, middle, late], 4)
    return Moments(tuple(f"layer{i}" for i in range(12)), values, pictures)


def test_every_embedded_backbone_has_a_table_that_rises() -> None:
    assert set(PLACES) == set(PACKAGES)
    for table in (*PLACES.values(), BORROWED):
        assert 0 < table.shift[0] < table.shift[1]
        assert table.confidence is None or 1 > table.confidence[0] > table.confidence[1] > 0
        assert table.origin


@pytest.mark.parametrize("backbone", PACKAGES)
@pytest.mark.parametrize(
    ("shift", "confidence", "place"),
    [(0.02, 0.5, "near"), (0.14, 0.3, "middle"), (0.37, 0.1, "far"), (0.0, 1.0, "near"), (9.0, 0.0, "far")],
)
def test_the_place_follows_both_measures(backbone: str, shift: float, confidence: float, place: str) -> None:
    found = measure(moved(shift, shift, shift), confidence, 0.02, backbone)
    assert found.place == place
    assert (found.source_confidence, found.depth_gain) == (confidence, 0.02)
    assert found.bn_shift == pytest.approx(shift) and found.why.endswith(".")


def test_measures_that_contradict_each_other_meet_in_the_middle() -> None:
    assert measure(moved(0.01, 0.01, 0.01), 0.03, None, LITE0).place == "middle"
    assert measure(moved(0.9, 0.9, 0.9), 0.9, None, LITE0).place == "middle"


def test_thirds_are_those_of_the_layers() -> None:
    found = measure(moved(0.3, 0.2, 0.1), None, None, LITE0)
    assert found.bn_shift_early == pytest.approx(0.3) and found.bn_shift_late == pytest.approx(0.1)
    assert found.bn_shift == pytest.approx(0.2)
    one = measure(Moments(("only",), np.array([0.4]), 96), None, None, LITE0)
    assert one.bn_shift == one.bn_shift_early == one.bn_shift_late == pytest.approx(0.4)


def test_only_early_layers_moved_means_the_input() -> None:
    assert "early layers moved" in measure(moved(0.4, 0.1, 0.03), 0.5, None, LITE0).why
    assert "early layers moved" not in measure(moved(0.4, 0.4, 0.4), 0.1, None, LITE0).why
    assert "early layers moved" not in measure(moved(0.02, 0.1, 0.4), 0.1, None, LITE0).why
    assert "early layers moved" not in measure(moved(0.02, 0.01, 0.001), 0.5, None, LITE0).why


def test_either_measure_alone_gives_a_place() -> None:
    no_head = measure(moved(0.37, 0.37, 0.37), None, None, LITE0)
    assert no_head.place == "far" and no_head.source_confidence is None and "sure" not in no_head.why
    no_norms = measure(Moments((), np.empty(0), 0, NO_NORMS), 0.5, None, LITE0)
    assert no_norms.place == "near" and no_norms.bn_shift is None and NO_NORMS in no_norms.why


def unmeasured(found: Similarity) -> bool:
    return found.place == "middle" and found.bn_shift is None and "could not be measured" in found.why


def test_nothing_measured_is_middle_and_says_why() -> None:
    assert unmeasured(measure(None, None, None, LITE0))
    vit = measure(Moments((), np.empty(0), 0, NO_NORMS), None, 0.01, "vit_small")
    assert unmeasured(vit) and NO_NORMS in vit.why and vit.depth_gain == 0.01
    # its head says something, but nobody knows what is much for it
    foreign = measure(None, 0.9, None, "vit_small")
    assert unmeasured(foreign) and foreign.source_confidence == 0.9


def test_a_confidence_without_thresholds_does_not_count() -> None:
    assert PLACES["efficientnet_lite2"].confidence is None
    found = measure(moved(0.25, 0.25, 0.25), 0.9, None, "efficientnet_lite2")
    assert found.place == "far" and found.source_confidence == 0.9 and "sure" not in found.why


def test_a_network_from_a_file_borrows_thresholds_and_says_so() -> None:
    found = measure(moved(0.4, 0.4, 0.4), 0.9, None, "mine@weights.safetensors")
    assert found.place == "far" and "borrowed" in found.why and "sure" not in found.why
    assert "borrowed" not in measure(moved(0.4, 0.4, 0.4), 0.9, None, LITE0).why


def test_few_pictures_are_called_rough() -> None:
    assert "(roughly: from 1 picture)" in measure(moved(0.1, 0.1, 0.1, 1), None, None, LITE0).why
    assert "(roughly: from 5 pictures)" in measure(moved(0.1, 0.1, 0.1, 5), None, None, LITE0).why
    assert "roughly" not in measure(moved(0.1, 0.1, 0.1, 24), None, None, LITE0).why


def test_what_is_not_finite_counts_as_not_measured() -> None:
    broken = Moments(("a", "b", "c"), np.array([0.1, np.nan, 0.1]), 96)
    assert unmeasured(measure(broken, float("nan"), float("inf"), LITE0))
    assert measure(broken, float("nan"), float("inf"), LITE0).depth_gain is None
    assert place_of(0.0, 0.0, PLACES[LITE0]) == "middle"


def test_the_position_is_what_the_place_was_read_from() -> None:
    table = PLACES[LITE0]
    found = measure(moved(*[table.shift[0]] * 3), table.confidence[1], None, LITE0)
    assert found.position_shift == pytest.approx(0.5) and found.position_confidence == pytest.approx(1.5)
    assert found.position == pytest.approx(1.0) and found.place == "middle"
    assert positions_of(0.0, 0.0, table).shift == 0.0 and positions_of(9.0, 0.0, table).mean == 2.0


def test_a_measure_that_is_missing_or_does_not_count_has_no_position() -> None:
    nothing = measure(None, None, None, LITE0)
    assert (nothing.position, nothing.position_shift, nothing.position_confidence) == (None, None, None)
    head_only = measure(None, 0.01, None, LITE0)
    assert head_only.position == head_only.position_confidence == 2.0 and head_only.position_shift is None
    no_table = measure(moved(0.3, 0.3, 0.3), 0.9, None, "efficientnet_lite2")
    assert no_table.position_confidence is None and no_table.position == no_table.position_shift
