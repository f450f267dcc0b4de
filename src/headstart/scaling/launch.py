"""Who does a training job: this process, or several that torchrun starts on this machine and starts again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from headstart.engine.cores import usable_cores
from headstart.errors import MachineError
from headstart.scaling.train_worker import EVERY, run_job

Launch = Callable[[Path], None]  # does the job in a folder and leaves its result there
RESTARTS = 3  # of all workers, after one of them died
LOG = "workers.log"  # what they and torchrun say, in the job's folder
_ERROR = re.compile(r"Error: (?!$)")  # not the one that torchrun itself ends with


def in_this_process(folder: Path) -> None:
    """No group, no restarts; a second call goes on where a killed one was."""
    run_job(folder)


def by_torchrun(folder: Path, processes: int, module: str = "headstart.scaling.train_main", every: int = EVERY) -> None:
    """`processes` workers of this machine. When one dies all are started again from the newest checkpoint, three times.

    `module` is what each of them runs. MachineError with the last error when that does not help.
    """
    threads = str(max(1, usable_cores() // processes))
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [f"--max-restarts={RESTARTS}", "-m", module, str(folder), f"--every={every}"]
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    said = folder / LOG
    with said.open("wb") as file:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    if done.returncode:
        lines = said.read_text("utf-8", "replace").splitlines()
        why = next((line.strip() for line in reversed(lines) if _ERROR.search(line)), f"exit code {done.returncode}")
        raise MachineError(f"the workers of {folder} gave up after {RESTARTS} restarts ({why}): see {said}")
