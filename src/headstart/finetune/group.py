"""The workers that train one network together: none but this process, those of torchrun, or those of Ray Train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from headstart.errors import MachineError

PATIENCE = timedelta(minutes=30)  # a worker may decode its share of the pictures while the others wait


@dataclass(frozen=True)
class Group:
    """A worker: its `rank` among `size`; `here` of them share its machine; it trains on `device`.

    Picture i belongs to worker i mod `size`: only that one decodes it, keeps its activations and computes its gradient.
    """

    rank: int = 0
    size: int = 1
    here: int = 1
    device: str = "cpu"

    def owned(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of the pictures `rows` `(m,)` are this worker's."""
        mine: NDArray[np.bool_] = rows % self.size == self.rank
        return mine

    def add(self, tensor: Tensor) -> None:
        """Make `tensor` the sum over all workers, in place; the same bits on each, and again in another run."""
        if self.size > 1:
            distributed.all_reduce(tensor)

    def least(self, number: int) -> int:
        """The smallest of the workers' numbers."""
        return self._agreed(number, distributed.ReduceOp.MIN)

    def most(self, number: int) -> int:
        """The largest of the workers' numbers."""
        return self._agreed(number, distributed.ReduceOp.MAX)

    def _agreed(self, number: int, how: Any) -> int:
        if self.size == 1:
            return number
        tensor = torch.tensor([number], dtype=torch.int64, device=self.device)
        distributed.all_reduce(tensor, how)
        return int(tensor.item())


@contextmanager
def joined() -> Iterator[Group]:
    """The group this process was started in: by torchrun (its environment), by Ray Train (begun already), or alone.

    Gloo on processors, NCCL where there is CUDA. MachineError when the others cannot be reached.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if distributed.is_available() and distributed.is_initialized():
        yield Group(distributed.get_rank(), distributed.get_world_size(), here, device_of_this_process())
    elif {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        device = device_of_this_process(int(os.environ.get("LOCAL_RANK", "0")))
        try:
            _begin("nccl" if device.startswith("cuda") else "gloo")
        except (RuntimeError, ValueError) as error:
            raise MachineError(
                f"the other workers cannot be reached ({error}): is every machine's torchrun up?"
            ) from None
        try:
            yield Group(distributed.get_rank(), distributed.get_world_size(), here, device)
        finally:
            distributed.destroy_process_group()
    else:
        yield Group(device=device_of_this_process())


def _begin(backend: str) -> None:
    """Meet the others. Restarted workers must not: torchrun's store still holds the addresses of the dead ones.

    torch 2.14 gives every attempt the same store (dynamic_rendezvous.py makes it once), so who reads an address before
    its new owner wrote it waits for a dead process. The number of the attempt, the same on one machine, keeps them
    apart; several machines count their own, there torchrun has to make a new store each time.
    """
    store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        if os.environ.get("GROUP_WORLD_SIZE", "1") != "1":
            raise MachineError(
                "torchrun on several machines: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for it on each, else workers "
                "that are started again look for the ones that died"
            )
        store = distributed.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


def device_of_this_process(local: int | None = None) -> str:
    """The CUDA device that is current, or that of worker `local` of this machine; "cpu" without CUDA."""
    if not torch.cuda.is_available():
        return "cpu"
    if local is not None:
        torch.cuda.set_device(local)
    return f"cuda:{torch.cuda.current_device()}"
