"""The accuracy on one line from 0 to 100 %: interval, baseline, test part."""

from __future__ import annotations

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, interval, percent

GUESSING, MINE = "guessing", "this classifier"
GAP = 16.0  # pixels between the two words; the second is bold


def ruler(result: JSON) -> Chart | None:
    """None when nothing could be held out."""
    accuracy, test = result["accuracy"], result.get("test")
    if accuracy["top1"] is None:
        return None
    said = f"{percent(accuracy['top1'])} right ({interval(accuracy)}), guessing {percent(accuracy['baseline'])}"
    rows = [
        ("new pictures", percent(accuracy["top1"]), _between(accuracy)),
        ("guessing", percent(accuracy["baseline"]), "-"),
    ]
    if test:
        said += f", test part {percent(test['top1'])}"
        rows.append(("test part", percent(test["top1"]), _between(test)))
    for key, name in (("series_top1", "new series"), ("shuffled_top1", "if groups were ignored")):
        if accuracy.get(key) is not None:
            rows.append((name, percent(accuracy[key]), "-"))
    table = Table(("judged on", "accuracy", "95 % interval"), tuple(rows))
    return svg.chart("ruler", "Accuracy", f"{said}.", table, lambda width: _draw(width, accuracy, test))


def _between(figures: JSON) -> str:
    return f"{100 * figures['low']:.1f} to {100 * figures['high']:.1f}"


def _draw(width: float, accuracy: JSON, test: JSON | None) -> tuple[float, list[str]]:
    x, y = Scale(0.0, 1.0, 8, width - 8), 34.0
    parts = [svg.line(8, y, width - 8, y, "axis")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        side = "start" if tick == 0 else "end" if tick == 1 else "middle"
        parts.append(svg.line(x(tick), y - 4, x(tick), y + 4, "axis"))
        parts.append(
            svg.text(x(tick) + (-8 if tick == 0 else 8 if tick == 1 else 0), y + 22, f"{100 * tick:g} %", "t", side)
        )
    base = x(accuracy["baseline"])
    parts.append(svg.line(base, y - 10, base, y + 10, "run other"))
    right = x(accuracy["top1"])
    mine = min(right, width - 44)
    # Where the two words would meet, the baseline's goes below the line's figures.
    above = max(base, 30) < mine - 0.5 * svg.width_of(GUESSING + MINE) - GAP
    parts.append(svg.text(max(base, 30), y - 16 if above else y + 38, GUESSING, "t", "middle"))
    parts.append(svg.line(x(accuracy["low"]), y, x(accuracy["high"]), y, "bar chosen thick"))
    parts.append(svg.dot(right, y, 6.5, "point chosen", percent(accuracy["top1"])))
    parts.append(svg.text(mine, y - 16, MINE, "t me", "middle"))
    if test:
        parts.append(svg.dot(x(test["top1"]), y, 4.5, "point hollow", f"test part: {percent(test['top1'])}"))
    return (62.0 if above else 78.0), parts
