"""A worker that trains: it reads and decodes its own pictures, keeps their activations, and does one task or many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headstart.finetune.memory import keep_memory_if_roomy, wait_politely
from headstart.finetune.room import memory_room
from headstart.finetune.together import PIXELS, cuts_together
from headstart.images.open import Source
from headstart.scaling.train_job import (
    CHECKPOINTS,
    Pictures,
    TrainGround,
    TrainTask,
    fingerprint,
    has_result,
    read_job,
    write_result,
)

if TYPE_CHECKING:
    from headstart.finetune.cutcache import CutCache
    from headstart.finetune.group import Group
    from headstart.finetune.loop import Activations, Course
    from headstart.finetune.parallel import Saving
    from headstart.finetune.tail import Tail

Told = Callable[[int, int], None]  # (epoch, steps so far), after every optimizer step
EVERY = 100  # optimizer steps between checkpoints


def run_job(folder: Path, every: int = EVERY, tell: Told | None = None) -> None:
    """Do the job in `folder`, or go on with it, together with the other processes of the group; rank 0 leaves a result.

    The group is that of torchrun or of Ray Train, or this process alone (`finetune.group.joined`). Raises MachineError,
    DataError (a picture is gone), DivergedError, MemoryError, and RuntimeError when another worker died.
    """
    wait_politely()
    from headstart.finetune.checkpoint import Checkpoints
    from headstart.finetune.group import joined
    from headstart.finetune.parallel import Saving

    with joined() as group:
        ground, task = read_job(folder)
        if group.least(int(has_result(folder))):
            return
        worker = TrainWorker(ground, group)
        saving = Saving(Checkpoints(folder / CHECKPOINTS, fingerprint(folder)), every)
        tail, course = worker.train(task, saving, tell)
        if group.rank == 0:
            write_result(folder, tail, course)
        group.least(1)  # nobody leaves while the result is being written


class TrainWorker:
    """One worker of `group` for all tasks on one ground. The network and the activations are made when first needed."""

    def __init__(self, ground: TrainGround, group: Group | None = None) -> None:
        from headstart.finetune.group import Group

        self.ground, self.group = ground, group or Group()
        self._backbone = ground.open()
        self._network: Any = None
        self._caches: dict[int, CutCache] = {}

    def train(self, task: TrainTask, saving: Saving | None = None, tell: Told | None = None) -> tuple[Tail, Course]:
        """One training, together with the group. Raises as `run_job`."""
        from headstart.finetune.loop import Lesson
        from headstart.finetune.parallel import train_together

        if self._network is None:
            self._network = self._backbone.torch_module()
        tail = task.tail(self._network, self.ground.depths).to(self.group.device)
        if tail.cut == PIXELS:
            keep_memory_if_roomy()
        lesson = Lesson(self.activations(tail.cut), self.ground.labels, task.rows, task.held)
        return tail, train_together(tail, lesson, task.recipe, self.group, saving, tell)

    def activations(self, cut: int) -> Activations:
        """The worker's share of the activations at `cut`. MemoryError when they have no room."""
        from headstart.finetune.parallel import Owned

        cache = self._caches.get(cut) or self._filled(cut)
        group = self.group
        return cache if group.size == 1 else Owned(cache, group, group.least(len(cache.views(cut))))

    def _filled(self, cut: int) -> CutCache:
        from headstart.finetune.cutcache import CutOptions, build_cut_cache

        ground, group = self.ground, self.group
        room = None if group.here == 1 else memory_room() // group.here
        cuts = [cut] if group.size > 1 else cuts_together(cut, len(self._backbone.depths))
        mine = Pictures(ground.uris[group.rank :: group.size])
        options = CutOptions(limit_bytes=room, head_depths=ground.depths)
        cache = build_cut_cache(cast(Sequence[Source], mine), self._backbone, cuts, ground.views, options)
        self._caches |= dict.fromkeys(cache.cuts, cache)
        if cut not in self._caches:
            raise MemoryError(f"no room for the activations at cut {cut}")
        return self._caches[cut]
