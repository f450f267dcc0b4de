"""The streamed probe: it finds what the probe in memory finds, and its figures are those of its own held-out logits."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.judge import judge
from headstart.evaluation.tally import Tally
from headstart.head.streamed import Block
from headstart.howmuch.probe import probe
from headstart.howmuch.stream_probe import Stream, affordable_depths, probe_stream
from headstart.predictions import Predictions
from headstart.progress import Silent

DIMS, K, FOLDS, NAMES = (8, 12, 16), 5, 4, ("early", "middle", "last")


def world(n=3000, seed=0):
    """The middle depth says most about the class; rows are sorted by class."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, K, n))
    matrices = []
    for dim, strength in zip(DIMS, (0.3, 0.9, 0.5), strict=True):
        centres = np.random.default_rng(dim).normal(size=(K, dim)) * strength
        matrices.append((centres[labels] + rng.normal(size=(n, dim))).astype(np.float16))
    return Block(tuple(matrices), labels, rng.integers(0, FOLDS, n), np.arange(n))


def stream_of(whole, rows=400, **more):
    n = len(whole)

    def cut(block, depths):
        none = np.empty((len(block), 0), np.float16)
        kept = tuple(m if i in depths else none for i, m in enumerate(block.matrices))
        return Block(kept, block.labels, block.folds, block.rows)

    def blocks(depths):
        for start in range(0, n, rows):
            yield cut(whole.take(np.arange(start, min(n, start + rows))), depths)

    def shuffled(depths, size, rng):
        for chosen in np.array_split(rng.permutation(n), max(1, n // size)):
            yield cut(whole.take(chosen), depths)

    sample = whole.take(np.random.default_rng(5).permutation(n)[:1500])
    return Stream(blocks, shuffled, sample, n, NAMES, K, FOLDS, **more)


@pytest.fixture(scope="module")
def both():
    whole = world()
    found = probe_stream(stream_of(whole), 0, Silent())
    return whole, found, probe(whole.matrices, NAMES, whole.labels, K, whole.folds[None])


def test_it_finds_what_the_probe_in_memory_finds(both):
    _, found, wanted = both
    assert abs(found.probe.chosen.top1 - wanted.chosen.top1) < 0.01
    assert abs(found.probe.chosen.nll - wanted.chosen.nll) < 0.02
    assert abs(found.probe.reference.top1 - wanted.reference.top1) < 0.01
    assert [d.name for d in found.probe.profile] == list(NAMES)
    for one, other in zip(found.probe.profile, wanted.profile, strict=True):
        assert abs(one.top1 - other.top1) < 0.015 and one.dim == other.dim
    assert {1} < set(found.probe.chosen.depths), "the middle depth is in it, and more than that"
    assert found.probe.p_better > 0.99 and found.left_out == ()


def test_its_head_does_on_new_rows_what_was_promised(both):
    _, found, _ = both
    new = world(20_000, seed=4)
    logits = found.probe.head.logits(new.wide(found.probe.chosen.depths))
    assert abs((logits.argmax(1) == new.labels).mean() - found.judged.top1) < 0.02
    assert found.probe.corrected_low <= found.judged.top1 <= found.probe.corrected_high
    assert found.judged.ece < 0.05, "calibrated"


def test_its_logits_are_those_of_the_sample(both):
    whole, found, _ = both
    sample = stream_of(whole).sample
    assert found.probe.logits.shape == (len(sample), K) and found.probe.judged.all()
    assert abs((found.probe.logits.argmax(1) == sample.labels).mean() - found.judged.top1) < 0.03


def test_depths_without_room_are_left_out_the_first_ones_first():
    assert affordable_depths((10, 20, 30), 5) == (0, 1, 2)
    assert affordable_depths((10, 20, 30), 5, room=8 * 8 * 50**2) == (1, 2)
    assert affordable_depths((10, 20, 30), 5, room=1) == (2,), "the last one always"
    found = probe_stream(stream_of(world(1200)), 0, Silent(), room=8 * (FOLDS + 3) * 28**2)
    assert found.left_out == ("early",) and 0 not in found.probe.chosen.depths
    assert len(found.probe.head.mean) == found.probe.chosen.dim == sum(DIMS[i] for i in found.probe.chosen.depths)


def test_a_tally_gives_the_figures_of_judge():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 3, 500), rng.normal(size=(500, 3)).astype(np.float32)
    groups = rng.integers(0, 60, 500)
    tally, order = Tally(700, 3), rng.permutation(700)[:500]
    order.sort()
    for rows in np.array_split(rng.permutation(500), 7):
        tally.add(order[rows], logits[rows], labels[rows])
    everywhere = np.zeros(700, np.int64)
    everywhere[order] = groups
    for given, own in ((None, None), (groups, everywhere)):
        wanted = judge(Predictions(logits, labels, tuple(map(str, range(500))), ("a", "b", "c")), 1.0, given)
        found = tally.judged(own)
        for name in ("n", "top1", "low", "high", "balanced", "nll", "ece", "baseline", "recall", "support"):
            assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-6), name
