"""The depth profile: accuracy of a linear head on each depth of the frozen network alone."""

from __future__ import annotations

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, percent, places


def profile(result: JSON) -> Chart | None:
    """None where fewer than two depths were judged."""
    found = [d for d in result["depths"] if d.get("top1") is not None]
    if len(found) < 2:
        return None
    chosen = set(result["decision"]["depths"]) if result["decision"]["train"] == "head" else set()
    best = max(found, key=lambda d: d["top1"])
    last = percent(found[-1]["top1"])
    said = f"Of single depths {best['name']} is best with {percent(best['top1'])}; the last layer gives {last}."
    if best is found[-1]:
        said = f"Of single depths the last layer is best, with {last}."
    if chosen:
        said += f" The new head reads {places(result)} (filled)."
    rows = tuple(
        (
            str(d["name"]),
            f"{d['dim']:,}" if d.get("dim") else "-",
            percent(d["top1"]),
            f"{100 * d['low']:.1f} to {100 * d['high']:.1f}" if d.get("low") is not None else "-",
            "yes" if d["name"] in chosen else "no",
        )
        for d in found
    )
    table = Table(("depth", "numbers per picture", "accuracy", "95 % interval", "read by the head"), rows)

    def draw(width: float) -> tuple[float, list[str]]:
        return _draw(width, found, chosen)

    return svg.chart("profile", "Accuracy by depth of the network", said, table, draw)


def _draw(width: float, found: list[JSON], chosen: set[str]) -> tuple[float, list[str]]:
    height, left = 230.0, svg.LEFT
    lows = [d["low"] if d.get("low") is not None else d["top1"] for d in found]
    highs = [d["high"] if d.get("high") is not None else d["top1"] for d in found]
    y = Scale(max(0.0, min(lows) - 0.02), min(1.0, max(highs) + 0.02), height - 34, 12)
    apart = (width - left - 24) / (len(found) - 1)
    at = [left + 12 + apart * k for k in range(len(found))]
    parts = []
    for tick in svg.round_ticks(y.low, y.high, 4):
        parts.append(svg.line(left, y(tick), width, y(tick), "grid"))
        parts.append(svg.text(left - 8, y(tick) + 4, f"{100 * tick:g} %", "t", "end"))
    parts.append(svg.path([(x, y(d["top1"])) for x, d in zip(at, found, strict=True)], "thread"))
    fits = apart > svg.width_of(max((str(d["name"]) for d in found), key=len)) + 4
    for k, (x, d) in enumerate(zip(at, found, strict=True)):
        parts.append(svg.line(x, y(lows[k]), x, y(highs[k]), "bar thin"))
        css = "point chosen" if d["name"] in chosen else "point hollow"
        parts.append(svg.dot(x, y(d["top1"]), 4.5, css, f"{d['name']}: {percent(d['top1'])}"))
        name = str(d["name"]) if fits else str(d["name"]).removeprefix("block")
        if fits or len(name) <= 4:
            parts.append(svg.text(x, height - 12, name, "t", "middle"))
    return height, parts
