"""The plan orders by quadrant and cost, vetoes nothing, and says why."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from headstart.howmuch.affordable import CANNOT, WILL, AmountCost, PlanFacts, duration, epochs_in_time, fewest_folds
from headstart.howmuch.arm import amount_order
from headstart.howmuch.plan import plan

SPEED = {"norms": 100, "last-1": 1400, "last-2": 400, "last-3": 250, "all": 80, "extra": 5000, "scratch": 80}
COSTS = {train: AmountCost(1 / speed, 0.3 / speed) for train, speed in SPEED.items()}
FACTS = PlanFacts(600, 10, 60, "medium", "middle", COSTS, left=1e6)


def first_of(**changes):
    return plan(replace(FACTS, **changes)).arms[0].arm


@pytest.mark.parametrize(
    ("size", "similarity", "first"),
    [
        ("tiny", "near", "norms"),
        ("small", "near", "last-1"),
        ("large", "near", "all"),
        ("tiny", "far", "last-3"),
        ("large", "far", "all"),
        ("medium", "middle", "last-3"),
        ("small", None, "last-2"),
    ],
)
def test_the_quadrant_says_where_to_start(size, similarity, first):
    assert first_of(size=size, similarity=similarity).train == first


def test_nothing_is_vetoed_but_extra_layers_on_few_pictures():
    for size in ("tiny", "small", "medium", "large"):
        for similarity in ("near", "middle", "far"):
            amounts = {p.arm.train for p in plan(replace(FACTS, size=size, similarity=similarity)).arms}
            assert amounts >= {"norms", "last-1", "last-2", "last-3", "all", "scratch"}
            assert ("extra" in amounts) == (size in ("medium", "large"))
    asked = plan(replace(FACTS, size="tiny", extra_layers=(64, 32)))
    assert {p.arm.extra_layers for p in asked.arms if p.arm.train == "extra"} == {(64, 32)}


def test_two_or_three_rates_each_the_small_ones_first_near_the_source():
    for similarity, ordered in (
        ("near", [3e-3, 1e-2, 2e-2]),
        ("far", [1e-2, 2e-2, 3e-3]),
        ("middle", [1e-2, 3e-3, 2e-2]),
    ):
        arms = plan(replace(FACTS, similarity=similarity)).arms
        assert [p.arm.learning_rate for p in arms if p.arm.train == "last-1" and not p.arm.fresh] == ordered
    keys = [p.arm.key for p in arms]
    assert len(set(keys)) == len(keys)


def test_only_extra_arms_have_extra_layers():
    arms = plan(replace(FACTS, size="large", extra_layers=(64,))).arms
    assert {p.arm.train for p in arms if p.arm.extra_layers} == {"extra"}


def test_far_data_gets_a_fresh_head():
    assert not any(p.arm.fresh for p in plan(replace(FACTS, similarity="near")).arms)
    assert [p.arm.train for p in plan(replace(FACTS, size="large", similarity="far")).arms if p.arm.fresh] == ["all"]
    short = plan(replace(FACTS, size="large", similarity="far", left=200))
    assert [p.arm.train for p in short.arms if p.arm.fresh] == ["last-3"]  # the first of which two folds fit


def test_scratch_comes_last_whatever_it_costs():
    assert plan(replace(FACTS, left=500)).arms[-1].arm.train == "scratch"


def test_a_pinned_amount_races_its_rates_only():
    pinned = plan(replace(FACTS, pinned="last-2"))
    assert {p.arm.train for p in pinned.arms} == {"last-2"} and len(pinned.arms) == 3
    assert pinned.arms[0].why == "asked for" and pinned.pinned == "last-2"
    assert plan(replace(FACTS, pinned="head")).arms == ()
    assert [p.arm.train for p in plan(replace(FACTS, pinned="scratch")).arms] == ["scratch"]
    assert plan(replace(FACTS, pinned="extra", size="tiny")).arms[0].arm.extra_layers


def test_dear_arms_come_later_and_unaffordable_ones_stay_with_their_price():
    rich = plan(replace(FACTS, size="large"))
    assert rich.arms[0].arm.train == "all"
    poor = plan(replace(FACTS, size="large", left=120))
    assert poor.arms[0].arm.train != "all"
    assert {p.arm.key for p in poor.arms} == {p.arm.key for p in rich.arms}
    statuses = {p.arm.train: p.status for p in poor.arms}
    assert statuses["last-1"] == WILL
    none = plan(replace(FACTS, left=1.0))
    assert {p.status for p in none.arms if p.arm.train != "extra"} == {CANNOT}
    assert "take" in none.arms[0].why


def test_costs_add_up():
    facts = replace(FACTS, costs={"last-1": AmountCost(0.01, 0.001, 2.0, 7.0)}, folds=5, epochs=8)
    planned = plan(facts).arms[0]
    assert planned.unit.seconds == pytest.approx(2 + 8 * 480 * 0.01 + 120 * 9 * 0.001)
    assert planned.refit.seconds == pytest.approx(2 + 8 * 600 * 0.01)
    assert planned.once.seconds == 7
    assert (planned.unit.steps, planned.refit.steps) == (8 * 15, 8 * 19)
    steps = plan(replace(facts, in_steps=True, left=150))
    assert steps.arms[0].status == CANNOT
    assert plan(replace(facts, in_steps=True, left=272)).arms[0].status == WILL


def test_it_can_be_read_by_people_and_programs():
    made = plan(replace(FACTS, left=60))
    document = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert len(document["arms"]) == len(made.arms) and document["arms"][0]["all_folds"]["seconds"] > 0
    lines = made.lines()
    assert len(lines) == 1 + len(made.arms)
    assert lines[0].startswith("60 pictures per class (medium)")
    assert any("not affordable" in line for line in lines)


def test_the_likeliest_rate_of_every_amount_comes_before_second_rates():
    arms = [p.arm.train for p in plan(FACTS).arms if p.arm.train != "scratch"]
    first_round = arms[: len(set(arms))]
    assert sorted(first_round, key=amount_order) == sorted(set(arms), key=amount_order)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (9.97, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3000, "50 min"),
     (7300, "2 h 1 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_epochs_are_as_many_as_let_the_stages_be_compared_in_time():
    found = [epochs_in_time(replace(FACTS, left=left), 3) for left in (1e6, 90, 70, 1)]
    assert found == sorted(found, reverse=True)
    assert found[0] == FACTS.epochs and found[-1] == 3 and len(set(found)) > 2
    for left in (70, 90):
        facts = replace(FACTS, left=left, epochs=epochs_in_time(replace(FACTS, left=left), 3))
        stages = {p.arm.train: p for p in plan(facts).arms if p.arm.train.startswith("last-")}
        assert {p.status for p in stages.values()} == {WILL}
        last = stages["last-3"]
        assert sum(p.unit.seconds for p in stages.values()) + last.unit.seconds + last.refit.seconds <= 0.75 * left


def test_fewer_epochs_only_where_what_is_raced_needs_them():
    assert epochs_in_time(replace(FACTS, left=100, pinned="last-1"), 3) == FACTS.epochs
    assert epochs_in_time(replace(FACTS, left=100, pinned="all"), 3) < FACTS.epochs
    for pinned in ("extra", "scratch", "head"):
        assert epochs_in_time(replace(FACTS, left=1, pinned=pinned), 3) == FACTS.epochs
    assert epochs_in_time(replace(FACTS, left=1, epochs=2), 3) == 2


def test_one_fold_of_many_pictures_is_enough():
    assert [fewest_folds(n, folds) for n, folds in ((600, 5), (2499, 5), (2500, 5), (900, 1))] == [2, 2, 1, 1]
    many = replace(FACTS, n=2500, left=1.0)
    one = plan(many).arms[0]
    need = next((p.unit + p.once + p.refit).seconds for p in plan(many).arms if p.arm.train == "last-1")
    assert one.status == CANNOT and need > 1
    assert {p.arm.train: p.status for p in plan(replace(many, left=need)).arms}["last-1"] == WILL


def test_what_gained_elsewhere_needs_thirty_pictures_only():
    assert [fewest_folds(n, 5, likely=True) for n in (10, 30, 50, 100, 149, 150, 3000)] == [5, 5, 3, 2, 2, 1, 1]
    few = replace(FACTS, n=50, size="tiny", similarity="far", promising=("last-2", "last-3"), gains_after=6, epochs=20)
    epochs = epochs_in_time(replace(few, left=8), 4)
    assert 6 <= epochs < epochs_in_time(replace(few, left=8, promising=("last-2",)), 4) < 20
    (first, *_) = plan(replace(few, left=8, epochs=epochs)).arms
    assert first.arm.train == "last-3" and (first.unit * 3 + first.refit).seconds <= 0.75 * 8
    assert first.first_epoch == 6, "what was trained for fewer epochs did not gain"


def test_what_gained_elsewhere_needs_one_fold_of_many():
    last = next(p for p in plan(FACTS).arms if p.arm.train == "last-3")
    left = (last.unit + last.refit).seconds * 1.01
    short = replace(FACTS, left=left, similarity="far")
    assert plan(short).arms[0].arm.train != "last-3", "two folds of it do not fit"
    told = plan(replace(short, left=left / 0.75, promising=("last-2", "last-3")))
    assert told.arms[0].arm.train == "last-3"


def test_epochs_go_by_the_dearest_promising_amount_that_fits():
    far = replace(FACTS, left=60, similarity="far")
    told = replace(far, promising=("last-2", "last-3"))
    assert epochs_in_time(told, 3) > epochs_in_time(far, 3), "no time is kept for comparing others"
    shorter = replace(told, left=16)
    first = plan(replace(shorter, epochs=epochs_in_time(shorter, 3))).arms[0]
    assert first.arm.train == "last-2", "where the last three stages are too dear, two get the time"
    assert epochs_in_time(replace(told, left=1), 3) == 3


def test_what_gains_only_after_some_epochs_gets_them_or_is_not_promising():
    far = replace(FACTS, left=26, similarity="far", promising=("last-2", "last-3"))
    plain = epochs_in_time(far, 3)
    assert plain < 6 < far.epochs
    needed = replace(far, gains_after=6)
    epochs = epochs_in_time(needed, 3)
    assert epochs == 6, "of the most stages that fit so long, rather than of more with fewer epochs"
    assert any(p.promising for p in plan(replace(needed, epochs=epochs)).arms)
    short = replace(needed, left=18)
    assert epochs_in_time(short, 3) == epochs_in_time(replace(short, promising=()), 3) < 6
    assert not any(p.promising for p in plan(replace(short, epochs=epochs_in_time(short, 3))).arms)


def test_what_a_fold_trains_needs_no_final_training_where_it_can_be_saved():
    """Where it does not fit its time goes into epochs; of what is not promising nothing is kept."""
    far = replace(FACTS, left=18, similarity="far", promising=("last-2", "last-3"), gains_after=3)
    kept = replace(far, keeps=True)
    assert epochs_in_time(kept, 3) > epochs_in_time(far, 3)
    arms = plan(replace(kept, epochs=epochs_in_time(kept, 3))).arms
    assert {p.arm.train for p in arms if p.keeps} == {"last-2", "last-3"}
    first = arms[0]
    assert first.arm.train == "last-3" and first.status == WILL
    assert first.unit.seconds < 18 < first.unit.seconds + first.refit.seconds, "it would not fit otherwise"
    least = replace(kept, left=0.9 * first.unit.seconds, epochs=epochs_in_time(kept, 3))
    short = next(p for p in plan(least).arms if p.arm.train == "last-3")
    assert short.status == CANNOT and short.why.startswith("one fold takes ")


@pytest.mark.parametrize("left", [20, 30, 40])
def test_a_final_training_comes_before_epochs(left):
    far = replace(FACTS, left=left, similarity="far", promising=("last-2", "last-3"), gains_after=3, keeps=True)
    epochs = epochs_in_time(far, 3)
    first = plan(replace(far, epochs=epochs)).arms[0]
    assert first.arm.train == "last-3" and first.keeps
    assert (first.unit + first.once + first.refit).seconds <= 0.75 * left
    longer = next(p for p in plan(replace(far, epochs=epochs + 1)).arms if p.arm == first.arm)
    assert epochs >= 3 and (longer.unit + longer.once + longer.refit).seconds > 0.75 * left


def test_what_only_a_fold_can_be_trained_of_comes_after_what_can_be_trained_on_everything():
    """On 600 solar cells a fold of everything took all of two minutes; the last three stages fit, and gain."""
    three = FACTS.costs["last-3"]
    dearer = AmountCost(2.2 * three.train_seconds, 2.2 * three.judge_seconds)
    far = replace(FACTS, left=40, size="large", similarity="far", gains_after=3, keeps=True)
    far = replace(far, promising=("last-2", "last-3", "all"), costs={**FACTS.costs, "all": dearer})
    far = replace(far, epochs=epochs_in_time(far, 3))
    arms = plan(far).arms
    everything = next(p for p in arms if p.arm.train == "all")
    assert everything.status == WILL and everything.unit.seconds <= 0.75 * far.left, "a fold of it fits well"
    assert everything.unit.seconds + everything.refit.seconds > far.left
    assert arms[0].arm.train == "last-3"
