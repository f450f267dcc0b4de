"""A difference of two accuracies with its interval, against zero."""

from __future__ import annotations

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, percent, points


def difference(found: JSON) -> Chart:
    """`found`: a document of `compare`."""
    said = f"{points(found['difference'])} on {found['n']:,} common pictures; right of zero the first run is better."
    table = Table(
        ("run", "right", "only this one right", "log-loss"),
        (
            (
                found["first"],
                percent(found["first_top1"]),
                f"{found['only_first_right']:,}",
                f"{found['first_nll']:.3f}",
            ),
            (
                found["second"],
                percent(found["second_top1"]),
                f"{found['only_second_right']:,}",
                f"{found['second_nll']:.3f}",
            ),
        ),
    )
    return svg.chart("difference", "The difference, with its interval", said, table, lambda width: _draw(width, found))


def _draw(width: float, found: JSON) -> tuple[float, list[str]]:
    reach = 1.15 * max(abs(found["low"]), abs(found["high"]), 0.01)
    x, y = Scale(-reach, reach, 12, width - 12), 34.0
    parts = [svg.line(12, y, width - 12, y, "axis"), svg.line(x(0), y - 18, x(0), y + 10, "run other")]
    for tick in svg.round_ticks(-reach, reach, 4 if width < 500 else 8):
        parts.append(svg.line(x(tick), y - 4, x(tick), y + 4, "axis"))
        parts.append(svg.text(x(tick), y + 24, f"{100 * tick:+g}".replace("+0", "0"), "t", "middle"))
    parts.append(svg.text(12, 12, f"{svg.shortened(found['second'], 18)} better", "t"))
    parts.append(svg.text(width - 12, 12, f"{svg.shortened(found['first'], 18)} better", "t", "end"))
    parts.append(svg.line(x(found["low"]), y, x(found["high"]), y, "bar chosen thick"))
    parts.append(svg.dot(x(found["difference"]), y, 6.5, "point chosen", points(found["difference"])))
    parts.append(svg.text(width / 2, y + 44, "points of accuracy", "t", "middle"))
    return 84.0, parts
