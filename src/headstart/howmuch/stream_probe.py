"""The probe for vectors that do not fit into memory: the same question in a handful of passes over part files.

One pass adds up the sums of every fold; from them every depth set, kind and penalty is solved exactly. Some rows that
stand for all, held in memory, fit temperatures and leave the few best of a set; a second pass judges those on every
held-out row. Logistic regression then starts from the best of them. A last pass gives the figures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.calibrate import fit_temperature
from headstart.evaluation.intervals import paired_standard_error, wilson
from headstart.evaluation.judge import Judged
from headstart.evaluation.metrics import row_nll
from headstart.evaluation.tally import Tally
from headstart.head.columns import columns_of
from headstart.head.linear import LinearHead
from headstart.head.ridge import KINDS, DepthSet
from headstart.head.streamed import Block, FoldSums, Variant, held_out, stacked, sums_by_fold
from headstart.head.streamed_logistic import fit_streamed_logistic
from headstart.howmuch.candidates import MANY_CLASSES, VERY_MANY_CLASSES, Candidate, depth_sets
from headstart.howmuch.candidates import PENALTIES as CLOSED_PENALTIES
from headstart.howmuch.probe import DepthResult, Probe
from headstart.progress import Progress

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

SUMS_BYTES = 4 * 2**30  # of the products of all folds and what solving takes: up to 8,000 columns with five folds
SCREEN_CELLS = 128 * 2**20  # float32 logits of the rows that stand for all: 512 MB at most
KEPT = 3  # kinds and penalties of a set that are judged on every row
PENALTIES = (1e-2, 1e-3, 1e-4)  # of logistic regression


@dataclass(frozen=True)
class Stream:
    """Rows that are read again and again. `blocks(depths)`: all in order; `shuffled(depths, size, rng)`: in batches.

    `sample`: rows that stand for all, with all depths; `n`: rows that numbers of rows count in; `groups` `(n,)`: ids of
    what belongs together, for intervals, or None.
    """

    blocks: Callable[[Sequence[int]], Iterable[Block]]
    shuffled: Callable[[Sequence[int], int, np.random.Generator], Iterable[Block]]
    sample: Block
    n: int
    names: tuple[str, ...]
    n_classes: int
    folds: int
    groups: IntArray | None = None


@dataclass(frozen=True)
class Streamed:
    """`probe`: as of `probe`, its logits of the sample's rows; `judged`: the chosen head out of fold on all rows.

    `left_out`: depths whose sums had no room; `epochs`: passes of logistic regression.
    """

    probe: Probe
    judged: Judged
    left_out: tuple[str, ...]
    epochs: int


@dataclass(frozen=True)
class _Option:
    """A head that is compared: its set, kind and penalty, the temperature of its logits, and how it does."""

    depth_set: DepthSet
    variant: Variant
    temperature: float
    nll: float
    top1: float = math.nan


def affordable_depths(dims: Sequence[int], folds: int, room: int = SUMS_BYTES) -> tuple[int, ...]:
    """The last depths whose sums side by side fit into `room` bytes (float64, per fold and to solve); at least one."""
    used = [len(dims) - 1]
    for depth in range(len(dims) - 2, -1, -1):
        if 8 * (folds + 3) * sum(dims[i] for i in (*used, depth)) ** 2 > room:
            break
        used.insert(0, depth)
    return tuple(used)


def probe_stream(stream: Stream, seed: int, progress: Progress, room: int = SUMS_BYTES) -> Streamed:
    """Choose depths, kind and penalty on held-out rows, and train the winner on all of them.

    Memory is bounded by `room`, a block and the sample, whatever the number of rows.
    """
    began = time.perf_counter()
    all_dims = [m.shape[1] for m in stream.sample.matrices]
    used = affordable_depths(all_dims, stream.folds, room)
    work = _Work(replace(stream, sample=_only(stream.sample, used)), used, progress)
    sums = work.sums()
    dims = [all_dims[i] for i in used]
    sets = [DepthSet(tuple(used[i] for i in s.depths), s.factors) for s in depth_sets(dims, sums.n)]
    progress.start("heads")
    screened = _screened(work.stream, sums, sets, _closed_penalties(stream.n_classes))
    closed = _judged_everywhere(work, sums, screened)
    last = (len(all_dims) - 1,)
    reference = min((o for o in closed if o.depth_set.depths == last), key=lambda o: o.nll)
    best = min(closed, key=lambda o: (o.nll, len(o.depth_set.depths)))
    chosen, epochs = _by_logistic(work, sums, _Headed(best, _heads_of(sums, best)), seed)
    compared = (chosen, _Headed(reference, _heads_of(sums, reference)))
    probe, judged = _result(work, compared, closed)
    left_out = tuple(name for i, name in enumerate(stream.names) if i not in used)
    return Streamed(replace(probe, seconds={"streamed": time.perf_counter() - began}), judged, left_out, epochs)


@dataclass(frozen=True)
class _Headed:
    """An option with its heads, calibrated: one per fold, the last one of all rows."""

    option: _Option
    heads: tuple[LinearHead, ...]


@dataclass(frozen=True)
class _Work:
    """The stream, the depths that are used, and who is told."""

    stream: Stream
    used: tuple[int, ...]
    progress: Progress

    def sums(self) -> FoldSums:
        """The first pass."""
        frame = columns_of(self.stream.sample.matrices)
        return sums_by_fold(self.told("sums", self.used), frame, self.stream.n_classes, self.stream.folds)

    def told(self, phase: str, depths: Sequence[int]) -> Iterable[Block]:
        """A pass that says how far it is."""
        self.progress.start(phase, self.stream.n)
        done = 0
        for block in self.stream.blocks(depths):
            yield block
            done += len(block)
            self.progress.update(done)


def _only(sample: Block, used: Sequence[int]) -> Block:
    """Without the other depths: their matrices become empty, as in a pass."""
    none = np.empty((len(sample), 0), np.float16)
    matrices = tuple(m if i in used else none for i, m in enumerate(sample.matrices))
    return Block(matrices, sample.labels, sample.folds, sample.rows)


def _closed_penalties(n_classes: int) -> tuple[float, ...]:
    """All of them, for wide sets too: with very many rows the small ones are best, and they cost no pass."""
    return CLOSED_PENALTIES if n_classes <= VERY_MANY_CLASSES else CLOSED_PENALTIES[::2]


def _screened(
    stream: Stream, sums: FoldSums, sets: Sequence[DepthSet], penalties: Sequence[float]
) -> list[list[_Option]]:
    """Of every set the few best kinds and penalties by the held-out log-loss of the rows that stand for all."""
    variants = [Variant(kind, p) for kind in KINDS for p in penalties]
    rows = max(1000, SCREEN_CELLS // (len(sets) * len(variants) * stream.n_classes))
    sample = stream.sample.take(np.linspace(0, len(stream.sample) - 1, min(rows, len(stream.sample))).astype(np.int64))
    logits = [np.empty((len(sample), len(variants) * stream.n_classes), np.float32) for _ in sets]
    for fold in np.unique(sample.folds).tolist():
        training = sums.training(fold)
        held = np.flatnonzero(sample.folds == fold)
        part = sample.take(held)
        for i, depth_set in enumerate(sets):
            head = stacked(sums, training, depth_set, variants)
            logits[i][held] = head.logits(part.wide(depth_set.depths))
    kept = KEPT if stream.n_classes <= VERY_MANY_CLASSES else 1
    found = []
    for i, depth_set in enumerate(sets):
        shaped = logits[i].reshape(len(sample), len(variants), -1)
        options = [_calibrated(depth_set, v, shaped[:, at], sample.labels) for at, v in enumerate(variants)]
        found.append(sorted(options, key=lambda o: o.nll)[:kept])
    return found


def _calibrated(depth_set: DepthSet, variant: Variant, logits: FloatArray, labels: IntArray) -> _Option:
    temperature = fit_temperature(logits, labels)
    return _Option(depth_set, variant, temperature, float(row_nll(logits, labels, temperature).mean()))


def _judged_everywhere(work: _Work, sums: FoldSums, screened: Sequence[Sequence[_Option]]) -> list[_Option]:
    """The best of every set by the held-out log-loss of all rows, with its accuracy."""
    k = work.stream.n_classes
    trained = [sums.training(fold) for fold in range(work.stream.folds)]
    heads = [[stacked(sums, t, one[0].depth_set, [o.variant for o in one]) for t in trained] for one in screened]
    del trained
    losses = [np.zeros(len(options)) for options in screened]
    right = [np.zeros(len(options)) for options in screened]
    for block in work.told("heads", work.used):
        for i, options in enumerate(screened):
            shaped = held_out(block, heads[i], options[0].depth_set.depths).reshape(len(block), len(options), k)
            for at, option in enumerate(options):
                losses[i][at] += row_nll(shaped[:, at], block.labels, option.temperature).sum()
                right[i][at] += (shaped[:, at].argmax(axis=1) == block.labels).sum()
    best = [int(np.argmin(one)) for one in losses]
    return [
        replace(options[at], nll=float(losses[i][at] / sums.n), top1=float(right[i][at] / sums.n))
        for i, (options, at) in enumerate(zip(screened, best, strict=True))
    ]


def _heads_of(sums: FoldSums, option: _Option) -> tuple[LinearHead, ...]:
    folds = [*range(len(sums.folds)), None]
    found = (stacked(sums, sums.training(fold), option.depth_set, [option.variant]) for fold in folds)
    return tuple(_cooled(head, option.temperature) for head in found)


def _by_logistic(work: _Work, sums: FoldSums, start: _Headed, seed: int) -> tuple[_Headed, int]:
    """Logistic regression on the depths of the best closed form, where it is better; and its passes."""
    stream, depth_set = work.stream, start.option.depth_set
    penalties = PENALTIES if stream.n_classes < MANY_CLASSES else PENALTIES[1:2]

    def shuffled(epoch: int, rows: int) -> Iterable[Block]:
        work.progress.start(f"logistic regression, pass {epoch + 1}")
        return stream.shuffled(depth_set.depths, rows, np.random.default_rng([seed, epoch]))

    found = fit_streamed_logistic(shuffled, sums, depth_set, start.heads, penalties)
    if not found.gained:
        return start, found.epochs
    logits = held_out(stream.sample, found.heads, depth_set.depths)
    option = _calibrated(depth_set, Variant("logistic", found.penalty), logits, stream.sample.labels)
    heads = tuple(_cooled(head, option.temperature) for head in (*found.heads, found.final))
    return _Headed(option, heads), found.epochs


def _result(work: _Work, compared: tuple[_Headed, _Headed], closed: Sequence[_Option]) -> tuple[Probe, Judged]:
    """The last pass: figures of the chosen head and of the last layer's; `compared` = both."""
    stream, tallies = work.stream, [Tally(work.stream.n, work.stream.n_classes) for _ in compared]
    depths = sorted({d for headed in compared for d in headed.option.depth_set.depths})
    for block in work.told("judge", depths):
        for headed, tally in zip(compared, tallies, strict=True):
            logits = held_out(block, headed.heads[:-1], headed.option.depth_set.depths)
            tally.add(block.rows, logits, block.labels)
    judged, last = tallies[0].judged(stream.groups), tallies[1].judged(stream.groups)
    chosen, reference = compared[0].option, compared[1].option
    candidates = [_candidate(stream, o, (o.top1, o.nll, *wilson(o.top1 * judged.n, judged.n))) for o in closed]
    first = _candidate(stream, chosen, (judged.top1, judged.nll, judged.low, judged.high))
    if chosen.variant.kind == "logistic":
        candidates.append(first)
    candidates.sort(key=lambda c: c.nll)
    sample_logits = held_out(stream.sample, compared[0].heads[:-1], chosen.depth_set.depths)
    probe = Probe(
        profile=tuple(
            DepthResult(c.names[0], c.dim, c.top1, c.low, c.high)
            for c in sorted(candidates, key=lambda c: c.depths)
            if len(c.depths) == 1 and c.kind != "logistic"
        ),
        candidates=tuple(candidates),
        chosen=first,
        reference=_candidate(stream, reference, (last.top1, last.nll, last.low, last.high)),
        head=compared[0].heads[-1],
        logits=sample_logits,
        judged=np.ones(len(stream.sample), bool),
        learning_curve=(),
        corrected_top1=judged.top1,
        corrected_low=judged.low,
        corrected_high=judged.high,
        p_better=_p_better(tallies[0].scores, tallies[1].scores, tallies[0].of(stream.groups)),
        seconds={},
    )
    return probe, judged


def _candidate(stream: Stream, option: _Option, reached: tuple[float, float, float, float]) -> Candidate:
    depths = option.depth_set.depths
    top1, nll, low, high = reached
    return Candidate(
        depths=depths,
        names=tuple(stream.names[i] for i in depths),
        dims=tuple(stream.sample.matrices[i].shape[1] for i in depths),
        factors=option.depth_set.factors,
        kind=option.variant.kind,
        penalty=option.variant.penalty,
        temperature=option.temperature,
        top1=top1,
        nll=nll,
        low=low,
        high=high,
        seconds=0.0,
    )


def _p_better(first: FloatArray, second: FloatArray, groups: IntArray | None) -> float:
    """Probability that the first is more often right, by the normal law: there are very many rows."""
    error = paired_standard_error(first, second, groups)
    if error == 0:
        return 0.5
    return 0.5 * (1.0 + math.erf(float((first - second).mean()) / error / math.sqrt(2.0)))


def _cooled(head: LinearHead, temperature: float) -> LinearHead:
    return LinearHead(head.weights / temperature, head.bias / temperature, head.mean, head.scale)
