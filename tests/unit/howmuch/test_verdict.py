"""The decision: the truly better when it is clear, less training when it is not, and a sentence that says which."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from headstart.howmuch import better as better_module
from headstart.howmuch.arm import Arm, FoldResult
from headstart.howmuch.better import Better
from headstart.howmuch.experience import informed
from headstart.howmuch.lane import RaceResult
from headstart.howmuch.race import race
from headstart.howmuch.race_options import RaceOptions
from headstart.howmuch.score import Version
from headstart.howmuch.verdict import candidates_json, clear, judge_race
from race_world import World

FOUR = ("norms", "last-1", "last-2", "all")


def decide(world, plan=None, pinned="auto", groups=None, runner=None, total=1e6):
    plan = plan or world.plan(FOUR, pinned)
    answer = world.answer(groups)
    found = race(plan, runner or world.run, answer, world.folds, world.clock(total))
    return judge_race(answer, found, pinned), found


@pytest.fixture
def fewer_draws(monkeypatch):
    monkeypatch.setattr(better_module, "DRAWS", 200)


def test_a_clear_gain_is_taken_with_its_epochs_and_an_honest_figure():
    world = World(n=400, frozen=0.85, gains={"last-2": 0.09})
    verdict, _ = decide(world)
    assert verdict.train == "last-2" and verdict.arm.train == "last-2"
    assert verdict.p_better >= 0.9
    assert verdict.low < 0.94 < verdict.high
    assert verdict.gain < verdict.uncorrected_top1 - world.frozen + 0.05
    assert verdict.version.epoch in (3, 4)
    assert verdict.judged.all()
    right = verdict.logits.argmax(axis=1) == world.labels
    assert right.mean() == pytest.approx(verdict.uncorrected_top1)
    assert verdict.why.startswith("Train the last 2 stages (learning rate ")
    assert "points more than only a new head" in verdict.why
    assert verdict.temperature > 1  # they are three times too confident


def test_equal_arms_mean_less_training(fewer_draws):
    """12 arms that are as good as the frozen head: more training in fewer than one race in ten."""
    trained = 0
    for seed in range(14):
        verdict, _ = decide(World(n=(60, 200)[seed % 2], seed=seed), total=(40, 1e6)[seed // 2 % 2])
        trained += verdict.train != "head"
    assert trained <= 3  # 14 races at 0.08 exceed it once in 50; without the correction (0.3) four times in five


def test_a_tie_goes_to_less_training():
    world = World(n=500, frozen=0.8, gains=dict.fromkeys(FOUR, 0.1))
    verdict, found = decide(world)
    assert verdict.train == "norms"
    assert max(r.units for r in found.runs if r.arm.train == "all") == 5


def test_more_training_must_beat_less_training_too():
    world = World(n=800, frozen=0.75, gains={"norms": 0.08, "last-1": 0.08, "last-2": 0.08, "all": 0.18})
    assert decide(world)[0].train == "all"


def test_the_sentence_when_a_new_head_is_enough():
    world = World(n=300, gains=dict.fromkeys(FOUR, 0.0))
    verdict, _ = decide(world)
    assert verdict.train == "head" and verdict.arm is None
    assert verdict.why.startswith("Train only a new head, on depths 5-7: ")
    assert "not better" in verdict.why
    np.testing.assert_array_equal(verdict.logits, world.answer().logits)
    slower = World(n=300, gains=dict.fromkeys(FOUR, 0.0), seconds=dict.fromkeys(FOUR, 24.0))
    assert "4x the time" in decide(slower)[0].why


def test_what_was_ahead_when_the_time_ended_asks_for_more_time(fewer_draws):
    advice = "A longer budget judges it on more."
    world = World(n=100, frozen=0.8, gains={"last-1": 0.04}, seconds=dict.fromkeys(FOUR, 20.0))
    short, found = decide(world, world.plan(("last-1",)), total=100)
    assert found.ended.startswith("what is left") and short.train == "head"
    assert "not better beyond noise" in short.why and short.why.endswith(advice)
    world = world.again()
    assert decide(world, world.plan(("last-1",)))[0].train == "last-1", "and more time tells"
    world = World(n=100, frozen=0.8, gains={"last-1": -0.1}, seconds=dict.fromkeys(FOUR, 20.0))
    behind, found = decide(world, world.plan(("last-1",)), total=100)
    assert behind.train == "head" and advice not in behind.why
    judged = World(n=300, gains=dict.fromkeys(FOUR, 0.0))
    assert advice not in decide(judged)[0].why


def test_figures_of_answer_a_are_its_own():
    world = World(n=200)
    answer = replace(world.answer(), figures=(0.931, 0.908, 0.95))
    found = race(world.plan(("norms",)), world.run, answer, world.folds, world.clock(1))
    verdict = judge_race(answer, found)
    assert "Train only a new head, on depths 5-7: 93.1 % (90.8-95.0). " in verdict.why
    assert (verdict.top1, verdict.low, verdict.high) == (0.931, 0.908, 0.95)


def test_a_budget_too_small_says_what_it_would_take():
    world = World(seconds=dict.fromkeys(FOUR, 40.0))
    verdict, found = decide(world, total=20)
    assert verdict.train == "head" and verdict.p_better is None
    assert "The budget is too small for more: the norms and biases" in verdict.why
    assert "takes 1 min 30 s for one fold and the end" in verdict.why
    rows = candidates_json(found, world.answer())
    assert {r["status"] for r in rows} == {"not tried"}
    assert all(r["top1"] is None and r["predicted_seconds"] == 40 for r in rows)


def test_shuffled_labels_end_in_no_better_than_guessing(fewer_draws):
    said = 0
    for seed in range(8):
        world = World(n=120, frozen=0.5, seed=seed)
        world.labels = np.random.default_rng(seed).permutation(world.labels)
        world.difficulty[:] = 0
        verdict, _ = decide(world, world.plan(("last-1", "all")))
        said += verdict.guessing
        assert verdict.train == "head"
        assert verdict.why.startswith("No better than guessing") == verdict.guessing
    assert said >= 7


def test_more_training_may_save_what_the_frozen_head_can_only_guess():
    world = World(n=300, frozen=0.5, gains={"all": 0.4})
    verdict, _ = decide(world)
    assert verdict.train == "all" and not verdict.guessing


def test_what_was_asked_for_wins_if_it_ran():
    world = World(n=200, gains={"last-1": -0.1}, seconds={"last-1": 3.0})
    verdict, found = decide(world, world.plan(("last-1",), "last-1"), "last-1")
    assert verdict.train == "last-1" and verdict.p_better < 0.5
    assert "less than only a new head" in verdict.why
    assert abs(verdict.top1 - verdict.uncorrected_top1) < 0.03  # its own accuracy, not that of the better frozen head
    assert len({r.arm.learning_rate for r in found.runs if r.units}) == 3
    small = world.again()
    verdict, _ = decide(small, small.plan(("last-1",), "last-1"), "last-1", total=5)
    assert verdict.train == "head" and "what was asked for" in verdict.why


def test_an_arm_whose_final_training_does_not_fit_is_not_chosen():
    world = World(n=400, frozen=0.8, gains={"last-1": 0.12})
    _, found = decide(world)
    late = RaceResult(tuple(replace(r, refit_fits=False) for r in found.runs), *[getattr(found, k) for k in (
        "ended", "interrupted", "seconds", "prediction_error")])  # fmt: skip
    verdict = judge_race(world.answer(), late)
    assert verdict.train == "head" and "does not fit" in verdict.why


def test_groups_widen_what_counts_as_noise():
    """Ten copies of every picture are no ten pictures."""
    small = World(n=40, frozen=0.75, gains={"last-1": 0.12}, seed=5)
    plain = race(small.plan_of([Arm("last-1", 1e-3)]), small.run, small.answer(), small.folds, small.clock(1e6))
    alone = judge_race(small.answer(), plain)
    many = World(n=400, folds_count=5)
    many.labels, many.folds = np.tile(small.labels, 10), np.tile(small.folds, (1, 10))
    groups = np.tile(np.arange(40), 10)

    def runner(arm, repeat, fold):
        unit = small.run(arm, repeat, fold)
        rows = np.concatenate([unit.rows + 40 * c for c in range(10)])
        return FoldResult(rows, np.tile(unit.logits, (1, 10, 1)), unit.seconds, 1, np.tile(unit.blend, (10, 1)))

    logits = np.tile(small.answer().logits, (10, 1))
    for given in (groups, None):
        answer = replace(many.answer(given), logits=logits, labels=many.labels)
        found = race(many.plan_of([Arm("last-1", 1e-3)]), runner, answer, many.folds, many.clock(1e6))
        verdict = judge_race(answer, found)
        if given is not None:
            assert verdict.p_better == pytest.approx(alone.p_better, abs=0.05)
        else:
            assert abs(verdict.p_better - 0.5) > abs(alone.p_better - 0.5) + 0.02


def test_log_loss_decides_where_accuracy_is_coarse_but_never_against_it():
    judged = []
    for seed in range(8):
        world = World(n=100, gains={"last-1": 0.04}, seed=seed)
        judged.append(decide(world, world.plan_of([Arm("last-1", 1e-3)]))[0])
    by = [v.judged_by for v in judged if v.train != "head"]
    assert "log-loss" in by and "accuracy" in by
    assert all(v.gain > 0 for v in judged if v.train != "head")
    assert any("surely better in log-loss" in v.why for v in judged)


def test_candidates_are_plain_values():
    world = World(n=60)
    _, found = decide(world, world.plan(("last-1", "all")), total=12)
    rows = candidates_json(found, world.answer(), ("block5",))
    json.dumps(rows, allow_nan=False)
    ran = [r for r in rows if r["top1"] is not None]
    assert ran and all(r["low"] <= r["top1"] <= r["high"] and len(r["curve"]) == 4 for r in ran)
    assert {r["status"] for r in rows} <= {"run", "stopped", "not tried"}
    assert all(r["why"] for r in rows)
    assert ran[0]["curve"][-1]["seconds"] == pytest.approx(1.0)


ELSEWHERE = {"last-2": (0.3, 0.2), "all": (0.3, 0.2)}


def experienced(world, plan, pinned="auto"):
    answer = replace(world.answer(), expected=ELSEWHERE)
    found = race(plan, world.run, answer, world.folds, world.clock(1e6))
    return judge_race(answer, found, pinned)


def test_what_gained_elsewhere_is_taken_on_less_evidence(fewer_draws):
    """Two points on a hundred pictures prove nothing; where such training gained on other pictures they are enough."""
    taken = {True: 0, False: 0}
    for seed in range(8):
        world = World(n=100, frozen=0.85, gains={"last-2": 0.04}, seed=seed)
        plan = world.plan(("last-2",))
        verdict = experienced(world, plan)
        alone, _ = decide(world.again(), plan)
        taken[True] += verdict.train != "head"
        taken[False] += alone.train != "head"
        assert verdict.p_better > verdict.p_here == alone.p_better or alone.judged_by == "log-loss"
        if verdict.train != "head" and verdict.judged_by == "accuracy":
            assert f"from these pictures alone {verdict.p_here:.2f}" in verdict.why
    assert taken[True] > taken[False]


def test_what_gained_elsewhere_counts_from_thirty_pictures_on(fewer_draws):
    for total, judged in ((50, 20), (70, 40)):
        world = World(n=100, frozen=0.85, gains={"last-2": 0.04}, seconds={"last-2": 20.0})
        answer = replace(world.answer(), expected=ELSEWHERE)
        found = race(world.plan(("last-2",)), world.run, answer, world.folds, world.clock(total))
        assert max(len(r.score.rows) for r in found.runs if r.score) == judged
        verdict = judge_race(answer, found)
        assert (verdict.p_better > verdict.p_here) == (judged >= 30)


def test_with_experience_four_of_five_is_enough():
    alone = Better(0.02, 0.02, 0.02, 0.0, 0.1, 0.84, 0.5, 0.9, 0.8, 0.95, 0.84)
    assert not clear(alone) and informed(alone, None, 0.1) == alone
    told = informed(alone, (0.1, 0.2), 0.1)
    assert 0.8 <= told.p < 0.9 and told.p_here == 0.84 and clear(told)
    assert not clear(informed(replace(alone, gain=0.005), (0.1, 0.2), 0.1)), "what contradicts more is believed"


def test_where_few_pictures_contradict_what_gained_elsewhere_the_sentence_says_why_it_is_taken(fewer_draws):
    said = []
    for seed in range(12):
        world = World(n=40, frozen=0.8, gains={"last-2": 0.0}, seed=seed)
        verdict = experienced(world, world.plan(("last-2",)))
        if verdict.train != "head" and verdict.gain < 0:
            said.append(verdict.why)
    assert said and all("too few to tell, and it gained on other pictures of the kind" in why for why in said)


def test_what_gained_elsewhere_and_loses_here_is_not_taken():
    world = World(n=300, frozen=0.85, gains={"last-2": -0.05, "all": -0.05})
    assert experienced(world, world.plan(("last-2", "all"))).train == "head"


def test_guesses_are_not_saved_by_what_was_gained_elsewhere(fewer_draws):
    for seed in range(4):
        world = World(n=120, frozen=0.5, seed=seed)
        world.labels = np.random.default_rng(seed).permutation(world.labels)
        verdict = experienced(world, world.plan(("last-2",)))
        assert verdict.train == "head" and (verdict.guessing or verdict.p_better < 0.8)
        assert verdict.p_here is not None


def test_eight_pictures_of_one_fold_do_not_make_a_head_that_knows_something_guess(fewer_draws):
    """What beats such a head need not prove on a few pictures that it does not guess."""
    taken = 0
    for seed in range(6):
        world = World(n=40, frozen=0.85, gains={"last-2": 0.1}, seconds={"last-2": 20.0}, seed=seed)
        answer = replace(world.answer(), expected=ELSEWHERE)
        found = race(world.plan(("last-2",)), world.run, answer, world.folds, world.clock(50))
        verdict = judge_race(answer, found)
        assert not verdict.guessing and not verdict.why.startswith("No better than guessing")
        taken += verdict.train == "last-2" and verdict.judged.sum() == 8
    assert taken


def test_an_amount_that_was_asked_for_is_told_from_these_pictures_alone():
    world = World(n=100, frozen=0.85, gains={"last-2": 0.02})
    verdict = experienced(world, world.plan(("last-2",), "last-2"), "last-2")
    assert verdict.p_better == verdict.p_here and "alone" not in verdict.why


def test_what_judged_a_part_is_said_for_all_pictures():
    """Where the head judged more pictures than the arm, the figure follows the head from the part to the whole."""
    world = World(n=200, frozen=0.7, gains={"last-2": 0.08}, seconds={"last-2": 20.0})
    answer = world.answer()
    found = race(world.plan(("last-2",), "last-2"), world.run, answer, world.folds, world.clock(100))
    told = judge_race(answer, found, "last-2")
    assert 0 < told.judged.sum() < 200
    alone = judge_race(replace(answer, judged=told.judged), found, "last-2")
    assert (told.uncorrected_top1, told.gain) == (alone.uncorrected_top1, alone.gain)
    right = answer.logits.argmax(axis=1) == answer.labels
    here, everywhere = right[told.judged].mean(), right.mean()
    assert here != everywhere
    assert 0.1 < (told.top1 - alone.top1) / (everywhere - here) <= 1
    assert told.high - told.low < alone.high - alone.low


def test_what_a_fold_trained_is_chosen_as_it_is():
    world = World(n=200, frozen=0.7, gains={"last-2": 0.2}, seconds={"last-2": 20.0})
    plan = world.plan_of([Arm("last-2", 1e-3)])
    plan = replace(plan, arms=tuple(replace(p, promising=True, keeps=True) for p in plan.arms))
    answer = replace(world.answer(), expected=ELSEWHERE)
    found = race(plan, world.run, answer, world.folds, world.clock(30), RaceOptions(kept=lambda _: True))
    verdict = judge_race(answer, found)
    assert (verdict.train, verdict.kept, verdict.version) == ("last-2", True, Version(4))
    assert "Trained on all but one fold of the 200 pictures; a longer budget trains on all." in verdict.why
    assert verdict.judged.sum() == 40
    world = world.again()
    found = race(plan, world.run, answer, world.folds, world.clock(300), RaceOptions(kept=lambda _: True))
    longer = judge_race(answer, found)
    assert not longer.kept and "all but one fold" not in longer.why
