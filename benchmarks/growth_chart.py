"""The chart of growth.py: seconds by phase, and memory, over the number of pictures; both axes are logarithmic."""

import math

from headstart.reporting.charts.svg import Scale, dot, line, path, picture, spread, text

WIDE, HIGH, TOP, LOW = 940.0, 430.0, 46.0, 380.0
LEFT, RIGHT = (64.0, 400.0), (630.0, 800.0)  # of the two panels
COLOURS = ("#1b1b1b", "#0b62a4", "#c2410c", "#177245", "#7b3fa0", "#a16207", "#64748b")
STYLE = (
    "svg { background: #fff; font: 12px system-ui, sans-serif; } text { fill: #333; } .h { font-weight: 600; }"
    " .grid { stroke: #ddd; } .guide { stroke: #999; stroke-dasharray: 4 4; fill: none; }"
    + "".join(
        f" .p{k} {{ stroke: {c}; stroke-width: 2; fill: none; }} .d{k} {{ fill: {c}; }}" for k, c in enumerate(COLOURS)
    )
)


def chart(runs, classes, most_gb):
    """An SVG file. `runs` by (pictures, classes), None where one failed; phases are those of one number of classes."""
    done = {key: run for key, run in runs.items() if run is not None}
    some = {n: run for (n, k), run in done.items() if k == classes}
    elements = []
    if some:
        phases = together(some)
        elements += panel(f"seconds, {classes} classes", LEFT, phases, guide=n_log_n(phases["whole process"]))
    peaks = {}
    for (n, k), run in sorted(done.items(), key=lambda item: (item[0][1], item[0][0])):
        peaks.setdefault(f"{k:,} classes", []).append((n, run["peak_mb"] * 2**20 / 1e9))
    if peaks:
        elements += panel("peak memory, GB", RIGHT, peaks, guide=level(peaks, most_gb))
    said = "Seconds of each phase of fit --train head, and its peak memory, over the number of pictures."
    drawn = picture("growth", "Growth with the number of pictures", said, (WIDE, HIGH), elements).text
    drawn = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return drawn.replace("</desc>", f"</desc><style>{STYLE}</style>", 1) + "\n"


def together(some):
    """{name: [(pictures, seconds)]}: the phases that take long have a line each, the others one."""

    lines = {"whole process": [(n, run["wall"]) for n, run in some.items()]}
    for label in ("embed: pass", "embed: sort", "probe", "finish", "judge"):
        lines[label] = [(n, spent(run, label)) for n, run in some.items()]
    rest = [(n, run["wall"] - sum(spent(run, label) for label in lines)) for n, run in some.items()]
    return {**lines, "all else": rest}


def spent(run, label):
    """Seconds of a phase, or of all parts of it."""
    return sum(seconds for name, seconds in run["phases"].items() if name == label or name.startswith(f"{label}:"))


def n_log_n(points):
    """(words, points): from the last point of a line downwards."""
    last, seconds = max(points)
    scaled = [(n, seconds * n * math.log(n) / (last * math.log(last))) for n, _ in points]
    return "n log n", scaled


def level(lines, value):
    numbers = [n for points in lines.values() for n, _ in points]
    return f"{value:g} GB", [(min(numbers), value), (max(numbers), value)]


def ends_and_ticks(values):
    """The lowest and highest number of a logarithmic axis, and those that are named: 1, 2, 5 where it is short."""
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    steps = [round(m * 10.0**power, 12) for power in powers for m in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    high = min(step for step in steps if step >= max(values) and step > low)
    whole = [10.0**power for power in powers if low <= 10.0**power <= high]
    return low, high, whole if len(whole) > 2 else [step for step in steps if low <= step <= high]


def panel(title, across, lines, guide):
    """One panel: lines with their names at the right end, a dashed guide, the grid."""
    words, guided = guide
    everything = [point for points in (*lines.values(), guided) for point in points if point[1] > 0]
    numbers = sorted({n for points in lines.values() for n, _ in points})
    low, high, ticks = ends_and_ticks([v for _, v in everything])
    x = Scale(numbers[0], max(numbers[-1], numbers[0] + 1), *across, log=True)
    y = Scale(low, high, LOW, TOP, log=True)
    elements = [text(across[0] - 44, TOP - 22, title, "h")]
    for n in numbers:
        elements += [line(x(n), TOP, x(n), LOW, "grid"), text(x(n), LOW + 18, f"{n:,}", anchor="middle")]
    elements.append(text(sum(across) / 2, LOW + 38, "pictures", anchor="middle"))
    for tick in ticks:
        at = y(tick)
        elements += [line(across[0], at, across[1], at, "grid"), text(across[0] - 6, at + 4, f"{tick:g}", anchor="end")]
    elements.append(path([(x(n), y(v)) for n, v in guided], "guide"))
    ends = [(name, points[-1]) for name, points in lines.items()] + [(words, guided[-1])]
    heights = spread([y(v) for _, (_, v) in ends], 15.0, TOP, LOW)
    for k, (name, points) in enumerate(lines.items()):
        css = k % len(COLOURS)
        above = [(x(n), y(v), v) for n, v in points if v > 0]
        elements.append(path([(at, up) for at, up, _ in above], f"p{css}"))
        elements += [dot(at, up, 3.0, f"d{css}", f"{name}: {v:.3g}") for at, up, v in above]
    for k, (name, (_, v)) in enumerate(ends):
        css = "t" if k == len(lines) else f"d{k % len(COLOURS)}"
        elements.append(text(across[1] + 10, heights[k] + 4, name if k == len(lines) else f"{name} {v:.3g}", css))
    return elements
