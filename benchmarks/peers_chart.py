"""Test accuracy against seconds, one mark per run, a panel per set: plain SVG, readable without colours."""

import math
from html import escape

from peers_tools import TOOLS

WIDTH, PANEL, LEFT, BOTTOM, TOP = 720, 232, 46, 34, 26  # pixels
SECONDS = (1, 3, 10, 30, 120, 600, 3600)
INK, GRID = "#24292f", "#d8dee4"
LOOKS = {  # colour by maker, shape by way of training
    "headstart-head": ("#0072b2", "circle"),
    "headstart-5m": ("#0072b2", "diamond"),
    "expert": ("#d55e00", "circle"),
    "autogluon-few-shot": ("#009e73", "circle"),
    "autogluon-10m": ("#009e73", "diamond"),
    "fastai-frozen": ("#cc79a7", "circle"),
    "fastai-fine-tune": ("#cc79a7", "diamond"),
    "tutorial": ("#555555", "cross"),
}
PUBLISHED = {"elpv": (0.8842, "published: 88.4, fine-tuned VGG19")}  # Deitsch et al. 2019, another 75/25 split


def chart(cells):
    """The whole picture as text; tools that tell no accuracy are not in it."""
    points = {s: _points(cells, s) for s in cells.sets}
    points = {s: found for s, found in points.items() if found}
    tools = [t for t in LOOKS if any(t == tool for found in points.values() for tool, _, _ in found)]
    legend, top = _legend(tools)
    columns = 2 if len(points) > 1 else 1
    wide = WIDTH / columns
    scale = _seconds_scale([x for found in points.values() for _, x, _ in found], wide)
    parts = [*legend]
    for k, (name, found) in enumerate(points.items()):
        x, y = (k % columns) * wide, top + (k // columns) * PANEL
        parts += [f'<g transform="translate({x:.0f} {y:.0f})">', *_panel(name, found, scale, wide), "</g>"]
    height = top + math.ceil(len(points) / columns) * PANEL
    said = "Test accuracy against seconds of the whole process, on a logarithmic axis; one mark per run."
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}"><title>{said}</title>'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def _points(cells, name):
    """(tool, seconds, accuracy) of every run that told classes."""
    return [
        (tool, run["wall"], run["top1"])
        for (tool, s), cell in cells.found.items()
        for run in cell.runs
        if s == name and "top1" in run
    ]


def _legend(tools):
    """Marks and names in two columns; and where the panels begin."""
    parts = []
    for k, tool in enumerate(tools):
        x, y = 14 + (k % 2) * WIDTH / 2, 18 + (k // 2) * 20
        parts += [_mark(tool, x, y), f'<text x="{x + 12:.0f}" y="{y + 4:.0f}">{escape(TOOLS[tool].says)}</text>']
    return parts, 18 + math.ceil(len(tools) / 2) * 20


def _seconds_scale(values, wide):
    """From seconds to pixels of a panel, and the ticks; the same for all panels."""
    low, high = min(values) / 1.3, max(values) * 1.3
    start, end = LEFT, wide - 14

    def place(value):
        return start + (end - start) * math.log(value / low) / math.log(high / low)

    return place, [t for t in SECONDS if low <= t <= high]


def _panel(name, found, scale, wide):
    place, ticks = scale
    line = PUBLISHED.get(name)
    low, high, step = _accuracies([y for _, _, y in found] + ([line[0]] if line else []))
    up, down = TOP, PANEL - BOTTOM

    def rise(value):
        return down - (down - up) * (100 * value - low) / (high - low)

    parts = [f'<text x="{LEFT}" y="16" font-weight="600">{escape(name)}: test accuracy, %</text>']
    for k in range(round((high - low) / step) + 1):
        y = rise((low + k * step) / 100)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{wide - 14:.0f}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{low + k * step:g}</text>')
    if line:
        y = rise(line[0])
        parts.append(f'<path d="M{LEFT} {y:.1f}H{wide - 14:.0f}" stroke="{INK}" stroke-dasharray="5 4"/>')
        parts.append(f'<text x="{wide - 14:.0f}" y="{y - 5:.1f}" text-anchor="end" font-size="11">{line[1]}</text>')
    for tick in ticks:
        label = f"{tick} s" if tick < 60 else f"{tick // 60} min"
        parts.append(f'<path d="M{place(tick):.1f} {up}V{down}" stroke="{GRID}"/>')
        parts.append(f'<text x="{place(tick):.1f}" y="{down + 16}" text-anchor="middle">{label}</text>')
    return parts + [_mark(tool, place(x), rise(y), f"{tool}: {x:.0f} s, {100 * y:.1f} %") for tool, x, y in found]


def _accuracies(values):
    """Lowest and highest tick in % and the step between ticks: at most six of them."""
    low, high = 100 * min(values), 100 * max(values)
    step = next(s for s in (1, 2, 5, 10, 20, 50) if (high - low) / s <= 4)
    low, high = math.floor((low - 0.2) / step) * step, math.ceil((high + 0.2) / step) * step
    return max(low, 0), min(high, 100), step


def _mark(tool, x, y, said=""):
    colour, shape = LOOKS[tool]
    shapes = {
        "circle": f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
        "diamond": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6Z",
        "cross": f"M{x - 4.5:.1f} {y - 4.5:.1f}l9 9m0 -9l-9 9",
    }
    look = f'fill="none" stroke="{colour}" stroke-width="2"' if shape == "cross" else (
        f'fill="{colour}" fill-opacity="0.75" stroke="#ffffff"'
    )  # fmt: skip
    return f'<path d="{shapes[shape]}" {look}><title>{escape(said or TOOLS[tool].says)}</title></path>'
