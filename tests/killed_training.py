"""What a worker of a training runs in tests: the real thing, but once a worker is killed after a step.

Under torchrun `-m killed_training JOB --every N`, on Ray as a train loop. `JOB/kill.json` says rank and step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from headstart.scaling.train_worker import run_job


def run(folder: Path, every: int) -> None:
    def tell(_epoch: int, steps: int) -> None:
        wanted = json.loads((folder / "kill.json").read_text("utf-8"))
        if wanted != [int(os.environ.get("RANK", "0")), steps]:
            return
        try:
            (folder / "killed").open("x").close()
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    run_job(folder, every, tell)


def loop(config: dict[str, Any]) -> None:
    run(Path(config["job"]), 2)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2].removeprefix("--every=")))
