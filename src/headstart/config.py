"""What a user can ask of `fit`, as one frozen record. Defaults that depend on the data are not here but in `rules`."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from headstart.errors import UsageError

AMOUNTS = r"auto|head|extra|norms|last-[1-9]\d?|all|scratch"
WhenRunExists = Literal["refuse", "resume", "overwrite"]


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(budget: str | float) -> float:
    """30, "30s", "5m" or "2h" in seconds. UsageError for anything else."""
    if isinstance(budget, int | float):
        return float(budget)
    if steps_of(budget) is not None:
        return _UNITS["h"]
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", budget.strip().lower())
    if match is None:
        raise UsageError(f"--budget {budget}: give a time such as 30s, 5m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def widths_of(layers: str | None) -> tuple[int, ...]:
    """The text 256,64 as (256, 64), nothing as (). UsageError for anything else."""
    if not layers:
        return ()
    parts = [part.strip() for part in layers.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--extra-layers {layers}: give widths such as 256,64")
    return tuple(int(part) for part in parts)


def steps_of(budget: str | float) -> int | None:
    """The text 400steps as 400: a budget in optimizer steps, for runs that must agree; None for a time."""
    match = re.fullmatch(r"(\d+)\s*steps?", budget.strip().lower()) if isinstance(budget, str) else None
    return int(match[1]) if match else None


@dataclass(frozen=True)
class FitConfig:
    """One call of `fit`. Every field is a command-line option of the same name."""

    out: Path
    """Folder of the run: classifier/, result.json, predictions.csv, bad_images.csv, log.jsonl."""

    train: str = "auto"
    """How much to train: `auto` decides from evidence; head, extra, norms, last-1, last-2, ..., all, scratch pin it."""

    backbone: str = "auto"
    """Name of the pretrained network; see `headstart backbones`."""

    budget: float = 300.0
    """Seconds for everything, counted from the start. A new head is always trained, whatever it takes."""

    steps: int | None = None
    """Optimizer steps for the race instead of seconds: two runs of one seed then agree."""

    extra_layers: tuple[int, ...] = ()
    """Widths of layers between the frozen network and the head."""

    seed: int = 0
    """The one integer behind every random choice of the run."""

    when_exists: WhenRunExists = "refuse"
    """What to do when the run's folder exists: refuse, resume (finish what is unfinished), overwrite."""

    profile: bool = False
    """Also write profile.json: where the wall time went."""

    data: Path | None = None
    """The pictures: a folder or a manifest; None where they came as a list."""

    on: str | None = None
    """Who embeds the pictures: None this process; local, ray, ray://HOST:PORT part files in the run's folder."""

    memory: int | None = None
    """Bytes of memory to reckon with; None: what this machine has. For tests, no option of the command line."""

    def __post_init__(self) -> None:
        if self.on is not None and self.on not in ("local", "ray") and not self.on.startswith("ray://"):
            raise UsageError(f"--on {self.on}: say local, ray, or ray://HOST:PORT")
        if not re.fullmatch(AMOUNTS, self.train):
            raise UsageError(
                f"--train {self.train}: choose auto, head, extra, norms, last-1, last-2, ..., all or scratch"
            )
        if self.extra_layers and self.train not in ("auto", "extra"):
            raise UsageError(f"--extra-layers go on the frozen network: leave --train {self.train} away")
        if not all(1 <= width <= 8192 for width in self.extra_layers) or len(self.extra_layers) > 8:
            raise UsageError("--extra-layers: give one to eight widths from 1 to 8192, such as 256,64")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"a budget of {self.steps} steps: give at least one")
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
        layers, data = tuple(document.get("extra_layers", ())), document.get("data")
        paths = {"out": Path(document["out"]), "data": None if data is None else Path(data)}
        return cls(**{**document, **paths, "extra_layers": layers})

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        paths = {"out": str(self.out), "data": None if self.data is None else str(self.data)}
        return {**asdict(self), **paths, "extra_layers": list(self.extra_layers)}

    def command(self) -> str | None:
        """The command line that asks for the same again; None where the pictures came as a list."""
        if self.data is None:
            return None
        parts = ["headstart", "fit", str(self.data), "--out", str(self.out)]
        budget = f"{self.budget:g}s" if self.steps is None else f"{self.steps}steps"
        asked = {"train": self.train, "backbone": self.backbone, "budget": budget, "seed": str(self.seed)}
        if self.extra_layers:
            asked["extra-layers"] = ",".join(str(width) for width in self.extra_layers)
        if self.on is not None:
            asked["on"] = self.on
        for name, value in asked.items():
            parts += [f"--{name}", value]
        return shlex.join([*parts, "--overwrite"])
