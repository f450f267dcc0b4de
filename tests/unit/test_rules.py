"""Policy: each rule gives what its reason says, at its borders."""

from __future__ import annotations

import pytest

from headstart import rules


@pytest.mark.parametrize(
    ("per_class", "place"),
    [(1, "tiny"), (5, "tiny"), (5.5, "small"), (20, "small"), (21, "medium"), (100, "medium"), (101, "large")],
)
def test_size(per_class: float, place: str) -> None:
    assert rules.size_place(per_class) == place


@pytest.mark.parametrize(("largest", "folds"), [(30, 5), (5, 5), (4, 4), (2, 2), (1, 2)])
def test_folds(largest: int, folds: int) -> None:
    assert rules.folds(largest).value == folds


def test_repeats_fall_with_size() -> None:
    assert [rules.repeats(n).value for n in (10, 300, 301, 1000, 1001, 10**6)] == [5, 5, 2, 2, 1, 1]


def test_lower_stages_move_less_the_nearer_the_pictures() -> None:
    assert [rules.layer_decay(place).value for place in ("near", "middle", "far")] == [0.4, 0.6, 0.8]


def test_only_deep_training_far_from_the_source_is_known_to_gain() -> None:
    gains = {
        a: rules.gain_elsewhere(a, "far", 200, 6).value for a in ("extra", "norms", "last-1", "last-2", "last-3", "all")
    }
    assert {a for a, gain in gains.items() if gain is not None} == {"last-2", "last-3", "all"}
    assert all(mean > 0 < deviation for mean, deviation in filter(None, gains.values()))
    assert (
        rules.gain_elsewhere("last-3", "near", 200, 6).value
        is rules.gain_elsewhere("last-3", "middle", 200, 6).value
        is None
    )
    assert rules.gain_elsewhere("last-3", "far", 10, 20).value is None, "ten pictures lost by it"
    assert rules.gain_elsewhere("last-3", "far", 200, 5).value is None, "with fewer epochs it was not ahead"
    assert [rules.epochs_to_gain(n).value for n in (50, 200, 400, 600, 2600)] == [6, 6, 4, 3, 2]


def test_at_most_256_pictures_prove_a_classifier() -> None:
    assert [rules.verified_pictures(n).value for n in (1, 255, 256, 257, 10**6)] == [1, 255, 256, 256, 256]


@pytest.mark.parametrize(
    ("bad", "n", "stop"), [(3, 4, False), (4, 79, True), (4, 80, False), (5, 100, False), (6, 100, True)]
)
def test_bad_pictures(bad: int, n: int, stop: bool) -> None:
    assert rules.too_many_bad(bad, n) is stop


def test_what_the_user_asked_for_is_kept() -> None:
    assert rules.backbone("efficientnet_lite2") == rules.Rule("backbone", "efficientnet_lite2", "asked for", "user")
    assert rules.backbone("auto").by == "rule"
    assert rules.train("head").by == "user"
    assert rules.train("auto").by == "rule"


@pytest.mark.parametrize(("n", "epochs"), [(1, 20), (32, 20), (300, 16), (600, 8), (800, 6), (100_000, 6)])
def test_epochs_are_some_300_steps_within_bounds(n: int, epochs: int) -> None:
    assert rules.epochs(n).value == epochs
    assert 2 <= rules.least_epochs(n).value <= epochs


def test_the_fewest_epochs_show_some_1500_pictures() -> None:
    assert [rules.least_epochs(n).value for n in (10, 200, 600, 1000, 100_000)] == [4, 4, 3, 2, 2]


@pytest.mark.parametrize(("n", "batch"), [(2, 4), (24, 6), (60, 15), (192, 16), (1999, 16), (2000, 32), (10_000, 32)])
def test_batches_leave_some_steps_per_epoch(n: int, batch: int) -> None:
    assert rules.batch(n).value == batch


def test_amounts_that_are_raced() -> None:
    assert rules.amounts("auto", 7, 300).value == ("extra", "norms", "last-1", "last-2", "last-3", "all")
    assert rules.amounts("auto", 3, 300).value == ("extra", "norms", "last-1", "last-2", "all"), "last-3 of 3 is all"
    assert rules.amounts("auto", 7, 1799).value[-1] == "all" and rules.amounts("auto", 7, 1800).value[-1] == "scratch"
    asked = rules.amounts("last-5", 7, 300)
    assert (asked.value, asked.by) == (("last-5",), "user")


@pytest.mark.parametrize(("n", "top1", "raced"), [(999, 0.5, False), (1000, 0.94, True), (1000, 0.95, False)])
def test_extra_layers_are_raced_where_they_ever_paid(n: int, top1: float, raced: bool) -> None:
    assert bool(rules.extra_layers(n, top1, ()).value) is raced


def test_extra_layers_that_are_asked_for_are_trained() -> None:
    asked = rules.extra_layers(10, 0.99, (8, 4))
    assert (asked.value, asked.by) == ((8, 4), "user")
    assert rules.extra_layers(10, 0.99, (), "extra").value, "--train extra without widths"


def test_vectors_must_leave_room() -> None:
    assert rules.vectors_fit(1000, 5000, 10**9).value and not rules.vectors_fit(10**7, 5000, 24 * 10**9).value
    most = max(n for n in range(0, 200_000, 1000) if rules.vectors_fit(n, 5000, 2 * 10**9).value)
    assert 3 * most * 5000 <= 10**9 < 3 * (most + 1000) * 5000, "three times the vectors in half of the memory"
    assert "150.0 GB" in rules.vectors_fit(10**7, 5000, 1).why
