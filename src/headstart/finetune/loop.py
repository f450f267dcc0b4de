"""The training loop: batches of cached activations in, averaged weights and held-out logits per epoch out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart import interrupts
from headstart.finetune.adam import Adam
from headstart.finetune.schedule import Average, Recipe, average_decay, full_rates, share_of_rate
from headstart.finetune.tail import Tail, Trained
from headstart.finetune.together import PIXELS

IntArray = NDArray[np.integer]
JUDGED_AT_ONCE = 16  # by 64 last-3 took 226 pictures a second instead of 279, last-1 1542 instead of 1365 (by hand)
WHOLE_AT_ONCE = 8


class Activations(Protocol):
    """Where batches come from (`CutCache`)."""

    def batch(self, cut: int, rows: IntArray, views_of_rows: IntArray) -> tuple[NDArray[Any], NDArray[np.float16]]:
        """Maps `(m, h, w, c)` (cut 0: uint8 pixels) and vectors `(m, d)` of `rows`, each through its view."""

    def views(self, cut: int) -> tuple[Any, ...]:
        """The views at this cut; the first is the picture itself."""


@dataclass(frozen=True)
class Lesson:
    """What is learned: `activations`, `labels` `(n,)`, `rows` to train on, and rows to judge after every epoch."""

    activations: Activations
    labels: IntArray
    rows: IntArray
    held: IntArray


@dataclass(frozen=True)
class Course:
    """How it went: `logits` float32 `(E, m, K)` of the averaged weights on the held rows, `seconds` `(E,)`, `steps`.

    `blend`: logits halfway between the weights at the start and at the end (WiSE-FT, Wortsman et al. 2022).
    `trained`: the averaged weights at the end.
    """

    logits: NDArray[np.float32]
    blend: NDArray[np.float32] | None
    seconds: NDArray[np.float64]
    steps: int
    trained: Trained


class DivergedError(ArithmeticError):
    """The loss is not a finite number any more."""


def train(tail: Tail, lesson: Lesson, recipe: Recipe, tell: Callable[[int], None] | None = None) -> Course:
    """Train `tail` for `recipe.epochs` epochs and leave the averaged weights in it.

    What is before the cut and every BatchNorm stay as they are. A recipe with `blend` ends halfway back to the start.

    DivergedError when the loss is no number; MemoryError when even batches of one do not fit; KeyboardInterrupt, after
    the epoch at the latest (`interrupts`).
    `tell(epoch)` is called after every epoch.
    """
    return Training(tail, lesson, recipe).whole(tell)


class Training:
    """A training that can go on: rate and averaging are constant, so more epochs are the same recipe for longer."""

    def __init__(self, tail: Tail, lesson: Lesson, recipe: Recipe) -> None:
        self.tail, self.lesson, self.recipe = tail, lesson, recipe
        self.average = Average(tail)
        self.scratch = bool(tail.network.scratch)
        self.steps = 0
        self._live = {name: p for name, p in tail.named_parameters() if p.requires_grad}
        self._start = {name: p.detach().clone() for name, p in self._live.items()}
        self._optimizer = Adam(full_rates(tail, recipe))
        self._random = np.random.default_rng([recipe.seed, 1])
        self._batch = trained_at_once(tail, min(recipe.batch, len(lesson.rows)))
        self._logits: list[NDArray[np.float32]] = []
        self._seconds: list[float] = []

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self._seconds)

    def whole(self, tell: Callable[[int], None] | None = None) -> Course:
        """All epochs of the recipe, and its blend."""
        course = self.further(self.recipe.epochs, tell)
        if not self.recipe.blend:
            return course
        self.halfway()
        return replace(course, trained=self.tail.trained())

    def further(self, epochs: int, tell: Callable[[int], None] | None = None) -> Course:
        """So many epochs more, from where the last ones ended; the course from the beginning. Raises as `train`.

        Leaves the averaged weights in the tail: after an error in later epochs those of the last call. The blend is
        judged once, after the first epochs.
        """
        done = len(self._seconds)
        if done == 0:
            self._train(epochs, tell)
            blend = self.blend() if len(self.lesson.held) and not self.scratch else None
            self.average.swap()
        else:
            blend, rest = None, {name: p.detach().clone() for name, p in self._live.items()}
            self.average.swap()  # back to the weights that learn
            try:
                self._train(epochs, tell)
                self.average.swap()
            except BaseException:
                for name, parameter in self._live.items():
                    parameter.data.copy_(rest[name])
                self.tail.eval()
                raise
        self.tail.eval()
        shape = (len(self._seconds), 0, self.tail.head.out_features)
        logits = np.stack(self._logits) if self._logits else np.zeros(shape, np.float32)
        return Course(logits, blend, np.array(self._seconds), self.steps, self.tail.trained())

    def release(self) -> None:
        """Forget what only further epochs or halfway weights would need: four times the size of what is trained."""
        self._optimizer.state.clear()
        self._start.clear()
        self.average.forget()

    def _train(self, epochs: int, tell: Callable[[int], None] | None) -> None:
        began, before = time.perf_counter(), interrupts.asked()
        done, spent = len(self._seconds), self._seconds[-1] if self._seconds else 0.0
        for epoch in range(done, done + epochs):
            self.epoch(epoch)
            if len(self.lesson.held):
                self._logits.append(self.judge())
            self._seconds.append(spent + time.perf_counter() - began)
            interrupts.raise_if_asked(before)
            if tell is not None:
                tell(epoch)

    def epoch(self, number: int) -> None:
        """Every row once, in random order, each through a random view."""
        self.tail.train(self.scratch)
        rows = self._random.permutation(self.lesson.rows)
        views = self._random.integers(0, len(self.lesson.activations.views(self.tail.cut)), len(rows))
        per_epoch = ceil(len(rows) / self.recipe.batch)
        # even batches: a last one of two pictures would be mostly noise
        for part in np.array_split(np.arange(len(rows)), per_epoch):
            share = share_of_rate(self.steps, per_epoch, self.recipe)
            self._step(rows[part], views[part], share)
            self.steps += 1
            self.average.update(0.0 if self.scratch else average_decay(self.steps, per_epoch))

    def _step(self, rows: IntArray, views: IntArray, share: float) -> None:
        """One optimizer step; its gradient is summed over parts, smaller ones when memory is short."""
        self._optimizer.zero_grad()
        done = 0
        while done < len(rows):
            part = slice(done, min(done + even_part(len(rows), self._batch), len(rows)))
            try:
                loss = self._loss(rows[part], views[part]) * ((part.stop - done) / len(rows))
                loss.backward()
            except (RuntimeError, MemoryError) as error:
                self._batch = halved(min(self._batch, part.stop - done), error)
                self._optimizer.zero_grad()
                done = 0
                continue
            if not torch.isfinite(loss.detach()):
                raise DivergedError("the loss became NaN")
            done = part.stop
        norm = torch.nn.utils.clip_grad_norm_(self.tail.parameters(), self.recipe.clip)
        if not torch.isfinite(norm):  # the step would make every weight NaN, after the last loss unseen
            raise DivergedError("the gradient became NaN")
        self._optimizer.step(share)

    def _loss(self, rows: IntArray, views: IntArray) -> Tensor:
        maps, vectors = self._inputs(rows, views)
        target = torch.from_numpy(np.ascontiguousarray(self.lesson.labels[rows], dtype=np.int64)).to(maps.device)
        with autocast(self.recipe.precision, maps.device.type):
            logits = self.tail(maps, vectors)
        return functional.cross_entropy(logits.float(), target)

    def judge(self) -> NDArray[np.float32]:
        """Logits of the held rows with the averaged weights, in fp32."""
        self.average.swap()
        try:
            return logits_of(self.tail, self.lesson.activations, self.lesson.held)
        finally:
            self.average.swap()

    def blend(self) -> NDArray[np.float32]:
        """Logits of the held rows with weights halfway between the start and the average."""
        self.average.swap()
        end = {name: p.detach().clone() for name, p in self._live.items()}
        self.halfway()
        found = logits_of(self.tail, self.lesson.activations, self.lesson.held)
        for name, parameter in self._live.items():
            parameter.data.copy_(end[name])
        self.average.swap()
        return found

    def halfway(self) -> None:
        """Move the weights, as they are now, halfway back to the start."""
        for name, parameter in self._live.items():
            parameter.data.lerp_(self._start[name], 0.5)

    def _inputs(self, rows: IntArray, views: IntArray) -> tuple[Tensor, Tensor]:
        maps, vectors = self.lesson.activations.batch(self.tail.cut, rows, views)
        return torch.from_numpy(maps).to(self.tail.device), torch.from_numpy(vectors).to(self.tail.device)


def trained_at_once(tail: Tail, batch: int) -> int:
    """Pictures of a `batch` that go through `tail` together; the gradients of its parts are summed.

    On the processor eight through a whole network: as fast as sixteen (bf16, 37 a second instead of 36, medians of two
    processes each) with 397 instead of 650 MB above what was there; by fours 33 with 257 (by hand, two cores, when
    ReLU6 remembered a copy of its input). From scratch BatchNorm needs all.
    """
    if tail.cut != PIXELS or tail.network.scratch or tail.device.type != "cpu":
        return batch
    return min(batch, WHOLE_AT_ONCE)


def even_part(n: int, most: int) -> int:
    """The size of parts of `n` pictures, `most` at once: as even as can be, since other sizes need other memory."""
    return ceil(n / ceil(n / most))


def judged_at_once(tail: Tail) -> int:
    """Pictures that go through `tail` together in fp32, where nothing is remembered.

    Eight through a whole network on the processor are as fast as sixteen (94 to 107 and 88 to 113 a second), and where
    eight were judged after every epoch instead of sixteen, training norms took 403 to 456 MB instead of 592 to 595 and
    everything 340 to 343 instead of 431 to 524 (EfficientNet-Lite0, four processes each, by hand).
    """
    return WHOLE_AT_ONCE if tail.cut == PIXELS and tail.device.type == "cpu" else JUDGED_AT_ONCE


def logits_of(tail: Tail, activations: Activations, rows: IntArray) -> NDArray[np.float32]:
    """Float32 logits `(m, K)` of `rows` as they are (view 0), in fp32, nothing is recorded for training.

    MemoryError when not even one picture fits.
    """
    tail.eval()
    found = np.zeros((len(rows), tail.head.out_features), np.float32)
    at, size = 0, judged_at_once(tail)
    with torch.inference_mode():
        while at < len(rows):
            some = rows[at : at + size]
            try:
                maps, vectors = activations.batch(tail.cut, some, np.zeros(len(some), np.int64))
                inputs = (torch.from_numpy(array).to(tail.device) for array in (maps, vectors))
                found[at : at + size] = tail(*inputs).float().cpu().numpy()
            except (RuntimeError, MemoryError) as error:
                size = halved(len(some), error)
                continue
            at += len(some)
    return found


def autocast(precision: str, device: str = "cpu") -> Any:
    """The context a forward pass runs in."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def halved(batch: int, error: BaseException) -> int:
    """Half of a `batch` that did not fit into memory. MemoryError after a batch of one; any other `error` is raised."""
    if not out_of_memory(error):
        raise error
    if batch == 1:
        raise MemoryError("out of memory") from error
    return batch // 2


def out_of_memory(error: BaseException) -> bool:
    """Whether torch, oneDNN or Python ran out of memory (torch says so in a RuntimeError's text only)."""
    text = str(error).lower()
    signs = (
        "can't allocate memory",
        "not enough memory",
        "out of memory",
        "bad_alloc",
        "cannot allocate memory",
        "could not create a ",
        "resource temporarily unavailable",
    )  # oneDNN's ways; a thread without a stack
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)
