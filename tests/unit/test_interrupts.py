"""A Ctrl-C that somebody else's code swallowed still ends a race, and a training after the epoch."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from headstart import interrupts
from headstart.howmuch.race import race
from race_world import World


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts.count_interrupts()
    yield
    signal.signal(signal.SIGINT, before)


def swallowed() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return
    raise AssertionError("Ctrl-C raised nothing")


def test_one_that_is_lost_in_a_unit_ends_the_race_after_it():
    world = World(gains={"last-2": 0.08})

    def runner(arm, repeat, fold):
        if len(world.log) == 3:
            swallowed()
        return world.run(arm, repeat, fold)

    swallowed()  # before the race: not for it
    found = race(world.plan(("last-1", "last-2")), runner, world.answer(), world.folds, world.clock(1e6))
    assert (found.interrupted, found.ended, len(world.log)) == (True, "interrupted", 4)
    assert sum(run.units for run in found.runs) == 4, "the unit is finished and counts"


def test_one_that_is_lost_in_a_training_ends_it_after_the_epoch():
    from headstart.finetune import loop

    class Counted(loop.Training):
        epochs = 0

        def __init__(self, _tail: object, lesson: loop.Lesson, recipe: loop.Recipe) -> None:
            self.lesson, self.recipe, self._seconds = lesson, recipe, []

        def epoch(self, number: int) -> None:
            Counted.epochs += 1
            swallowed()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Training", Counted)
        lesson = loop.Lesson(None, None, None, [])  # type: ignore[arg-type]
        recipe = loop.Recipe(learning_rate=0.01, epochs=3)
        with pytest.raises(KeyboardInterrupt):
            loop.train(None, lesson, recipe)  # type: ignore[arg-type]
    assert Counted.epochs == 1


def test_a_handler_of_somebody_else_stays():
    def other(*_: object) -> None:
        pass

    signal.signal(signal.SIGINT, other)
    interrupts.count_interrupts()
    assert signal.getsignal(signal.SIGINT) is other
