"""The learning curve, and what twice as many pictures would bring.

Two laws are fitted to the share of wrong answers: a power law, `error = a n^-b`, which falls for ever, and an inverse
law, `error = a + b / n`, which ends at a floor. Their two answers are the range that is given. Where the curve does not
rise beyond what chance does to so many pictures, nothing is extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, percent

Law = Callable[[float], float]


@dataclass(frozen=True)
class Growth:
    """`low` and `high`: what the two laws add to the accuracy at twice the last number; None: cannot be said."""

    said: str
    low: float | None = None
    high: float | None = None
    laws: tuple[Law, ...] = ()


def doubling(points: Sequence[tuple[float, float]], judged: int) -> Growth:
    """`points`: (pictures learned from, accuracy), rising; `judged`: on how many each was measured."""
    if len(points) < 3:
        return Growth("Too few points to say what more pictures would bring.")
    n = np.array([p[0] for p in points], float)
    error = 1.0 - np.array([p[1] for p in points], float)
    if error[-1] <= 0:
        return Growth("Every held-out picture was right: more pictures cannot show up in this figure.")
    # of two accuracies on the same pictures; unpaired it would be larger, so this asks for a little less than proof
    noise = math.sqrt(max(error[-1] * (1 - error[-1]), 1e-9) / max(judged, 1))
    if error[0] - error[-1] < 2 * noise or (error <= 0).any():
        return Growth(
            "The curve does not rise beyond the noise of so many pictures: "
            "what doubling the data would bring cannot be said."
        )
    slope, level = np.polyfit(np.log(n), np.log(error), 1)
    rise, floor = np.polyfit(1 / n, error, 1)
    if floor < 0:
        floor, rise = 0.0, float((error / n).sum() / (1 / n**2).sum())
    laws: tuple[Law, ...] = (lambda m: math.exp(level + slope * math.log(m)), lambda m: floor + rise / m)
    gains = sorted(max(0.0, law(n[-1]) - law(2 * n[-1])) for law in laws)
    middle = sum(gains) / 2
    said = (
        f"Doubling the data would bring about {100 * middle:+.1f} points "
        f"({100 * gains[0]:.1f} to {100 * gains[1]:.1f} by two laws fitted to {len(points)} points): "
        "an extrapolation, no measurement."
    )
    return Growth(said, gains[0], gains[1], laws)


def growth(result: JSON) -> Chart | None:
    """None where no learning curve was measured."""
    curve = [(float(p["n"]), float(p["top1"])) for p in result["learning_curve"] if p.get("top1") is not None]
    if len(curve) < 2:
        return None
    found = doubling(curve, int(result["data"]["n"]))
    said = f"A new head, trained on a part of the pictures and judged on all. {found.said}"
    table = Table(("pictures learned from", "accuracy"), tuple((f"{n:,.0f}", percent(top1)) for n, top1 in curve))
    return svg.chart("growth", "Accuracy by number of pictures", said, table, lambda width: _draw(width, curve, found))


def _draw(width: float, curve: list[tuple[float, float]], found: Growth) -> tuple[float, list[str]]:
    height, left, right = 230.0, svg.LEFT, width - 24
    last = curve[-1][0]
    far = 2 * last if found.laws else 1.1 * last
    ahead = [1 - law(far) for law in found.laws]
    shares = [top1 for _, top1 in curve] + ahead
    pad = max(0.01, 0.1 * (max(shares) - min(shares)))
    x = Scale(0.0, far * 1.02, left, right)
    y = Scale(max(0.0, min(shares) - pad), min(1.0, max(shares) + pad), height - 46, 12)
    parts = []
    for tick in svg.round_ticks(y.low, y.high, 4):
        parts.append(svg.line(left, y(tick), right, y(tick), "grid"))
        parts.append(svg.text(left - 8, y(tick) + 4, f"{100 * tick:g} %", "t", "end"))
    clear = float("inf")  # of figures, from the right: the last ones matter most
    for n in reversed([*(n for n, _ in curve), *((far,) if found.laws else ())]):
        parts.append(svg.line(x(n), height - 46, x(n), height - 42, "axis"))
        half = 3.6 * len(f"{n:,.0f}")
        if x(n) + half < clear:
            parts.append(svg.text(x(n), height - 28, f"{n:,.0f}", "t", "middle"))
            clear = x(n) - half - 4
    parts.append(svg.text((left + right) / 2, height - 8, "pictures learned from", "t", "middle"))
    if found.laws:
        steps = [last * 2 ** (k / 12) for k in range(13)]
        start = curve[-1][1]
        fan = [[(x(n), y(start + law(last) - law(n))) for n in steps] for law in found.laws]
        parts.append(svg.path([*fan[0], *reversed(fan[1])], "fan"))
        parts += [svg.path(one, "run guess") for one in fan]
    parts.append(svg.path([(x(n), y(top1)) for n, top1 in curve], "run chosen"))
    parts += [svg.dot(x(n), y(top1), 4.5, "point chosen", f"{n:,.0f}: {percent(top1)}") for n, top1 in curve]
    return height, parts
