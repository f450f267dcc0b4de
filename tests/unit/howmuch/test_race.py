"""The race: who gets more folds, never more than the allowance, and the same end after every kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.howmuch.allowance import Allowance
from headstart.howmuch.arm import Arm, FoldResult, failed_unit
from headstart.howmuch.ledger import Ledger
from headstart.howmuch.race import race
from headstart.howmuch.race_options import RaceOptions
from headstart.howmuch.verdict import judge_race
from race_world import EPOCHS, World

FOUR = ("norms", "last-1", "last-2", "all")


def start(world, plan, allowance=None, runner=None, **options):
    allowance = allowance or world.clock(1e6)
    return race(plan, runner or world.run, world.answer(), world.folds, allowance, RaceOptions(**options))


def test_the_clearly_better_arm_gets_every_fold_and_the_worse_ones_do_not():
    world = World(n=300, gains={"last-2": 0.06, "all": -0.2, "norms": -0.2})
    found = start(world, world.plan(FOUR), world.clock(34))
    runs = {r.arm.key: r for r in found.runs}
    best = max(found.runs, key=lambda r: (r.units, r.score.top1 if r.score else 0))
    assert best.arm.train == "last-2" and best.units == 5
    assert all(r.status == "stopped" and r.units < 5 for r in found.runs if r.arm.train in ("norms", "all"))
    assert "points behind" in runs["all_lr0.001"].why or "others were better" in runs["all_lr0.001"].why
    assert len(world.log) == sum(r.units for r in found.runs) < 60


def test_arms_that_are_beaten_beyond_noise_get_no_more_folds_however_much_time_there_is():
    world = World(n=600, gains={"all": -0.1, "norms": -0.1, "last-1": 0.05})
    found = start(world, world.plan(FOUR))
    for run in found.runs:
        if run.arm.train in ("all", "norms"):
            assert run.status == "stopped" and run.units < 5 and "points behind" in run.why
    assert max(r.units for r in found.runs) == 5


def test_every_amount_starts_on_the_same_fold_in_the_order_of_the_plan_then_its_other_rates():
    world = World()
    plan = world.plan(FOUR)
    start(world, plan)
    likeliest = [next(p.arm.key for p in plan.arms if p.arm.train == amount) for amount in FOUR]
    others = [p.arm.key for p in plan.arms if p.arm.key not in likeliest]
    assert world.log[:12] == [(key, 0, 0) for key in likeliest + others]


def test_other_rates_of_an_amount_that_is_far_behind_wait_for_all_else():
    world = World(n=600, gains={"all": -0.2})
    plan = world.plan(("all", "last-1", "last-2"))
    found = start(world, plan)
    first, *rest = [p.arm.key for p in plan.arms if p.arm.train == "all"]
    status = {r.arm.key: r for r in found.runs}
    assert (status[first].status, status[first].units) == ("stopped", 1)
    begun = [key for key, _, _ in world.log]
    judged = [at for at, (_, _, fold) in enumerate(world.log) if fold == 4]
    assert all(begun.index(key) > judged[0] for key in rest), "when the others were judged"
    short = World(n=600, gains={"all": -0.2})
    found = start(short, plan, short.clock(7))
    status = {r.arm.key: r for r in found.runs}
    assert {(status[key].status, status[key].units) for key in rest} == {("not tried", 0)}


@pytest.mark.parametrize("total", [0.5, 2.0, 3.0, 8.0, 20.0, 45.0])
@pytest.mark.parametrize("predicted", [0.5, 1.0, 1.7])
def test_the_allowance_is_kept_but_for_the_error_of_one_prediction(total, predicted):
    world = World(seconds={"last-2": 2.0, "all": 5.0})
    found = start(world, world.plan(FOUR, predicted=predicted), world.clock(total, reserve=0.5))
    overdue = world.time - (total - 0.5)
    assert overdue <= max((1 - predicted) * 5.0, 0)
    usable = [r for r in found.runs if r.in_race and r.refit_fits]
    assert all(world.time + r.refit_seconds <= total - 0.5 + 0.05 * total + 1e-6 for r in usable)
    if predicted == 1.0:  # then every arm in the race can still be trained in the end
        assert len(usable) == len([r for r in found.runs if r.in_race])
        assert found.prediction_error in (None, pytest.approx(0, abs=1e-6))


def test_other_rates_of_what_gained_nowhere_wait_for_what_gained_elsewhere():
    world = World(gains={"last-2": 0.02})
    plan = world.plan(("norms", "last-1", "last-2"))
    arms = tuple(replace(p, promising=p.arm.train == "last-2") for p in plan.arms)
    start(world, replace(plan, arms=arms), world.clock(9))
    begun = list(dict.fromkeys(key for key, _, _ in world.log))
    assert [key for key in begun if key.startswith("last-2")] == begun[2:], "its rates come before theirs"
    assert {key.split("_")[0] for key in begun} == {"norms", "last-1", "last-2"}, "every amount is begun"
    whole = World(gains={"last-2": 0.02})
    start(whole, replace(plan, arms=arms))
    assert {key for key, _, _ in whole.log} == {p.arm.key for p in arms}, "with time everything is tried"


def test_what_gained_elsewhere_is_judged_on_thirty_pictures_before_a_better_first_fold_counts():
    """Fifty pictures, ten of them a fold: the order after one of those is chance."""
    for seed in range(8):
        world = World(n=50, frozen=0.8, gains={"last-1": 0.05, "last-3": 0.05}, seconds={"last-3": 3.0}, seed=seed)
        plan = world.plan_of([Arm("last-3", 1e-3), Arm("last-1", 1e-3)])
        arms = tuple(replace(p, promising=p.arm.train == "last-3") for p in plan.arms)
        found = start(world, replace(plan, arms=arms), world.clock(17.5))
        units = {r.arm.train: r.units for r in found.runs}
        assert units["last-3"] >= 3 or "behind" in next(r.why for r in found.runs if r.arm.train == "last-3"), seed


def test_of_what_gained_elsewhere_the_first_planned_is_judged_on_thirty_pictures_first():
    for seed in range(8):
        world = World(n=50, frozen=0.8, gains={"last-3": 0.05, "last-2": 0.05}, seconds={"last-3": 3.0}, seed=seed)
        plan = world.plan_of([Arm("last-3", 1e-3), Arm("last-2", 1e-3)])
        arms = tuple(replace(p, promising=True) for p in plan.arms)
        start(world, replace(plan, arms=arms), world.clock(19))
        further = [key for key, _, fold in world.log if fold > 0]
        assert further[:2] == ["last-3_lr0.001"] * 2, seed


def test_of_fifty_pictures_what_gained_elsewhere_is_judged_on_thirty_before_others_are_begun():
    """After the first folds of all there was no time for that left, and then what is known of others did not count."""
    world = World(n=50, frozen=0.8, gains={"last-3": 0.05}, seconds={"last-3": 3.0})
    plan = world.plan_of([Arm("last-3", 1e-3), Arm("last-2", 1e-3), Arm("last-1", 1e-3)])
    told = replace(plan, arms=tuple(replace(p, promising=p.arm.train != "last-1") for p in plan.arms))
    start(world, told, world.clock(30))
    assert [key for key, _, _ in world.log[:4]] == ["last-3_lr0.001"] * 3 + ["last-2_lr0.001"], "once is enough"
    many = World(n=200, frozen=0.8, gains={"last-3": 0.05}, seconds={"last-3": 3.0})
    start(many, told, many.clock(30))
    assert [key for key, _, _ in many.log[:3]] == [p.arm.key for p in plan.arms], "a fold has forty"
    beaten = World(n=50, frozen=0.9, gains={"last-3": -0.6}, seconds={"last-3": 3.0})
    found = start(beaten, told, beaten.clock(30))
    assert found.runs[0].units == 1 and found.runs[1].units > 1, "the next that gained takes its place"


def test_what_gained_elsewhere_is_dropped_like_others_when_it_is_behind_beyond_noise():
    world = World(n=200, frozen=0.9, gains={"last-3": -0.3})
    plan = world.plan_of([Arm("last-3", 1e-3), Arm("last-1", 1e-3)])
    arms = tuple(replace(p, promising=p.arm.train == "last-3") for p in plan.arms)
    deep, _ = start(world, replace(plan, arms=arms), world.clock(60)).runs
    assert deep.units == 1 and not deep.in_race and "points behind the new head" in deep.why


def test_a_further_fold_never_costs_the_final_training():
    """Units that take a fifth longer than the one before: what was judged can still be trained in the end."""

    class Slower(World):
        def run(self, arm, repeat, fold):
            self.seconds[arm.key] = 10.0 if fold == 0 else 11.9
            return super().run(arm, repeat, fold)

    for total in range(30, 75, 3):
        world = Slower(n=100, gains={"last-2": 0.1}, seconds={"last-2": 10.0})
        found = start(world, world.plan_of([Arm("last-2", 1e-3)]), world.clock(total))
        assert all(r.refit_fits for r in found.runs if r.units), total


def test_what_does_not_fit_is_not_started_and_says_what_it_would_take():
    world = World(seconds={"all": 100.0})
    found = start(world, world.plan(("last-1", "all")), world.clock(60))
    big = [r for r in found.runs if r.arm.train == "all"]
    assert {r.status for r in big} == {"not tried"}
    assert "1 min 40 s" in big[0].why
    assert found.ended.startswith("what is left of the budget")


def test_nothing_affordable():
    world = World(seconds=dict.fromkeys(FOUR, 50.0))
    found = start(world, world.plan(FOUR), world.clock(20))
    assert world.log == []
    assert {r.status for r in found.runs} == {"not tried"}


def test_predictions_learn_from_what_units_took():
    world = World(seconds={"last-1": 4.0})
    allowance = world.clock(60)
    found = start(world, world.plan(("last-1",), predicted=0.25), allowance)
    assert found.prediction_error < 1.0  # the first is off by 300 %, the others are not
    assert world.time <= 60


@pytest.mark.parametrize(("time", "begun", "units"), [(9, 4, 4), (11, 5, 5), (13, 7, 5)])
def test_half_of_the_time_begins_arms_and_the_rest_judges_the_best(time, begun, units):
    world = World(gains={"last-1": 0.05})
    found = start(world, world.plan(FOUR), world.clock(time))
    assert sum(r.units > 0 for r in found.runs) == begun
    assert max(r.units for r in found.runs) == units


def test_what_is_dear_is_begun_before_what_is_cheap_is_judged_in_full():
    """Five folds of the first arm would leave no time for the other one, which is the better one."""
    arms = [Arm("last-1", 1e-3), Arm("last-2", 1e-3)]
    world = World(n=400, gains={"last-1": 0.01, "last-2": 0.06}, seconds={"last-2": 4.0})
    found = start(world, world.plan_of(arms), world.clock(17))
    runs = {r.arm.train: r for r in found.runs}
    assert runs["last-2"].units >= 2, runs["last-2"].why


def test_time_that_a_dropped_arm_leaves_goes_to_arms_that_had_to_wait():
    """The first arm would need the rest of the time to be judged in full, but is hopeless: the other one is tried."""
    arms = [Arm("last-1", 1e-3), Arm("all", 1e-3)]
    world = World(n=400, gains={"last-1": -0.3, "all": 0.05})
    found = start(world, world.plan_of(arms), world.clock(6.5))
    runs = {r.arm.train: r for r in found.runs}
    assert [key for key, *_ in world.log[:2]] == [arms[0].key, arms[1].key]
    assert runs["last-1"].status == "stopped" and runs["last-1"].units == 1
    assert runs["all"].units >= 3, runs["all"].why


def test_a_race_ends_when_all_is_tried():
    world = World(n=200, repeats=2)
    found = start(world, world.plan(("last-1", "last-2")))
    assert found.ended == "everything that was worth trying is tried"
    assert max(r.units for r in found.runs) == 10
    assert world.time < 100


@pytest.mark.parametrize("wrong", [0, 2])
def test_no_race_where_nothing_can_be_won(wrong):
    world = World(n=40)
    answer = world.answer()
    answer.logits[:] = 5 * np.eye(2)[world.labels]
    answer.logits[:wrong] *= -1
    found = race(world.plan(FOUR), world.run, answer, world.folds, world.clock(100))
    assert world.log == [] and "nothing to win" in found.ended
    pinned = race(world.plan(("all",), "all"), world.run, answer, world.folds, world.clock(100))
    assert max(r.units for r in pinned.runs) == 5


def test_failed_units_drop_the_arm_with_its_reason():
    world = World()

    def runner(arm, repeat, fold):
        result = world.run(arm, repeat, fold)
        if arm.train == "all":
            raise MemoryError
        if arm.train == "last-2":
            return failed_unit(result.rows, "the loss became NaN", 7)
        if arm.train == "norms" and fold == 1:
            return FoldResult(result.rows, result.logits * np.nan, result.seconds, result.steps)
        return result

    found = start(world, world.plan(FOUR), runner=runner)
    by_amount = {r.arm.train: r for r in found.runs if r.units or "dropped" in r.why}
    assert by_amount["all"].why == "dropped: out of memory" and by_amount["all"].status == "stopped"
    assert by_amount["last-2"].why == "dropped: the loss became NaN"
    assert not any(r.in_race for r in found.runs if r.arm.train != "last-1")
    assert [k for k, _, _ in world.log].count("all_lr0.001") == 1


def test_an_arm_that_judges_the_wrong_rows_is_an_error():
    world = World()

    def runner(arm, repeat, fold):
        return world.run(arm, repeat, (fold + 1) % 5)

    with pytest.raises(ValueError, match="not fold 0"):
        start(world, world.plan(("norms",)), runner=runner)


def test_ctrl_c_ends_the_race_with_what_is_finished(tmp_path):
    world = World(gains={"last-2": 0.08})
    ledger = Ledger(tmp_path, "x")

    def runner(arm, repeat, fold):
        if len(world.log) == 9:
            raise KeyboardInterrupt
        return world.run(arm, repeat, fold)

    found = start(world, world.plan(FOUR), runner=runner, ledger=ledger)
    assert found.interrupted and found.ended == "interrupted"
    assert sum(r.units for r in found.runs) == 9
    assert all(r.refit_fits for r in found.runs)  # a second or so is worth waiting for
    slow = replace_seconds(world)
    found = start(slow, slow.plan(FOUR), runner=lambda *unit: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not any(r.refit_fits for r in found.runs)


def replace_seconds(world):
    again = world.again()
    again.seconds = dict.fromkeys(FOUR, 60.0)
    return again


def test_scratch_runs_last_once_and_is_never_chosen():
    world = World(gains={"scratch": 0.09})
    found = start(world, world.plan_of([Arm("scratch", 1e-3), Arm("last-1", 1e-3)]))
    assert [k for k, _, _ in world.log][-1] == "scratch_lr0.001"
    assert next(r for r in found.runs if r.arm.train == "scratch").units == 1
    assert judge_race(world.answer(), found).train == "head"


def test_progress_is_told():
    world, told = World(), []
    start(world, world.plan(("last-1",)), tell=told.append)
    assert len(told) == len(world.log)
    assert 0.5 < told[-1].top1 <= 1 and told[0].left > told[-1].left


def test_two_folds_and_rows_that_are_never_judged():
    world = World(n=30, folds_count=2, unjudged=3, frozen=0.7)
    found = start(world, world.plan(("last-1",)))
    assert max(r.units for r in found.runs) == 2
    assert all(not np.isin([0, 1, 2], r.score.rows).any() for r in found.runs if r.score)


def test_nothing_to_hold_out():
    world = World(n=10)
    world.folds[:] = -1
    found = start(world, world.plan(("last-1",)))
    assert world.log == [] and "held out" in found.ended


def outcome(found):
    return [(r.arm.key, r.status, r.why, r.units, r.score.top1 if r.score else None) for r in found.runs]


def test_a_race_killed_after_every_unit_and_resumed_ends_where_an_uninterrupted_one_does(tmp_path):
    world = World(n=120, gains={"last-2": 0.05, "all": -0.1}, repeats=2)
    plan, budget = world.plan(("last-2", "all")), 40 * 21

    class Killed(BaseException):
        pass

    whole = start(world, plan, Allowance(budget))
    units = len(world.log)
    assert 10 < units <= 21
    kills = 0
    while True:
        again = world.again()

        def runner(arm, repeat, fold, again=again):
            if again.log:
                raise Killed
            return again.run(arm, repeat, fold)

        try:
            found = start(again, plan, Allowance(budget), runner, ledger=Ledger(tmp_path, "same"))
            break
        except Killed:
            kills += 1
    assert kills == units - 1
    assert outcome(found) == outcome(whole)
    assert found.ended == whole.ended
    answer = world.answer()
    assert judge_race(answer, found).why == judge_race(answer, whole).why


def test_on_a_wall_clock_units_read_back_are_free(tmp_path):
    world = World()
    plan = world.plan(("last-1",))
    start(world, plan, world.clock(5.9), ledger=Ledger(tmp_path, "same"))
    again = world.again()
    found = start(again, plan, again.clock(5.9), ledger=Ledger(tmp_path, "same"))
    assert sum(r.units for r in found.runs) > len(world.log)
    assert not set(again.log) & set(world.log)


def kept_world(n=200):
    world = World(n=n, frozen=0.75, gains={"last-2": 0.15}, seconds={"last-2": 20.0})
    plan = world.plan_of([Arm("last-2", 1e-3)])
    return world, replace(plan, arms=tuple(replace(p, promising=True, keeps=True) for p in plan.arms))


def test_what_a_fold_trained_is_kept_where_no_time_is_left_to_train_on_everything():
    for total, units, kept in ((30, 1, True), (42, 1, True), (44, 1, False), (200, 5, False)):
        world, plan = kept_world()
        (run,) = start(world, plan, world.clock(total), kept=lambda _: True).runs
        assert (run.units, run.kept, run.refit_fits) == (units, kept, not kept), total
        assert [v.epoch for v in run.score.versions] == [4], "the last epoch is what is at hand"


def test_time_that_no_final_training_fits_into_judges_another_fold():
    world, plan = kept_world()
    plan = replace(plan, arms=tuple(replace(p, refit=p.refit * 4) for p in plan.arms))
    (run,) = start(world, plan, world.clock(70), kept=lambda _: True).runs
    assert (run.units, run.kept) == (3, True)


@pytest.mark.parametrize(("total", "begun"), [(52, 0), (58, 1), (64, 2)])
def test_another_rate_never_takes_the_time_of_a_final_training_that_fits(total, begun):
    """After the first fold of both amounts (26 s) 25 are needed, and six for each rate more of the cheap amount."""
    world = World(n=200, frozen=0.75, gains={"last-2": 0.15}, seconds={"last-2": 20.0, "last-1": 6.0})
    plan = world.plan_of([Arm("last-2", 1e-3), Arm("last-1", 1e-3), Arm("last-1", 3e-3), Arm("last-1", 3e-4)])
    deep = [replace(p, promising=p.arm.train == "last-2", keeps=p.arm.train == "last-2") for p in plan.arms]
    best, _, *others = start(world, replace(plan, arms=tuple(deep)), world.clock(total), kept=lambda _: True).runs
    assert best.refit_fits and not best.kept
    assert sum(run.units > 0 for run in others) == begun


def test_nothing_is_kept_that_is_not_at_hand():
    """As after a kill: units are read back, networks are not."""
    world, plan = kept_world()
    (run,) = start(world, plan, world.clock(30)).runs
    assert (run.units, run.kept, run.refit_fits) == (1, False, False)
    world, plan = kept_world()
    assert judge_race(world.answer(), start(world, plan, world.clock(30))).train == "head"


def going_on(world, most=6, each=5.0):
    """What `Trainer.longer` does: the unit with one epoch more, to the accuracy of the arm."""
    epochs = {}

    def longer(arm):
        count = epochs.get(arm.key, EPOCHS)
        if count >= most:
            return None
        epochs[arm.key] = count + 1
        world.time += each
        unit = world.again().run(arm, 0, 0)
        seconds = np.concatenate([unit.seconds, unit.seconds[-1] + each * np.arange(1, count + 2 - EPOCHS)])
        logits = np.concatenate([unit.logits, np.repeat(unit.logits[-1:], count + 1 - EPOCHS, axis=0)])
        return replace(unit, logits=logits, seconds=seconds, blend=None)

    return longer


def test_time_that_no_final_training_fits_into_goes_into_epochs_of_what_is_saved():
    """A unit of four epochs takes 20 s, its final training 25, an epoch more 5 (6 with what it may be late)."""
    for total, epochs in ((24, 4), (26, 5), (32, 6), (42, 6)):
        world, plan = kept_world(n=500)
        (run,) = start(world, plan, world.clock(total), kept=lambda _: True, longer=going_on(world)).runs
        assert (run.units, run.kept, run.score.version.epoch) == (1, True, epochs), total
        assert world.time == 20 + 5 * (epochs - 4) and run.seconds == world.time and len(run.curve) == epochs


def test_epochs_are_not_added_to_what_will_be_trained_on_everything_or_hardly_judged():
    def refused(_arm):
        raise AssertionError("no epoch should have been added")

    world, plan = kept_world(n=500)
    (run,) = start(world, plan, world.clock(60), kept=lambda _: True, longer=refused).runs
    assert run.refit_fits and not run.kept
    world, plan = kept_world(n=100)  # 20 pictures of a fold
    start(world, plan, world.clock(30), kept=lambda _: True, longer=refused)
    world, plan = kept_world(n=500)
    start(world, plan, world.clock(30), kept=lambda _: False, longer=refused)
