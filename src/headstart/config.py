"""What a user can ask of `fit`, as one frozen record. Defaults that depend on the data are not here but in `rules`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from headstart.errors import UsageError

Train = Literal["auto", "head"]
WhenRunExists = Literal["refuse", "resume", "overwrite"]


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(budget: str | float) -> float:
    """30, "30s", "5m" or "2h" in seconds. UsageError for anything else."""
    if isinstance(budget, int | float):
        return float(budget)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", budget.strip().lower())
    if match is None:
        raise UsageError(f"--budget {budget}: give a time such as 30s, 5m or 2h")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True)
class FitConfig:
    """One call of `fit`. Every field is a command-line option of the same name."""

    out: Path
    """Folder of the run: classifier/, result.json, predictions.csv, bad_images.csv, log.jsonl."""

    train: Train = "auto"
    """How much to train: `auto` decides from evidence, `head` pins a new head on the frozen backbone."""

    backbone: str = "auto"
    """Name of the pretrained network; see `headstart backbones`."""

    budget: float = 300.0
    """Seconds that may go into trying more training. A new head is always trained, whatever it takes."""

    seed: int = 0
    """The one integer behind every random choice of the run."""

    when_exists: WhenRunExists = "refuse"
    """What to do when the run's folder exists: refuse, resume (finish what is unfinished), overwrite."""

    def __post_init__(self) -> None:
        if self.train not in ("auto", "head"):
            raise UsageError(f"--train {self.train}: choose auto or head (more training is not in this version)")
        if not 0 < self.budget < float("inf"):
            raise UsageError(f"a budget of {self.budget} seconds: give more than 0, such as 30s, 5m or 2h")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed}: give a whole number from 0 to {2**32 - 1}")
        if self.when_exists not in ("refuse", "resume", "overwrite"):
            raise UsageError(f"when_exists={self.when_exists!r}: choose refuse, resume or overwrite")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> FitConfig:
        """Rebuild a stored configuration; an unknown key is an error, not a silence."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise UsageError(f"unknown setting {unknown[0]!r} (known: {', '.join(sorted(known))})")
        return cls(**{**document, "out": Path(document["out"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "out": str(self.out)}
