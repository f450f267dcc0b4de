"""Drawing: escaped SVG elements, scales, labels. Colours come from the page's style sheet, by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from headstart.images.printable import printable

WIDE, NARROW = 680.0, 342.0  # pixels: in the text column, on a phone
LEFT = 50.0  # pixels beside a plot: "82.5 %" and a gap
LETTER = 6.6  # mean width of a letter at 12 px, system fonts; a little generous


@dataclass(frozen=True)
class Drawing:
    """Markup that is safe to put into a page as it stands."""

    text: str

    def __html__(self) -> str:
        """What a template with autoescape calls: it is not escaped once more."""
        return self.text


@dataclass(frozen=True)
class Table:
    """The data behind a chart: the first cell of a row names it. Numbers come as text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def longest(self, column: int) -> int:
        """Letters of the longest cell."""
        return max((len(row[column]) for row in self.rows), default=0)


@dataclass(frozen=True)
class Chart:
    """`key` is its id on the page; `said` tells in a sentence or two what the picture shows."""

    key: str
    title: str
    said: str
    drawings: tuple[Drawing, ...]
    table: Table


@dataclass(frozen=True)
class Scale:
    """From values to pixels; `log` for what is counted in factors."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of `value`, kept inside the scale."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def chart(key: str, title: str, said: str, table: Table, draw: Callable[[float], tuple[float, list[str]]]) -> Chart:
    """Draw twice, for the text column and for a phone. `draw` gets a width and gives a height and elements."""
    drawings = []
    for width, kind in ((WIDE, "wide"), (NARROW, "narrow")):
        height, elements = draw(width)
        drawings.append(picture(f"{key}-{kind}", title, said, (width, height), elements, f"chart {kind}"))
    return Chart(key, title, said, tuple(drawings), table)


def picture(
    key: str, title: str, said: str, size: tuple[float, float], elements: Sequence[str], css: str = "chart"
) -> Drawing:
    """An SVG with a title and a description that screen readers find."""
    width, height = size
    inside = "".join(elements)
    return Drawing(
        f'<svg class="{css}" viewBox="0 0 {_number(width)} {_number(height)}" role="img" '
        f'aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{_clean(title)}</title>'
        f'<desc id="{key}-d">{_clean(said)}</desc>{inside}</svg>'
    )


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    ends = f'x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"'
    return f'<line class="{css}" {ends}/>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """Straight pieces through `points`."""
    steps = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
    return f'<path class="{css}" d="M{steps}"/>' if points else ""


def dot(x: float, y: float, radius: float, css: str, tip: str = "") -> str:
    """A point; `tip` is shown by browsers when it is pointed at."""
    inside = f"<title>{_clean(tip)}</title>" if tip else ""
    return f'<circle class="{css}" cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}">{inside}</circle>'


def box(x: float, y: float, width: float, height: float, css: str) -> str:
    """A rectangle."""
    sides = f'width="{_number(max(width, 0))}" height="{_number(max(height, 0))}"'
    return f'<rect class="{css}" x="{_number(x)}" y="{_number(y)}" {sides}/>'


def text(x: float, y: float, words: str, css: str = "t", anchor: str = "start") -> str:
    """A line of text; `anchor`: start, middle, end."""
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{css}" x="{_number(x)}" y="{_number(y)}"{side}>{_clean(words)}</text>'


def width_of(words: str, size: float = 12.0) -> float:
    """About how wide a line of text is, in pixels."""
    return len(words) * LETTER * size / 12.0


def shortened(name: str, most: int) -> str:
    """A name that may be long, isolated from the writing direction around it."""
    shown = printable(name)
    return f"\u2068{shown if len(shown) <= most else shown[: most - 1] + '…'}\u2069"


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values from `low` to `high`, some `about` of them."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if span / (m * power) <= about)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Positions near `wanted` that are at least `apart`, from `low` to `high` where there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    at = low - apart
    for i in order:
        at = placed[i] = max(wanted[i], at + apart)
    at = high + apart
    for i in reversed(order):
        at = placed[i] = min(placed[i], at - apart)
    return placed


def _clean(words: str) -> str:
    return escape(words, quote=True)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
