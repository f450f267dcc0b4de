"""The figure of a mean of heads: what luck in picking its members gave is gone, and little is never sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.evaluation.selection import Corrected
from headstart.head.columns import columns_of
from headstart.howmuch.candidates import depth_sets
from headstart.howmuch.choice import judge_logits
from headstart.howmuch.committee import mean_of
from headstart.howmuch.corrected_mean import corrected_mean
from headstart.howmuch.screen import Screened, Task, screen

PENALTIES = (1.0, 0.1, 0.01)


def heads(n: int, strength: float, seed: int, shuffled: bool = False) -> tuple[Task, list[Screened]]:
    """Three depths of n pictures of two classes, every head of them; two partitions into folds."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    matrices = [rng.normal(size=(n, dim)) + strength * np.eye(dim)[y] for dim in (6, 12, 24)]
    folds = np.stack([rng.permutation(n) % 5 for _ in range(2)])
    task = Task(columns_of(matrices), rng.permutation(y) if shuffled else y, 2, folds)
    sets = depth_sets([6, 12, 24], n)
    return task, screen(task, sets, [PENALTIES] * len(sets))


def own(task: Task, screened: list[Screened], count: int) -> float:
    """What the mean of the best heads gets right out of fold."""
    best = sorted(screened, key=lambda s: -float(s.correct[s.best(task.judged)].mean()))[:count]
    judged = []
    for s in best:
        at = s.best(task.judged)
        assert s.logits is not None
        judged.append(judge_logits(task, "abc", s.depth_set, s.logits[at], (s.kind, s.penalties[at], 0.0, None)))
    return mean_of(task, "abc", judged, None).candidate.top1


def figure(task: Task, screened: list[Screened], groups: np.ndarray | None = None) -> Corrected:
    found = corrected_mean(task, screened, [], 4, groups, 0)
    assert found is not None
    return found


def test_on_shuffled_labels_the_luck_of_picking_is_gone() -> None:
    found = [heads(40, 1.0, seed, shuffled=True) for seed in range(12)]
    lucky = [own(*one, 4) for one in found]
    honest = [figure(*one).value for one in found]
    assert np.mean(lucky) > 0.52, "four of many heads that guess seem to know something"
    assert abs(np.mean(honest) - 0.5) < 2 * np.std(honest) / np.sqrt(len(honest))


def test_where_all_heads_know_the_same_there_is_little_to_take_away() -> None:
    task, screened = heads(120, 2.0, 0)
    found = figure(task, screened)
    assert own(task, screened, 4) - 0.03 < found.value <= own(task, screened, 4) + 0.01
    assert found.low < found.value < found.high


def test_ten_pictures_that_are_all_right_are_not_certain() -> None:
    found = figure(*heads(10, 30.0, 0))
    assert found.value == found.high == 1.0 and 0.6 < found.low < 0.8


def test_copies_say_as_little_as_one_picture() -> None:
    task, screened = heads(60, 1.0, 1)
    alone, together = figure(task, screened), figure(task, screened, np.arange(60) // 6)
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_where_logits_were_not_kept_it_cannot_be_said() -> None:
    task, screened = heads(40, 1.0, 0)
    assert corrected_mean(task, [replace(screened[0], logits=None), *screened[1:]], [], 4, None, 0) is None
