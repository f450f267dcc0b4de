"""Where the time went: seconds per phase as bars."""

from __future__ import annotations

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, duration

WORDS = {
    "scan": "finding the pictures",
    "embed": "the network looks at them",
    "probe": "heads at every depth",
    "similarity": "similarity",
    "finish": "saving and proving",
    "backbones": "other backbones",
    "plan": "costs of training more",
    "race": "the race",
    "refit": "the final training",
    "judge": "series, test, findings",
    "inspect": "what is in the pictures",
    "explain": "heat maps and neighbours",
    "report": "this page",
}


def phases(result: JSON) -> Chart | None:
    """None when no time was recorded."""
    seconds = result["seconds"]
    found = [(WORDS.get(k, k), float(v)) for k, v in seconds.items() if k != "total" and v and v >= 0.005]
    order = list(WORDS.values())
    found.sort(key=lambda p: order.index(p[0]) if p[0] in order else len(order))
    if not found:
        return None
    longest = max(found, key=lambda p: p[1])
    said = f"{duration(seconds['total'])} in all. What took longest: {longest[0]}, {duration(longest[1])}."
    table = Table(("phase", "seconds"), tuple((name, f"{value:.2f}") for name, value in found))
    return svg.chart("phases", "Where the time went", said, table, lambda width: _draw(width, found))


def _draw(width: float, found: list[tuple[str, float]]) -> tuple[float, list[str]]:
    left, step = 172.0, 22.0
    x = Scale(0.0, max(v for _, v in found), left, width - 64)
    parts = []
    for k, (name, value) in enumerate(found):
        parts.append(svg.text(left - 10, step * k + 15, name, "t", "end"))
        parts.append(svg.box(left, step * k + 5, max(1.0, x(value) - left), 12, "phase"))
        parts.append(svg.text(max(left + 1, x(value)) + 6, step * k + 15, duration(value), "t num"))
    return step * len(found) + 4, parts
