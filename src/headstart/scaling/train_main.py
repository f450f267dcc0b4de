"""The process of a training: `torchrun --nproc-per-node N -m headstart.scaling.train_main JOB [--every STEPS]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from headstart.errors import HeadstartError
from headstart.scaling.train_worker import EVERY, run_job


def main() -> int:
    """Do the job in the folder, or go on with it; 3 to 5 as the command line's exit codes."""
    parser = argparse.ArgumentParser("headstart.scaling.train_main", description=__doc__)
    parser.add_argument("job", type=Path, help="the folder of the job, on storage that every worker sees")
    parser.add_argument("--every", type=int, default=EVERY, help="optimizer steps between checkpoints")
    asked = parser.parse_args()
    try:
        run_job(asked.job, max(1, asked.every))
    except HeadstartError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
