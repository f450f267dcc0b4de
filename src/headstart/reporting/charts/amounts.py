"""Accuracy against how much was trained, with intervals and seconds."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.reporting import story
from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON, amount, amount_order, depths, duration, percent, points


@dataclass(frozen=True)
class Row:
    """One amount of training: its best candidate. `head`: the new head on the same pictures; `top1` None: not tried."""

    name: str
    train: str
    n: int
    top1: float | None
    low: float | None
    high: float | None
    head: float | None
    seconds: float | None
    refit: float | None
    chosen: bool
    why: str


def amounts(result: JSON) -> Chart | None:
    """None when nothing could be judged."""
    rows = rows_of(result)
    judged = [r for r in rows if r.top1 is not None]
    if not judged:
        return None
    head = ("trained", "accuracy", "95 % interval", "on pictures", "new head on the same", "time to judge")
    table = Table((*head, "final training", "remark"), tuple(_cells(r) for r in rows))
    said = _said(judged)
    return svg.chart(
        "amounts", "Accuracy against how much was trained", said, table, lambda width: _draw(width, rows, judged)
    )


def rows_of(result: JSON) -> list[Row]:
    """The last layer alone, the chosen head, then every amount in rising order, each by its best candidate."""
    known = [d["name"] for d in result["depths"]]
    heads = [c for c in result["candidates"] if c["train"] == "head" and c["top1"] is not None]
    decision, rows = result["decision"], []
    if heads:
        mine = [c for c in heads if decision["train"] == "head" and c["depths"] == decision["depths"]]
        chosen = (mine or heads)[0]
        last = [c for c in heads if c["depths"] == ["last"]]
        if last and chosen["depths"] != ["last"]:
            rows.append(_head(max(last, key=lambda c: c["top1"]), result, known, False))
        rows.append(_head(chosen, result, known, decision["train"] == "head"))
    best = story.best_of_each(result)
    others = {c["train"] for c in result["candidates"]} - {"head"}
    for train in sorted(others, key=amount_order):
        found = best.get(train) or next(c for c in result["candidates"] if c["train"] == train)
        rows.append(_more(found, decision["train"] == train))
    return rows


def _head(c: JSON, result: JSON, known: list[str], chosen: bool) -> Row:
    read = list(c["depths"])
    some = depths(read, known).removeprefix("the ")
    name = f"new head, {some}" if len(read) == 1 or read == known else f"new head, {len(read)} depths"
    read_in_words = "" if len(read) == 1 or read == known else some
    n = c.get("n") or result["data"]["n"]
    return Row(name, "head", n, c["top1"], c["low"], c["high"], None, c["seconds"], None, chosen, read_in_words)


def _more(c: JSON, chosen: bool) -> Row:
    head, low, high = c.get("head_top1"), c.get("low"), c.get("high")
    if head is not None and c.get("gain_low") is not None:  # paired: around the accuracy, as wide as the difference
        low, high = max(0.0, head + c["gain_low"]), min(1.0, head + c["gain_high"])
    why = "" if c["status"] == "run" and not c["why"] else f"{c['status']}: {c['why']}".rstrip(": ")
    return Row(
        amount(c["train"]), c["train"], c.get("n", 0), c["top1"], low, high, head, c["seconds"] or None,
        c.get("refit_seconds"), chosen, why,
    )  # fmt: skip


def _said(judged: list[Row]) -> str:
    chosen = next((r for r in judged if r.chosen), judged[0])
    said = f"Chosen: {chosen.name}, {percent(chosen.top1)} before the correction for having chosen."
    if any(r.head is not None for r in judged):
        said += (
            " An upright tick is the new head on the same pictures: where the interval of the difference includes it, "
            "more training was not better beyond noise."
        )
    elif any(r.train != "head" for r in judged):
        said += " Amounts were judged on different numbers of pictures, and their intervals are each one's own."
    return said


def _cells(r: Row) -> tuple[str, ...]:
    between = "-" if r.low is None or r.high is None else f"{100 * r.low:.1f} to {100 * r.high:.1f}"
    head = "-" if r.head is None or r.top1 is None else f"{percent(r.head)} ({points(r.top1 - r.head)})"
    n = f"{r.n:,}" if r.top1 is not None else "-"
    took = "-" if r.top1 is None else duration(r.seconds)
    return r.name, percent(r.top1), between, n, head, took, duration(r.refit), r.why or "-"


def _draw(width: float, rows: list[Row], judged: list[Row]) -> tuple[float, list[str]]:
    narrow = width < 500
    step, top = (46.0, 8.0) if narrow else (32.0, 26.0)
    left, right = (6.0, width - 10) if narrow else (186.0, width - 214)
    height = top + step * len(rows) + 30
    values = [v for r in judged for v in (r.low, r.high, r.top1, r.head) if v is not None]
    pad = max(0.01, 0.05 * (max(values) - min(values)))
    x = Scale(max(0.0, min(values) - pad), min(1.0, max(values) + pad), left, right)
    parts = []
    ticks = svg.round_ticks(x.low, x.high, 4 if narrow else 5)
    for tick in ticks:
        parts.append(svg.line(x(tick), top - 4, x(tick), height - 24, "grid"))
        parts.append(svg.text(x(tick), height - 8, f"{100 * tick:g} %", "t", "middle"))
    if not narrow:
        for at, words in ((width - 148, "accuracy"), (width - 84, "pictures"), (width, "tried in")):
            parts.append(svg.text(at, 12, words, "t", "end"))
    for k, row in enumerate(rows):
        parts += _line(row, x, top + step * k, width)
    return height, parts


def _line(r: Row, x: Scale, y: float, width: float) -> list[str]:
    narrow = width < 500
    middle = y + (30.0 if narrow else 16.0)
    name = svg.text(6 if narrow else 0, y + (14 if narrow else 20), r.name, "t strong me" if r.chosen else "t strong")
    if r.top1 is None:
        return [name, svg.text(width, y + (14 if narrow else 20), "not tried", "t", "end")]
    took = duration(r.seconds)
    if narrow:
        parts = [name, svg.text(width, y + 14, f"{percent(r.top1)} · {r.n:,} · {took}", "t", "end")]
    else:
        cells = ((width - 148, percent(r.top1)), (width - 84, f"{r.n:,}"), (width, took))
        parts = [name, *(svg.text(at, y + 20, words, "t num", "end") for at, words in cells)]
    css = "chosen" if r.chosen else "other"
    if r.low is not None and r.high is not None:
        parts.append(svg.line(x(r.low), middle, x(r.high), middle, f"bar {css}"))
    if r.head is not None:
        parts.append(svg.line(x(r.head), middle - 9, x(r.head), middle + 9, "same"))
    parts.append(svg.dot(x(r.top1), middle, 5, f"point {css}", f"{r.name}: {percent(r.top1)}"))
    return parts
