"""What probabilities are worth: the reliability diagram, and accuracy against the share that is answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.coverage import coverage, reliability
from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, percent

LABEL = 15.0  # pixels: half of a name beside the line
FEWEST = 200  # pictures below which bins say more about chance than about the probabilities


def reliability_chart(probability: NDArray[np.floating], right: NDArray[np.bool_]) -> Chart | None:
    """`probability` `(n,)` of the predicted class, `right` `(n,)`; None below 200 pictures."""
    bins = reliability(probability, right) if len(right) >= FEWEST else []
    if len(bins) < 2:
        return None
    over = sum(b["top1_high"] < b["confidence"] for b in bins)
    under = sum(b["top1_low"] > b["confidence"] for b in bins)
    said = "On the diagonal a probability is a chance: of pictures predicted with 80 %, 80 % are right. "
    if over or under:
        said += f"Of {len(bins)} bins, {over} promise too much and {under} too little, beyond their intervals."
    else:
        said += f"All {len(bins)} bins agree with it within their intervals."
    rows = tuple(
        (
            f"{percent(b['low'])} to {percent(b['high'])}",
            f"{b['n']:,}",
            percent(b["confidence"]),
            percent(b["top1"]),
            f"{100 * b['top1_low']:.1f} to {100 * b['top1_high']:.1f}",
        )
        for b in bins
    )
    table = Table(("probability", "pictures", "mean probability", "right", "95 % interval"), rows)
    return svg.chart("reliability", "Are the probabilities right?", said, table, lambda width: _bins(width, bins))


def coverage_chart(result: JSON, probability: NDArray[np.floating], right: NDArray[np.bool_]) -> Chart | None:
    """Accuracy of what is answered when only sure answers count; None without predictions."""
    if len(right) < 10:
        return None
    marks = result.get("coverage") or coverage(probability, right)
    order = np.argsort(-probability, kind="stable")
    answered = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(right[order]) / answered
    last = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))  # of equal probabilities all count
    keep = last[np.unique(np.linspace(0, len(last) - 1, 160).astype(int))]
    keep = keep[answered[keep] >= min(20, len(order) // 2)]  # the first few are all or nothing
    line = [(float(answered[k] / len(order)), float(accuracy[k])) for k in keep]
    rows = tuple((percent(m["threshold"]), percent(m["coverage"]), percent(m["top1"]), f"{m['n']:,}") for m in marks)
    table = Table(("probability at least", "answered", "right of those", "pictures"), rows)
    said = (
        "When only answers above a probability count (the figures at the points), fewer pictures are answered and "
        "more of them are right."
    )
    good = next((m for m in marks if m["top1"] is not None and m["top1"] >= 0.95 and m["n"] >= 20), None)
    if good:
        said += (
            f" From a probability of {100 * good['threshold']:g} % on, {percent(good['coverage'])} are answered and "
            f"{percent(good['top1'])} of them are right."
        )
    shown = [m for m in marks if m["top1"] is not None and m["n"] >= 20]
    return svg.chart(
        "coverage", "What if only sure answers count?", said, table, lambda width: _answered(width, line, shown)
    )


def _bins(width: float, bins: Sequence[JSON]) -> tuple[float, list[str]]:
    side = min(width, 380.0)
    left, height = svg.LEFT, side
    lowest = max(0.0, min(0.9, *(min(b["top1_low"], b["confidence"]) for b in bins)) - 0.03)
    x = Scale(lowest, 1.0, left, side - 16)
    y = Scale(lowest, 1.0, height - 46, 12)
    parts = []
    for tick in svg.round_ticks(lowest, 1.0, 5):
        parts += [svg.line(left, y(tick), side - 16, y(tick), "grid")]
        parts += [svg.text(left - 8, y(tick) + 4, f"{100 * tick:g} %", "t", "end")]
        parts += [svg.text(x(tick), height - 28, f"{100 * tick:g} %", "t", "middle")]
    parts.append(svg.line(x(lowest), y(lowest), x(1.0), y(1.0), "meet"))
    parts.append(
        svg.text((left + side) / 2, height - 8, "mean probability, against share that is right", "t", "middle")
    )
    for b in bins:
        at = x(b["confidence"])
        parts.append(svg.line(at, y(b["top1_low"]), at, y(b["top1_high"]), "bar thin"))
        parts.append(svg.dot(at, y(b["top1"]), 4.5, "point chosen", f"{b['n']} pictures: {percent(b['top1'])}"))
    return height, parts


def _answered(width: float, line: list[tuple[float, float]], marks: Sequence[JSON]) -> tuple[float, list[str]]:
    height, left = 250.0, svg.LEFT
    values = [v for _, v in line] + [m["top1"] for m in marks]
    x = Scale(0.0, 1.0, left, width - 16)
    y = Scale(max(0.0, min(values) - 0.02), 1.0, height - 46, 26)
    parts = []
    for tick in svg.round_ticks(y.low, 1.0, 4):
        parts.append(svg.line(left, y(tick), width - 16, y(tick), "grid"))
        parts.append(svg.text(left - 8, y(tick) + 4, f"{100 * tick:g} %", "t", "end"))
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(svg.text(x(tick), height - 28, f"{100 * tick:g} %", "t", "end" if tick == 1.0 else "middle"))
    parts.append(
        svg.text((left + width) / 2, height - 8, "share answered, against share right of those", "t", "middle")
    )
    drawn = [(x(a), y(b)) for a, b in line]
    parts.append(svg.path(drawn, "run chosen"))
    points = [(x(m["coverage"]), y(m["top1"]), m["threshold"]) for m in sorted(marks, key=lambda m: -m["coverage"])]
    for at, up, threshold in points:
        parts.append(svg.dot(at, up, 4, "point chosen", f"from {percent(threshold)} on"))
    drawn += [(at, up) for at, up, _ in points]
    edge = width + 1.5 * LABEL
    for at, up, threshold in points:  # names from right to left, while there is room, above all that is drawn there
        if threshold > 0 and edge - at > 2.5 * LABEL:
            edge = min(max(at, left + LABEL), edge - 2.5 * LABEL)
            above = min([up, *(b for a, b in drawn if abs(a - edge) <= LABEL)])
            parts.append(svg.text(edge, above - 9, f"{100 * threshold:g} %", "t", "middle"))
    return height, parts
