"""Training on several workers: the loop of `loop.train`, its gradients summed over workers, its state kept in files.

Each step's gradients are summed by one explicit all-reduce instead of DistributedDataParallel: a worker's share of a
batch depends on which of its pictures it owns and may be empty, a backward pass that ran out of memory is done again in
smaller parts before anything is sent, and the sum tells every worker of one worker's NaN. The trained part of a network
is small, so hiding the transfer behind the backward pass (what DDP is for) would gain little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headstart.finetune.adam import MOMENTS, Adam
from headstart.finetune.checkpoint import Checkpoint, Checkpoints
from headstart.finetune.group import Group
from headstart.finetune.loop import (
    Activations,
    Course,
    DivergedError,
    IntArray,
    Lesson,
    autocast,
    even_part,
    halved,
    logits_of,
    trained_at_once,
)
from headstart.finetune.schedule import Average, Recipe, average_decay, full_rates, share_of_rate
from headstart.finetune.tail import Tail

ALONE = Group()


@dataclass(frozen=True)
class Saving:
    """Where checkpoints go and after how many optimizer steps; a last one is made at the end."""

    checkpoints: Checkpoints
    every: int = 100


@dataclass(frozen=True)
class Owned:
    """Activations of the pictures that one worker owns, asked for by their number among all.

    `agreed`: how many views every worker has room for.
    """

    activations: Activations
    group: Group
    agreed: int

    def batch(self, cut: int, rows: IntArray, views_of_rows: IntArray) -> tuple[NDArray[Any], NDArray[np.float16]]:
        """As `CutCache.batch`; ValueError for a picture of another worker."""
        if not self.group.owned(np.asarray(rows)).all():
            raise ValueError(f"worker {self.group.rank} was asked for pictures it does not own")
        return self.activations.batch(cut, np.asarray(rows) // self.group.size, views_of_rows)

    def views(self, cut: int) -> tuple[Any, ...]:
        """The views that all workers have."""
        return self.activations.views(cut)[: self.agreed]


def train_together(
    tail: Tail,
    lesson: Lesson,
    recipe: Recipe,
    group: Group = ALONE,
    saving: Saving | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Course:
    """Train `tail` as `loop.train` does, on one worker or on the same batches divided over several.

    Every worker calls it with the same arguments but its own part of the activations (`Owned`), and gets the same
    course. One worker gives the bits of `loop.train`; several give the same steps up to the order of sums. With
    `saving`, a training that was killed goes on from its newest complete checkpoint and, on as many workers, ends with
    the bits of an undisturbed one, unless memory ran short (gradients are then summed in smaller parts).

    Raises as `loop.train`, on every worker; MachineError when a checkpoint cannot be written or is not visible;
    ValueError for several workers from scratch: BatchNorm would see each worker's part of a batch.
    `tell(epoch, steps)` is called after every optimizer step.
    """
    running = _Together(tail, lesson, recipe, group)
    if saving is not None:
        running.go_on(saving)
    for epoch in range(running.at, recipe.epochs):
        running.epoch(epoch, saving, tell)
    return running.ended(saving)


class _Together:
    def __init__(self, tail: Tail, lesson: Lesson, recipe: Recipe, group: Group) -> None:
        self.tail, self.lesson, self.recipe, self.group = tail, lesson, recipe, group
        self.scratch = bool(tail.network.scratch)
        if self.scratch and group.size > 1:
            raise ValueError("from scratch only one worker can train")
        self.at, self.done, self.steps = 0, 0, 0  # position: epoch, steps of it, steps of all
        self._since = time.perf_counter()
        self._seconds: list[float] = []
        self._logits: list[NDArray[np.float32]] = []
        self._average = Average(tail)
        self._live = {name: p for name, p in tail.named_parameters() if p.requires_grad}
        self._start = {name: p.detach().clone() for name, p in self._live.items()}
        self._optimizer = Adam(full_rates(tail, recipe))
        self._random = np.random.default_rng([recipe.seed, 1])
        self._drawn: Any = None  # the state of `_random` before this epoch's order was drawn
        self._batch = trained_at_once(tail, min(recipe.batch, len(lesson.rows)))

    def epoch(self, number: int, saving: Saving | None, tell: Callable[[int, int], None] | None) -> None:
        """What is left of an epoch, then the held rows."""
        self.tail.train(self.scratch)
        self._drawn = self._random.bit_generator.state
        rows = self._random.permutation(self.lesson.rows)
        views = self._random.integers(0, len(self.lesson.activations.views(self.tail.cut)), len(rows))
        per_epoch = ceil(len(rows) / self.recipe.batch)
        parts = np.array_split(np.arange(len(rows)), per_epoch)
        for part in parts[self.done :]:
            share = share_of_rate(self.steps, per_epoch, self.recipe)
            self._step(rows[part], views[part], share)
            self.steps, self.done = self.steps + 1, self.done + 1
            self._average.update(0.0 if self.scratch else average_decay(self.steps, per_epoch))
            if saving is not None and self.steps % saving.every == 0:
                self._save(saving)
            if tell is not None:
                tell(number, self.steps)
        if len(self.lesson.held):
            self._average.swap()
            self._logits.append(self._judged())
            self._average.swap()
        self._seconds.append(time.perf_counter() - self._since)
        self.at, self.done = number + 1, 0

    def ended(self, saving: Saving | None) -> Course:
        """The averaged weights in the tail, and how it went."""
        if saving is not None and self.group.rank == 0 and saving.checkpoints.latest() != self.steps:
            self._drawn = self._random.bit_generator.state
            self._save(saving)
        self._average.swap()
        blend = None
        if len(self.lesson.held) and not self.scratch:
            end = {name: p.detach().clone() for name, p in self._live.items()}
            self._halfway()
            blend = self._judged()
            for name, parameter in self._live.items():
                parameter.data.copy_(end[name])
        if self.recipe.blend:
            self._halfway()
        self.tail.eval()
        shape = (self.recipe.epochs, 0, self.tail.head.out_features)
        logits = np.stack(self._logits) if self._logits else np.zeros(shape, np.float32)
        return Course(logits, blend, np.array(self._seconds), self.steps, self.tail.trained())

    def _step(self, rows: IntArray, views: IntArray, share: float) -> None:
        """One optimizer step: the gradient of this worker's pictures, summed over the workers."""
        self._optimizer.zero_grad()
        own = self.group.owned(rows)
        mine, views, found, done = rows[own], views[own], torch.zeros((), device=self.tail.device), 0
        while done < len(mine):
            part = slice(done, min(done + even_part(len(mine), self._batch), len(mine)))
            try:
                loss = self._loss(mine[part], views[part]) * ((part.stop - done) / len(rows))
                loss.backward()
            except (RuntimeError, MemoryError) as error:
                self._batch = halved(min(self._batch, part.stop - done), error)
                self._optimizer.zero_grad()
                found, done = torch.zeros_like(found), 0
                continue
            found, done = found + loss.detach(), part.stop
        if not torch.isfinite(self._summed(found)):
            raise DivergedError("the loss became NaN")
        norm = torch.nn.utils.clip_grad_norm_(self.tail.parameters(), self.recipe.clip)
        if not torch.isfinite(norm):  # the step would make every weight NaN, after the last loss unseen
            raise DivergedError("the gradient became NaN")
        self._optimizer.step(share)

    def _loss(self, rows: IntArray, views: IntArray) -> Tensor:
        arrays = self.lesson.activations.batch(self.tail.cut, rows, views)
        maps, vectors = (torch.from_numpy(array).to(self.tail.device) for array in arrays)
        target = torch.from_numpy(np.ascontiguousarray(self.lesson.labels[rows], dtype=np.int64)).to(maps.device)
        with autocast(self.recipe.precision, maps.device.type):
            logits = self.tail(maps, vectors)
        return functional.cross_entropy(logits.float(), target)

    def _summed(self, loss: Tensor) -> Tensor:
        """The loss over all workers; gradients are replaced by their sums. A parameter no worker used keeps none."""
        if self.group.size == 1:
            return loss
        parameters = list(self._live.values())
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), used, *(grad.reshape(-1) for grad in grads)])
        self.group.add(flat)
        sizes = [1, len(parameters), *(p.numel() for p in parameters)]
        total, used, *sums = flat.split(sizes)
        for parameter, grad, by, value in zip(parameters, grads, used.tolist(), sums, strict=True):
            parameter.grad = grad.copy_(value.view(parameter.shape)) if by else None
        return total[0]

    def _judged(self) -> NDArray[np.float32]:
        """Logits of the held rows with the weights as they are: each worker its own, then put together."""
        held = self.lesson.held
        own = self.group.owned(held)
        logits = logits_of(self.tail, self.lesson.activations, held[own])
        if self.group.size == 1:
            return logits
        found = torch.zeros((len(held), logits.shape[1]), device=self.tail.device)
        found[torch.from_numpy(own)] = torch.from_numpy(logits).to(self.tail.device)
        self.group.add(found)
        together: NDArray[np.float32] = found.cpu().numpy()
        return together

    def _halfway(self) -> None:
        for name, parameter in self._live.items():
            parameter.data.lerp_(self._start[name], 0.5)

    def go_on(self, saving: Saving) -> None:
        """Take up the newest complete checkpoint, the same on every worker; without one nothing changes."""
        step = self.group.most(saving.checkpoints.latest() if self.group.rank == 0 else -1)
        if step < 0:
            return
        self._restore(saving.checkpoints.read(step))

    def _save(self, saving: Saving) -> None:
        """The first worker writes; all have the same state. The others need not wait: only it names what is newest."""
        if self.group.rank != 0:
            return
        position = {
            "epoch": self.at,
            "done": self.done,
            "steps": self.steps,
            "random": self._drawn,
            "seconds": self._seconds,
            "spent": time.perf_counter() - self._since,
            "workers": self.group.size,
        }
        saving.checkpoints.save(self.steps, self._state(), position)

    def _state(self) -> dict[str, Tensor]:
        state = {f"live.{name}": p.detach().clone() for name, p in self._live.items()}
        self._average.swap()
        state |= {f"mean.{name}": p.detach().clone() for name, p in self._live.items()}
        self._average.swap()
        for name, parameter in self._live.items():
            kept = self._optimizer.state.get(parameter, {})
            state |= {f"{moment}.{name}": kept[moment] for moment in MOMENTS if moment in kept}
        if self.scratch:  # statistics of BatchNorm, and what dropout draws
            state |= {f"buffer.{name}": buffer for name, buffer in self.tail.named_buffers()}
            state["random"] = torch.get_rng_state()
        if self._logits:
            state["logits"] = torch.from_numpy(np.stack(self._logits))
        return state

    def _restore(self, checkpoint: Checkpoint) -> None:
        state, position = checkpoint.tensors, checkpoint.position
        self._put("mean", state)
        self._average = Average(self.tail)
        self._put("live", state)
        for name, parameter in self._live.items():
            found = {moment: state[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in state}
            for moment, value in found.items():
                like = parameter if value.shape == parameter.shape else value.to(parameter.device)
                self._optimizer.state.setdefault(parameter, {})[moment] = torch.empty_like(like).copy_(value)
        if self.scratch:
            for name, buffer in self.tail.named_buffers():
                buffer.copy_(state[f"buffer.{name}"])
            torch.set_rng_state(state["random"])
        self.at, self.done, self.steps = position["epoch"], position["done"], position["steps"]
        self._random.bit_generator.state = position["random"]
        self._seconds = list(position["seconds"])
        self._since = time.perf_counter() - position["spent"]
        self._logits = list(state["logits"].numpy()) if "logits" in state else []

    def _put(self, what: str, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._live.items():
                parameter.copy_(state[f"{what}.{name}"])
