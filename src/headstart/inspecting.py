"""Inspecting: what must be measured on the pictures themselves: blur, light, size, and what their frame alone tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.answer import Answer
from headstart.embedding.engines import exact_engine
from headstart.engine.engine import Engine
from headstart.engine.stream import stream
from headstart.errors import HeadstartError
from headstart.evaluation.findings_pictures import FrameAlone, tells_classes
from headstart.evaluation.quality import Oddity, Outcome, Trait, light_and_size, oddities
from headstart.head.columns import columns_of
from headstart.howmuch.candidates import evened
from headstart.howmuch.screen import Task, fit_head
from headstart.images.frame import frame_alone, frame_area, frame_around
from headstart.images.sharpness import blur
from headstart.material import Material
from headstart.training import Ground

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]
FloatArray = NDArray[np.floating]

EACH = 100  # mistakes, and as many right ones, whose sharpness is measured
FRAMES = 160  # pictures whose frame is looked at
FEWEST_FRAMES = 60  # fewer say nothing
OF_A_CLASS = 6  # pictures a class must have to be among them
MOST_CLASSES = 16  # so that ten of each are among them
LONGEST = 10.0  # seconds, however many are left
SLOW = 100.0  # pictures a second, where nothing was measured
PENALTY = 0.3  # of the ridge heads that are compared; chosen for neither
START = 0.6  # seconds until the network is ready


@dataclass(frozen=True)
class Inspected:
    """`odd` and `blank` count in the pictures to learn from. `skipped`: one sentence for each thing not measured."""

    odd: tuple[Oddity, ...] = ()
    blank: tuple[int, ...] = ()
    frame: FrameAlone | None = None
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """What result.json says of it; the pictures are in the findings."""
        frame = None if self.frame is None else asdict(self.frame)
        return {"frame": frame, "skipped": list(self.skipped), "seconds": self.seconds}


@dataclass(frozen=True)
class _Seen:
    """What looking again gave: blur by row, `squares` as the network sees them by row."""

    blur: dict[int, float]
    squares: dict[int, Pixels]


class _OutOfTimeError(Exception):
    """It took longer than it may."""


def inspection_takes(ground: Ground) -> float:
    """Seconds that `inspect` will take, from what embedding took."""
    frames = len(_frame_sample(ground, ground.found.judged, FRAMES))
    return _predicted(ground.material, frames, min(2 * EACH, int(ground.found.judged.sum())))


def inspect(ground: Ground, answer: Answer, seconds_left: float) -> Inspected:
    """Look at some of the pictures again: at most 200 for blur, 160 for what their frame tells.

    Never raises for what pictures or the machine may do; `skipped` says what is missing. Without enough `seconds_left`
    fewer pictures are looked at, or none; infinite: all, so that two runs agree.
    """
    started = time.perf_counter()
    room = min(seconds_left, LONGEST) if np.isfinite(seconds_left) else np.inf
    rows = _blur_sample(ground, answer)
    frames = _frame_sample(ground, answer.judged, _affordable(ground.material, len(rows), room))
    seen, frame, why = _Seen({}, {}), None, ""
    if not len(rows):
        why = "nothing was held out"
    elif _predicted(ground.material, len(frames), len(rows)) > room:
        why = "no time left"
    else:
        try:
            seen = _look_again(ground, rows, frames, started + room)
            frame = _frame(ground, seen.squares, started + room)
        except _OutOfTimeError:
            why = "it would have taken too long"
        except (HeadstartError, ImportError, OSError, MemoryError, RuntimeError, ValueError) as error:
            why = str(error).strip() or type(error).__name__
    skipped = [f"blur and background were not looked at: {why}"] if why else []
    if not why and frame is None:
        skipped.append(
            "whether the background gives classes away was not looked at: too few pictures, or too little time"
        )
    return Inspected(
        odd=_odd(ground, answer, seen.blur),
        blank=tuple(int(i) for i in np.flatnonzero(ground.material.blank[ground.material.learn])),
        frame=frame,
        skipped=tuple(skipped),
        seconds=time.perf_counter() - started,
    )


def inspected(ground: Ground, answer: Answer, seconds_left: float, interrupted: bool) -> tuple[Inspected, bool]:
    """`inspect`; the first Ctrl-C leaves it undone, a second one is raised. Last: whether there was one."""
    if interrupted:
        return Inspected(skipped=("blur and background were not looked at: interrupted",)), True
    try:
        return inspect(ground, answer, seconds_left), False
    except KeyboardInterrupt:
        return Inspected(skipped=("blur and background were not looked at: interrupted",)), True


def _blur_sample(ground: Ground, answer: Answer) -> Rows:
    """Mistakes, and as many right ones: what tells the two apart needs both, not a picture of the whole."""
    rng = np.random.default_rng(ground.seed)
    wrong = answer.logits.argmax(axis=1) != ground.material.labels
    parts = [np.flatnonzero(answer.judged & wrong), np.flatnonzero(answer.judged & ~wrong)]
    return np.sort(np.concatenate([rng.permutation(part)[:EACH] for part in parts]))


def _frame_sample(ground: Ground, judged: NDArray[np.bool_], most: int) -> Rows:
    """As many pictures of each class as there are, at most `most`; of many classes some."""
    rng = np.random.default_rng([ground.seed, 1])
    labels = ground.material.labels
    judged = judged & (ground.split.folds[0] >= 0) if ground.split.count else np.zeros(len(labels), bool)
    counts = np.bincount(labels[judged], minlength=ground.n_classes)
    classes = rng.permutation(np.flatnonzero(counts >= OF_A_CLASS))[:MOST_CLASSES]
    if len(classes) < 2 or most < FEWEST_FRAMES:
        return np.zeros(0, np.int64)
    each = max(OF_A_CLASS, most // len(classes))
    picked = [rng.permutation(np.flatnonzero(judged & (labels == k)))[:each] for k in classes]
    rows = np.sort(np.concatenate(picked))
    return rows if len(rows) >= FEWEST_FRAMES else rows[:0]


def _rate(material: Material) -> float:
    """Pictures a second through decoding and the network, from what embedding measured."""
    facts = material.embeddings.facts
    network = facts.engine.images_per_second if facts.engine else None
    if not network:
        return SLOW
    decoding = facts.times.decode / (facts.times.cores * facts.computed) if facts.computed else 0.0
    return 0.8 / (1.0 / network + decoding)


def _predicted(material: Material, frames: int, others: int) -> float:
    """Seconds for the frames (through the network twice at most) and for pictures that are only looked at."""
    return START + (2 * frames + _glance(material) * others) / _rate(material)


def _glance(material: Material) -> float:
    """What looking at a picture costs of a pass through the network: decoding those whose square was not kept."""
    kept = len(material.embeddings.squares.kept) / max(1, len(material.embeddings))
    return 0.5 * (1.0 - min(1.0, kept))


def _affordable(material: Material, others: int, room: float) -> int:
    """How many frames fit into `room` seconds."""
    return int(min(FRAMES, max(0.0, ((room - START) * _rate(material) - _glance(material) * others) / 2)))


def _look_again(ground: Ground, rows: Rows, frames: Rows, deadline: float) -> _Seen:
    """See both samples once: blur of `rows`, the squares of `frames`. What cannot be read any more is left out."""
    material, preprocessing = ground.material, ground.backbone.preprocessing
    for_blur, for_frame = set(rows.tolist()), set(frames.tolist())
    seen = _Seen({}, {})

    def load(row: int) -> None:
        if time.perf_counter() > deadline:
            raise _OutOfTimeError
        own = int(material.learn[row])
        pixels = material.embeddings.squares.picture(own, material.samples.sources[own], preprocessing).pixels
        if row in for_blur:
            seen.blur[row] = blur(pixels)
        if row in for_frame:
            seen.squares[row] = pixels

    for _ in stream(np.union1d(rows, frames).tolist(), load, _no_engine):
        pass
    return seen


def _no_engine() -> Engine:
    raise RuntimeError("nothing is sent to the network while pictures are only decoded")


def _odd(ground: Ground, answer: Answer, blurs: dict[int, float]) -> tuple[Oddity, ...]:
    """Odd pictures that are wrong more often; blur is known of the sample only, the rest of every picture."""
    material, n = ground.material, len(ground.material.learn)
    wrong = answer.logits.argmax(axis=1) != material.labels
    whole = Outcome(wrong, answer.judged, material.labels)
    sizes = material.embeddings.sizes[material.learn]
    found = [(trait, whole) for trait in light_and_size(material.light[material.learn], sizes)]
    if blurs:
        values = np.full(n, np.nan)
        values[list(blurs)] = list(blurs.values())
        found.append((Trait("blurred", values, 1, 0.1, usual=~wrong), _weighed(whole, np.isfinite(values))))
    return oddities(found)


def _weighed(whole: Outcome, looked_at: NDArray[np.bool_]) -> Outcome:
    """Every picture looked at stands for as many as there are of its kind, wrong or right."""
    weights = np.zeros(len(looked_at))
    for kind in (whole.wrong, ~whole.wrong):
        sampled = looked_at & kind & whole.known
        if sampled.any():
            weights[sampled] = (kind & whole.known).sum() / sampled.sum()
    return replace(whole, known=whole.known & looked_at, weights=weights)


def _frame(ground: Ground, squares: dict[int, Pixels], deadline: float) -> FrameAlone | None:
    """What the frames of `squares` tell: to a head of their own, and to one that learned from whole pictures.

    The second is asked only where the first was told much: it costs every picture another pass.
    """
    rows = np.array(sorted(squares), np.int64)
    if len(rows) < FEWEST_FRAMES:
        return None
    classes, labels = np.unique(ground.material.labels[rows], return_inverse=True)
    folds = ground.split.folds[0, rows]
    if len(classes) < 2 or not _can_be_judged(labels, folds):
        return None
    engine = exact_engine(ground.backbone, [depth.name for depth in ground.backbone.depths])
    pictures = [squares[row] for row in rows.tolist()]
    whole = [matrix.astype(np.float32) for matrix in ground.material.matrices(ground.material.learn[rows])]
    frames = _vectors(engine, ground, [frame_alone(pixels) for pixels in pictures], deadline)
    of_frames = _answers(frames, (frames,), labels, folds)[0]
    of_whole = _answers(whole, (whole,), labels, folds)[0]
    frame = FrameAlone(
        n=len(rows),
        classes=len(classes),
        area=frame_area(),
        top1=float((of_frames == labels).mean()),
        whole=float((of_whole == labels).mean()),
        baseline=float(np.bincount(labels).max() / len(rows)),
    )
    if not tells_classes(frame):
        return frame
    partners = _partners(labels, folds, ground.seed)
    swapped = [frame_around(pixels, pictures[k]) for pixels, k in zip(pictures, partners, strict=True)]
    of_swaps = _answers(whole, (_vectors(engine, ground, swapped, deadline),), labels, folds)[0]
    return replace(
        frame,
        follows_frame=float((of_swaps == labels).mean()),
        follows_middle=float((of_swaps == labels[partners]).mean()),
    )


def _partners(labels: Rows, folds: Rows, seed: int) -> Rows:
    """For every picture another of another class, of the same fold where there is one: its middle is unknown too."""
    rng = np.random.default_rng([seed, 2])
    chosen = np.empty(len(labels), np.int64)
    for i in range(len(labels)):
        others = np.flatnonzero(labels != labels[i])
        same = others[folds[others] == folds[i]]
        chosen[i] = rng.choice(same if len(same) else others)
    return chosen


def _vectors(engine: Engine, ground: Ground, pictures: list[Pixels], deadline: float) -> list[FloatArray]:
    """Vectors of every depth, `(n, d)` each."""
    rows: dict[str, list[FloatArray]] = {depth.name: [] for depth in ground.backbone.depths}
    size = engine.batch
    batches = ((k, np.stack(pictures[k : k + size])) for k in range(0, len(pictures), size))
    for _, outputs in engine.stream(batches):
        if time.perf_counter() > deadline:
            raise _OutOfTimeError
        for name, parts in rows.items():
            parts.append(outputs[name])
    return [np.concatenate(parts) for parts in rows.values()]


def _answers(
    matrices: Sequence[FloatArray], judged: Sequence[Sequence[FloatArray]], labels: Rows, folds: Rows
) -> list[Rows]:
    """Classes `(n,)` that heads learned from the other folds of `matrices` give to each set of vectors in `judged`."""
    task = Task(columns_of(matrices), labels, int(labels.max()) + 1, folds[None])
    depths = evened(tuple(range(len(matrices))), [m.shape[1] for m in matrices], 0.5)
    answers = [np.empty(len(labels), np.int64) for _ in judged]
    for fold in np.unique(folds):
        held = folds == fold
        head = fit_head(task, depths, "ridge", PENALTY, np.flatnonzero(~held))
        for found, vectors in zip(answers, judged, strict=True):
            found[held] = head.logits(np.concatenate([v[held] for v in vectors], axis=1)).argmax(axis=1)
    return answers


def _can_be_judged(labels: Rows, folds: Rows) -> bool:
    """Whether every fold's training side holds all classes."""
    return all(len(np.unique(labels[folds != f])) == len(np.unique(labels)) for f in np.unique(folds))
