"""Showing: what makes a run worth looking at, in the time that is left: pictures inspected, explained, and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headstart import rules
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.explaining import explained
from headstart.finish import Saved
from headstart.inspecting import Inspected, inspected
from headstart.progress import Progress
from headstart.run import Run
from headstart.training import Ground


@dataclass(frozen=True)
class Showing:
    """What was asked for, when the first answer was there (seconds), and whether Ctrl-C was pressed."""

    config: FitConfig
    first_answer: float
    interrupted: bool

    def left(self, clock: Clock) -> float:
        """Seconds that may still be spent; no end where a budget is counted in steps, so that two runs agree."""
        if self.config.steps is not None:
            return float("inf")
        return rules.left_for_showing(self.config.budget, self.first_answer, clock.seconds()["total"])


@dataclass(frozen=True)
class Shown:
    """What inspecting found, the `explain` key of result.json, and whether Ctrl-C was pressed."""

    inspected: Inspected
    explained: dict[str, Any] | None
    interrupted: bool


def show(run: Run, ground: Ground, saved: Saved, clock: Clock, showing: Showing) -> Shown:
    """Inspect the pictures and write RUN/explain/. The first Ctrl-C leaves out what is missing; a second is raised."""
    with clock("inspect"):
        seen, interrupted = inspected(ground, saved.answer, 0.5 * showing.left(clock), showing.interrupted)
    document, interrupted = explained(run, ground, saved, clock, showing.left(clock), interrupted)
    return Shown(seen, document, interrupted)


def write_pages(run: Run, progress: Progress) -> None:
    """report.html and the model card, from what the run has written. The run is complete without them."""
    from headstart.reporting.card import write_card
    from headstart.reporting.report import write_report

    try:
        write_card(run)
        write_report(run)
    except KeyboardInterrupt:
        progress.say(f"interrupted: headstart report {run.folder} writes the page")
    except Exception as error:
        run.log("report failed", error=f"{type(error).__name__}: {error}")
        progress.say(f"the page could not be written ({error}): headstart report {run.folder} tries again")
