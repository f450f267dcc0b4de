"""A hurried race for tests: two epochs, folds and rates, one repeat, no measuring; here or in a child by `CODE`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = str(Path(__file__).parent)
CODE = f"import sys; sys.path.insert(0, {FOLDER!r}); import hurry; sys.exit(hurry.main(sys.argv[1:]))"
STEPS_OF_FOLD, STEPS_OF_ALL = 4, 8  # of 15 pictures: two epochs of batches of four, on two folds or on everything

Patch = Callable[[object, str, object], None]


def hurry(patch: Patch = setattr, epochs: int = 2, auto: tuple[str, ...] = ("last-1", "last-2")) -> None:
    """Make training small. `auto`: the amounts that are raced when none is asked for."""
    from headstart import rules
    from headstart.finetune import cost
    from headstart.howmuch import plan

    def rule(name: str, value: object) -> Callable[..., rules.Rule]:
        return lambda *_: rules.Rule(name, value, "a test")

    patch(rules, "epochs", rule("epochs", epochs))
    patch(rules, "folds", rule("folds", 2))
    patch(rules, "repeats", rule("repeats", 1))
    patch(rules, "amounts", lambda asked, *_: rules.Rule("amounts", auto if asked == "auto" else (asked,), "a test"))
    patch(plan, "RATES", {**plan.RATES, "last": (3e-3, 1e-2)})
    patch(cost, "measure_training", lambda *_: cost.TrainingCost(0.02, 0.01, "fp32"))


def main(arguments: list[str], **how: Any) -> int:
    """`headstart ARGUMENTS`, hurried."""
    from headstart.cli.main import _run

    hurry(**how)
    return _run(arguments)


def units(run: Path) -> int:
    """How many units of its race a run has logged."""
    try:
        lines = (run / "log.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum(json.loads(line)["event"] == "unit" for line in lines if line.endswith("}"))


def arms(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The candidates of a result that train more than a head."""
    return [c for c in result["candidates"] if c["train"] != "head"]


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    """Decision and candidates without times, and without sentences that name times."""
    kept = {k: v for k, v in result["decision"].items() if k != "why"}
    timed = ("seconds", "predicted_seconds", "refit_seconds", "why", "curve")
    candidates = [{k: v for k, v in c.items() if k not in timed} for c in result["candidates"]]
    curves = [[p["top1"] for p in c["curve"]] for c in result["candidates"]]
    return {"decision": kept, "candidates": candidates, "curves": curves, "accuracy": result["accuracy"]}
