"""How `fit --profile` looks on the console: seconds per part, and of what each phase consists."""

from __future__ import annotations

from typing import Any

# In the order of the table. The first passes over pictures, then the phases between them.
PARTS = {
    "start": "the interpreter, imports, the command line",
    "scan": "finding the pictures",
    "decode": "opening and decompressing pictures",
    "resize": "to the square that the network sees",
    "derive": "hashes, small copies, views of pictures",
    "prepare": "reading, exporting, compiling networks",
    "compute": "the network",
    "collect": "batches in, results out, the cache",
    "wait": "cores idle while pictures pass",
    "cache": "opening and reading the cache",
    "sort": "duplicates, conflicts, leaks",
    "probe": "heads at every depth",
    "similarity": "how near the pictures are",
    "backbones": "comparing other backbones",
    "plan": "costs of training more",
    "train": "the race and the final training",
    "judge": "series, test",
    "inspect": "blur, light, frames",
    "explain": "heat maps and neighbours",
    "write": "saving and proving, results, pages",
    "other": "between the phases",
}
LEAST = 0.005  # seconds that are shown


def profile_lines(profile: dict[str, Any] | None) -> list[str]:
    """The content of profile.json in lines; None: why there is none."""
    if profile is None:
        return ["No profile: this run was finished without --profile."]
    seconds, parts, cores = float(profile["seconds"]), profile["parts"], profile["cores"]
    shared = f" What ran side by side on {cores} cores is shared out." if (cores or 1) > 1 else ""
    lines = [f"Where {seconds:.2f} s went.{shared}", ""]
    for name in [*PARTS, *(name for name in parts if name not in PARTS)]:
        spent = parts.get(name, 0.0)
        if spent >= LEAST:
            line = f"  {name:<11} {spent:8.2f} s {100 * spent / seconds:5.1f} %  {PARTS.get(name, '')}"
            lines.append(line.rstrip())
    return [*lines, "", *(_phase(name, rows) for name, rows in _phases(profile["rows"]).items() if _sum(rows) >= LEAST)]


def _phases(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by phase, in the order of the run."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["phase"], []).append(row)
    return found


def _phase(name: str, rows: list[dict[str, Any]]) -> str:
    """`embed       6.10 s: compute 3.20, decode 1.00, ...`, what takes longest first."""
    longest = sorted(rows, key=lambda row: -float(row["seconds"]))
    told = [f"{row['part']} {row['seconds']:.2f}" for row in longest if row["seconds"] >= LEAST]
    consists = "" if [row["part"] for row in rows] == [name] else f": {', '.join(told)}"
    return f"  {name:<11} {_sum(rows):8.2f} s{consists}"


def _sum(rows: list[dict[str, Any]]) -> float:
    return sum(float(row["seconds"]) for row in rows)
