"""Contrast of the page's colours, computed from its style sheet: AA in both schemes."""

from __future__ import annotations

import re

import pytest

from headstart.reporting.report import TEMPLATES

STYLE = (TEMPLATES / "report.css").read_text("utf-8")
TEXT = [
    *((ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "soft")),
    ("on-ink", "ink"),
    *(("ink", f"{kind}{level}") for kind in "rw" for level in range(1, 7)),
]
MARKS = [("mark", "paper"), ("mark", "soft"), ("accent", "paper"), ("accent", "soft")]


def tokens(scheme: str) -> dict[str, str]:
    roots = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", roots[0]))
    return {**found, **dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", roots[1]))} if scheme == "dark" else found


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_is_that_of_the_guideline() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (MARKS, 3.0)])
def test_contrast(scheme: str, pairs: list[tuple[str, str]], least: float) -> None:
    known = tokens(scheme)
    weak = {
        f"{a} on {b}": round(contrast(known[a], known[b]), 2) for a, b in pairs if contrast(known[a], known[b]) < least
    }
    assert weak == {}


def test_every_colour_has_a_name_and_a_dark_side() -> None:
    roots = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    rest = STYLE.replace(roots[0], "").replace(roots[1], "")
    assert re.findall(r"#[0-9a-f]{3,6}\b(?=[^{]*;)", rest) == []
    light, dark = (set(re.findall(r"--([\w-]+): #", root)) for root in roots[:2])
    assert light == dark


def test_what_is_used_is_defined() -> None:
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= set(tokens("light"))
