"""The console summary of a run: the little sister of the page, same order, same words (reporting/story.py)."""

from __future__ import annotations

from headstart.reporting import story
from headstart.reporting.story import sentence
from headstart.reporting.words import JSON

__all__ = ["sentence", "summary_lines"]


def summary_lines(result: JSON, folder: str) -> list[str]:
    """The lines that `fit` prints on stdout when it is done."""
    facts = [
        *story.measured(result),
        *story.nearness(result),
        *story.how_much(result),
        *story.findings(result),
        *story.probabilities(result),
    ]
    lines = [sentence(result), "", *(f"  {name:<13} {said}" for name, said in facts), "", story.ending(result)]
    if result["interrupted"]:
        lines.append(story.interruption(result))
    lines.append(f"Read it: headstart report {folder} --open")
    lines.append(f"Use it:  headstart predict {folder} PICTURE_OR_FOLDER")
    return lines
