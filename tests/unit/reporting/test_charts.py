"""The charts show what the result says, at both widths."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from made_runs import old, result
from PIL import Image

from headstart.reporting.charts import svg
from headstart.reporting.charts.amounts import amounts, rows_of
from headstart.reporting.charts.curves import curves
from headstart.reporting.charts.growth import doubling, growth
from headstart.reporting.charts.heat import overlay
from headstart.reporting.charts.phases import phases
from headstart.reporting.charts.profile import profile
from headstart.reporting.charts.quadrant import quadrant, region
from headstart.reporting.charts.ruler import ruler
from headstart.reporting.charts.trust import coverage_chart, reliability_chart

RNG = np.random.default_rng(0)
P = RNG.uniform(0.3, 1.0, 600)
RIGHT = RNG.uniform(size=600) < P


def every_chart() -> dict[str, Any]:
    made = result()
    found = {f.__name__: f(made) for f in (ruler, quadrant, amounts, profile, curves, growth, phases)}
    return {**found, "reliability": reliability_chart(P, RIGHT), "coverage": coverage_chart(made, P, RIGHT)}


@pytest.mark.parametrize("name", every_chart())
def test_everything_is_drawn_inside_the_picture_twice(name: str) -> None:
    chart = every_chart()[name]
    assert [d.text.split("viewBox")[0].count(k) for d, k in zip(chart.drawings, ("wide", "narrow"), strict=True)] == [
        1,
        1,
    ]
    for drawing in chart.drawings:
        width, height = (float(v) for v in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing.text).groups())  # type: ignore[union-attr]
        xs = [float(v) for v in re.findall(r' (?:x|x1|x2|cx)="(-?[\d.]+)"', drawing.text)]
        ys = [float(v) for v in re.findall(r' (?:y|y1|y2|cy)="(-?[\d.]+)"', drawing.text)]
        assert xs and min(xs) >= 0 and max(xs) <= width and min(ys) >= 0 and max(ys) <= height
        assert "nan" not in drawing.text


def texts(drawing: str) -> list[tuple[float, float, float, str]]:
    """About where every text begins and ends, its base line, and what it says."""
    found = []
    for x, y, anchor, words in re.findall(
        r'<text [^>]*x="([-\d.]+)" y="([-\d.]+)"(?: text-anchor="(\w+)")?>([^<]*)<', drawing
    ):
        wide = svg.width_of(words)
        start = float(x) - {"middle": wide / 2, "end": wide}.get(anchor, 0.0)
        found.append((start, start + wide, float(y), words))
    return found


@pytest.mark.parametrize("name", every_chart())
def test_no_word_leaves_the_picture(name: str) -> None:
    for drawing in every_chart()[name].drawings:
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing.text).group(1))  # type: ignore[union-attr]
        assert [t for t in texts(drawing.text) if t[0] < -4 or t[1] > width + 4] == []


@pytest.mark.parametrize("steep", [False, True])
def test_the_thresholds_stand_clear_of_the_line_of_coverage(steep: bool) -> None:
    probability = np.sort(RNG.uniform(0.45, 1.0, 160))
    right = RNG.uniform(size=160) < (probability > 0.6 if steep else np.full(160, 0.9))
    chart = coverage_chart({}, probability, right)
    assert chart is not None
    for drawing in chart.drawings:
        line = re.search(r'class="run chosen" d="M([^"]+)"', drawing.text).group(1)  # type: ignore[union-attr]
        points = [tuple(float(v) for v in step.split()) for step in line.split("L")]
        said = texts(drawing.text)
        names = said[[t[3] for t in said].index("share answered, against share right of those") + 1 :]
        assert len(names) >= 3
        for start, end, base, words in names:
            assert [p for p in points if start < p[0] < end and base - 9 < p[1] < base] == [], words


@pytest.mark.parametrize("name", every_chart())
def test_a_table_stands_behind_every_chart(name: str) -> None:
    table = every_chart()[name].table
    assert table.rows and all(len(row) == len(table.head) for row in table.rows)


@pytest.mark.parametrize(
    ("size", "near", "name"),
    [
        (5, 0.1, "few and near"),
        (20, 0.9, "few and near"),
        (21, 0.9, "many and near"),
        (5, 1.2, "few and far"),
        (900, 2.0, "many and far"),
    ],
)
def test_regions(size: float, near: float, name: str) -> None:
    assert region(size, near)[0] == name


def placed(chart: Any) -> tuple[float, float]:
    x, y = re.search(r'class="mine point" cx="([\d.]+)" cy="([\d.]+)"', chart.drawings[0].text).groups()
    return float(x), float(y)


def test_the_users_set_stands_where_it_belongs() -> None:
    def at(per_class: float, position: float | None) -> tuple[float, float]:
        made = result()
        made["size"]["images_per_class"] = per_class
        made["similarity"]["position"] = position
        return placed(quadrant(made))

    few, many, far = at(5, 0.3), at(500, 0.3), at(5, 1.9)
    assert few[0] < many[0] and few[1] == many[1] and far[1] < few[1] and far[0] == few[0]


def test_an_older_result_has_a_place_or_none() -> None:
    made = old(result())
    assert "mine point" not in quadrant(made).drawings[0].text and "not measured" in quadrant(made).said  # type: ignore[union-attr]
    made["similarity"] |= {"place": "far", "bn_shift": 0.3}
    assert "far from what the network has seen" in quadrant(made).said  # type: ignore[union-attr]


def test_reference_sets_are_those_of_the_backbone() -> None:
    made = result()
    assert "measured with efficientnet_lite0" in quadrant(made).said  # type: ignore[union-attr]
    made["decision"]["backbone"] = "efficientnet_lite2"
    assert "measured with efficientnet_lite2" in quadrant(made).said  # type: ignore[union-attr]
    made["decision"]["backbone"] = "mine@file"
    assert "measured with efficientnet_lite0" in quadrant(made).said  # type: ignore[union-attr]


def test_amounts_are_compared_on_the_same_pictures() -> None:
    rows = {r.train: r for r in rows_of(result())}
    assert list(rows) == ["head", "last-1", "all", "scratch"]
    last = rows["last-1"]
    assert (last.head, last.low, last.high) == (0.85, pytest.approx(0.83), pytest.approx(0.89))
    assert rows["all"].top1 is None and "more than was left" in rows["all"].why
    assert rows["head"].chosen and not last.chosen
    assert "An upright tick is the new head" in amounts(result()).said  # type: ignore[union-attr]


def test_without_paired_figures_that_is_said() -> None:
    made = result()
    for c in made["candidates"]:
        c.pop("head_top1", None)
    assert "each one's own" in amounts(made).said  # type: ignore[union-attr]


def test_a_law_gives_back_what_it_was_made_from() -> None:
    points = [(n, 1 - 2.0 * n**-0.5) for n in (100.0, 200.0, 300.0, 400.0)]
    found = doubling(points, 5000)
    gain = 2.0 * 400**-0.5 - 2.0 * 800**-0.5
    assert found.low is not None and found.high is not None and found.low <= gain + 1e-9 <= found.high + 2e-9
    inverse = doubling([(n, 0.9 - 10 / n) for n in (100.0, 200.0, 300.0, 400.0)], 5000)
    assert inverse.low == pytest.approx(10 / 400 - 10 / 800, abs=1e-6)


@pytest.mark.parametrize(
    ("points", "judged", "word"),
    [
        ([(100, 0.8), (200, 0.802), (300, 0.799), (400, 0.801)], 400, "cannot be said"),
        ([(100, 0.9), (200, 0.8), (300, 0.7)], 4000, "cannot be said"),
        ([(100, 0.9), (200, 0.95), (300, 1.0)], 400, "Every held-out picture was right"),
        ([(100, 0.9), (200, 0.95)], 400, "Too few points"),
    ],
)
def test_nothing_is_extrapolated_from_noise(points: list[tuple[float, float]], judged: int, word: str) -> None:
    found = doubling(points, judged)
    assert word in found.said and found.laws == () and found.low is None


def test_reliability_needs_pictures_and_sees_too_much_confidence() -> None:
    assert reliability_chart(P[:150], RIGHT[:150]) is None
    assert "agree with it" in reliability_chart(P, RIGHT).said  # type: ignore[union-attr]
    sure = reliability_chart(np.full(600, 0.99) - RNG.uniform(0, 0.01, 600), RNG.uniform(size=600) < 0.7)
    assert "promise too much" in sure.said  # type: ignore[union-attr]


def test_coverage_uses_what_the_run_wrote() -> None:
    marks = [{"threshold": 0.5, "coverage": 0.8, "top1": 0.97, "n": 480}]
    chart = coverage_chart({**result(), "coverage": marks}, P, RIGHT)
    assert "80.0 % are answered and 97.0 %" in chart.said and len(chart.table.rows) == 1  # type: ignore[union-attr]


def test_heat_is_ordered_over_black_and_over_white() -> None:
    """Every step from no evidence to most is lighter, whatever lies below; none can cross."""
    values = list(range(0, 256, 16))
    uri = overlay({"rows": 1, "columns": 16, "values": values})
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA")
    assert picture.size == (64, 4) and len(uri) < 2000
    shown = {}
    for ground in (0, 255):
        below = Image.new("RGBA", picture.size, (ground, ground, ground, 255))
        shown[ground] = np.asarray(Image.alpha_composite(below, picture).convert("L")).astype(int)[2, 2:-2:4]
        assert (np.diff(shown[ground]) >= 0).all() and shown[ground][-1] - shown[ground][0] > 60
    assert shown[255][0] < shown[0][-1] + 20  # a veiled white is hardly lighter than a glowing black


@pytest.mark.parametrize(
    "heat",
    [
        {},
        {"rows": 2, "columns": 2, "values": [1]},
        {"rows": 0, "columns": 1, "values": []},
        {"rows": 9999, "columns": 9999, "values": [1]},
    ],
)
def test_damaged_heat_is_left_out(heat: dict[str, Any]) -> None:
    assert overlay(heat) == ""


def test_labels_keep_apart_and_inside() -> None:
    placed = svg.spread([10.0, 11.0, 12.0, 200.0], 15, 0, 60)
    gaps = np.diff(sorted(placed))
    assert (gaps >= 15 - 1e-9).all() and max(placed) <= 60


def test_ticks_are_round_and_inside() -> None:
    assert svg.round_ticks(0.62, 0.91, 4) == [0.7, 0.8, 0.9]
    assert svg.round_ticks(0.0, 1.0, 4) == [0.0, 0.25, 0.5, 0.75, 1.0] or len(svg.round_ticks(0.0, 1.0, 4)) <= 6
    assert svg.round_ticks(0.5, 0.5) != []


def test_a_long_name_is_cut_and_isolated() -> None:
    assert svg.shortened("a\nb", 9) == "\u2068a\\nb\u2069"
    assert svg.shortened("x" * 50, 10) == "\u2068" + "x" * 9 + "…\u2069"


@pytest.mark.parametrize("top1", np.linspace(0.5, 1.0, 26))
def test_guessing_and_this_classifier_stand_apart(top1: float) -> None:
    made = result()
    made["accuracy"] |= {"baseline": 0.5, "top1": float(top1), "low": float(top1) - 0.05, "high": min(1.0, top1 + 0.05)}
    chart = ruler(made)
    assert chart is not None
    for drawing in chart.drawings:
        (mine,) = [t for t in texts(drawing.text) if t[3] == "this classifier"]
        (guessing,) = [t for t in texts(drawing.text) if t[3] == "guessing"]
        assert guessing[2] != mine[2] or mine[0] - guessing[1] >= 12, "a gap as wide as two letters"
