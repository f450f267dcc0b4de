"""The candidates' accuracy over time: what every further second of training brought."""

from __future__ import annotations

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, amount, amount_order, duration, percent

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000)  # seconds
FACTOR = 30.0  # longest over shortest time from which the axis counts in factors


def curves(result: JSON) -> Chart | None:
    """The best candidate of every amount; None when nothing was trained epoch by epoch."""
    found = _best(result)
    if not found:
        return None
    head, where = _head(result, found)
    said = "Held-out accuracy after every epoch, against the seconds of training since the start of a fold."
    if head is not None:
        said += f" The horizontal line is the frozen network with the new head ({percent(head)}{where})."
    if any(c["train"] == "scratch" for c in found):
        said += " Dashed: from scratch, without the head start."
    if len({c.get("n") for c in found}) > 1:
        said += " Candidates that were stopped early were judged on fewer pictures: compare shapes rather than heights."
    rows = tuple(
        (amount(c["train"]), duration(p["seconds"]), str(k), percent(p["top1"]), f"{c.get('n', 0):,}")
        for c in found
        for k, p in enumerate(c["curve"], 1)
    )
    table = Table(("trained", "after", "epoch", "accuracy", "on pictures"), rows)

    def draw(width: float) -> tuple[float, list[str]]:
        return _draw(width, found, head, str(result["decision"]["train"]))

    return svg.chart("curves", "Accuracy over time", said, table, draw)


def _head(result: JSON, found: list[JSON]) -> tuple[float | None, str]:
    """Accuracy of the frozen network with the new head: on the pictures of the candidates, where that is known."""
    same = {c.get("head_top1") for c in found}
    if len(same) == 1 and None not in same:
        return next(iter(same)), " on the same pictures"
    heads = [c["top1"] for c in result["candidates"] if c["train"] == "head" and c["top1"] is not None]
    return (heads[0] if heads else None), ""


def _best(result: JSON) -> list[JSON]:
    best: dict[str, JSON] = {}
    for c in result["candidates"]:
        if len(c.get("curve") or ()) < 2 or not c["curve"][-1]["seconds"]:
            continue
        known = best.get(c["train"])
        if known is None or (c.get("n", 0), c["top1"] or 0.0) > (known.get("n", 0), known["top1"] or 0.0):
            best[c["train"]] = c
    return [best[train] for train in sorted(best, key=amount_order)]


def _draw(width: float, found: list[JSON], head: float | None, chosen: str) -> tuple[float, list[str]]:
    narrow = width < 500
    left, right, height = svg.LEFT, width - (108 if narrow else 150), 270.0
    seconds = [p["seconds"] for c in found for p in c["curve"] if p["seconds"] > 0]
    shares = [p["top1"] for c in found for p in c["curve"]] + ([head] if head is not None else [])
    pad = max(0.01, 0.06 * (max(shares) - min(shares)))
    log = max(seconds) > FACTOR * min(seconds)
    x = Scale(min(seconds) if log else 0.0, max(seconds), left, right, log)
    y = Scale(max(0.0, min(shares) - pad), min(1.0, max(shares) + pad), height - 48, 12)
    parts = []
    for tick in svg.round_ticks(y.low, y.high, 5):
        parts.append(svg.line(left, y(tick), right, y(tick), "grid"))
        parts.append(svg.text(left - 8, y(tick) + 4, f"{100 * tick:g} %", "t", "end"))
    for tick in _times(x, narrow):
        parts.append(svg.line(x(tick), height - 48, x(tick), height - 44, "axis"))
        parts.append(svg.text(x(tick), height - 28, _time(tick), "t", "middle"))
    parts.append(svg.text((left + right) / 2, height - 8, "seconds of training, one fold", "t", "middle"))
    ends = [y(c["curve"][-1]["top1"]) for c in found] + ([y(head)] if head is not None else [])
    heights = svg.spread(ends, 15, 16, height - 48)
    if head is not None:
        css = "chosen" if chosen == "head" else "other"
        parts.append(svg.line(left, y(head), right, y(head), f"run flat {css}"))
        parts.append(svg.text(right + 8, heights[-1] + 4, "new head", f"t {'me' if css == 'chosen' else ''}".strip()))
    for c, at in zip(found, heights, strict=False):
        css = "chosen" if c["train"] == chosen else "scratch" if c["train"] == "scratch" else "other"
        places = [(x(p["seconds"]), y(p["top1"])) for p in c["curve"]]
        parts.append(svg.path(places, f"run {css}"))
        parts.append(
            svg.dot(*places[-1], 3, f"point {css}", f"{amount(c['train'])}: {percent(c['curve'][-1]['top1'])}")
        )
        name = "from scratch" if c["train"] == "scratch" else amount(c["train"])
        parts.append(svg.line(places[-1][0] + 5, places[-1][1], right + 5, at, "lead"))
        parts.append(svg.text(right + 8, at + 4, name, "t me" if css == "chosen" else "t"))
    return height, parts


def _times(x: Scale, narrow: bool) -> list[float]:
    if not x.log:
        most = 3 if narrow else 6
        step = next((s for s in STEPS if x.high / s <= most), x.high)
        return [step * k for k in range(int(x.high / step + 1e-9) + 1)]
    known = (0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800)
    inside = [t for t in known if x.low <= t <= x.high]
    return inside[:: 2 if narrow and len(inside) > 4 else 1]


def _time(seconds: float) -> str:
    return "0" if not seconds else duration(seconds).replace(".0 s", " s")
