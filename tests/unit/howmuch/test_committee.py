from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.head.columns import columns_of
from headstart.head.ridge import DepthSet
from headstart.howmuch.candidates import Candidate
from headstart.howmuch.choice import judge_logits
from headstart.howmuch.committee import candidate_logits, fit_candidate, mean_of
from headstart.howmuch.screen import Task, fit_head

NAMES = ("block0", "block1", "last")
HEADS = (((0,), "ridge", 0.1), ((1, 2), "lda", 0.3), ((0, 2), "logistic", 0.03))


@pytest.fixture(scope="module")
def task() -> Task:
    """Three depths of 90 pictures, one channel of which is as good as dead; two partitions into folds."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    matrices = []
    for dim, strength in ((5, 0.5), (7, 1.0), (9, 1.5)):
        m = rng.normal(3.0, 2.0, (90, dim))
        m[:, :3] += strength * np.eye(3)[y]
        matrices.append(m.astype(np.float16))
    matrices[1][:, 6] = 0
    matrices[1][4, 6] = 2.5
    folds = np.stack([rng.permutation(90) % 3 for _ in range(2)])
    return Task(columns_of(matrices), y, 3, folds)


def judged(task: Task) -> list:
    found = []
    for depths, kind, penalty in HEADS:
        whole = DepthSet(depths, (1.0,) * len(depths))
        plain = Candidate(depths, (), (), whole.factors, kind, penalty, 1.0, 0, 0, 0, 0, 0)
        found.append(judge_logits(task, NAMES, whole, candidate_logits(task, plain), (kind, penalty, 0.0, None)))
    return found


def features(task: Task, depths: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
    return np.concatenate([task.columns.matrices[d][rows] for d in depths], axis=1)


@pytest.mark.parametrize("rows", [None, np.arange(3, 80)])
def test_one_head_whose_logits_are_the_mean_of_those_of_its_members(task: Task, rows: np.ndarray | None) -> None:
    heads = judged(task)
    mean = mean_of(task, NAMES, heads, None).candidate
    assert (mean.depths, mean.dims, mean.names) == ((0, 1, 2), (5, 7, 9), NAMES)
    one, every = fit_candidate(task, mean, rows), np.arange(90)
    wanted = []
    for member in mean.members:
        head = fit_head(task, member.depth_set, member.kind, member.penalty, rows)
        wanted.append(head.logits(features(task, member.depths, every)) / member.temperature)
    found = one.logits(features(task, mean.depths, every))
    np.testing.assert_allclose(found, np.mean(wanted, axis=0), atol=1e-4 * np.abs(found).max())


def test_it_is_judged_on_the_mean_of_what_its_members_said_out_of_fold(task: Task) -> None:
    heads = judged(task)
    mean = mean_of(task, NAMES, heads, None)
    again = candidate_logits(task, mean.candidate) / mean.candidate.temperature
    np.testing.assert_allclose(again, mean.repeats, atol=1e-3 * np.abs(again).max())
    assert mean.candidate.top1 == pytest.approx(np.mean(again.argmax(axis=2) == task.labels))
    assert mean.candidate.nll <= min(h.candidate.nll for h in heads) + 0.05, "errors of several heads cancel out"


def test_a_candidate_that_is_no_mean_is_fitted_as_before(task: Task) -> None:
    one = judged(task)[0].candidate
    alone = fit_candidate(task, one)
    np.testing.assert_array_equal(alone.weights, fit_head(task, one.depth_set, one.kind, one.penalty).weights)
    assert one.known_penalty == 0.1 and replace(one, members=(one,)).known_penalty is None
