"""Two runs on the pictures they share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE, made_run, predictions, result
from page_rules import Page, faults

from headstart.errors import UsageError
from headstart.images.printable import printable
from headstart.reporting.compare import compare, write_comparison
from headstart.reporting.files import read_files
from headstart.run import Run


def pair(
    tmp_path: Path, second_rows: list[list[Any]], classes: tuple[str, ...] = ("cat", "dog", "elk")
) -> tuple[Run, Run]:
    made = result(classes)
    rows = predictions(made, wrong_every=4)
    return made_run(tmp_path / "one", made, 0, rows), made_run(tmp_path / "two", made, 0, second_rows)


def found(pair: tuple[Run, Run]) -> dict[str, Any]:
    return compare(*(read_files(run) for run in pair))


def test_a_run_against_itself_differs_nowhere(tmp_path: Path) -> None:
    same = found(pair(tmp_path, predictions(result(), wrong_every=4)))
    assert same["difference"] == 0 and same["p_value"] == 1 and same["n"] == 60
    assert same["only_first_right"] == same["only_second_right"] == 0
    assert "right and wrong on the same pictures" in same["sentence"]


def test_better_beyond_noise_is_called_so_both_ways(tmp_path: Path) -> None:
    made = result()
    good = [[r[0], r[1], r[1], "0.9", "0.9"] for r in predictions(made)]
    one, two = pair(tmp_path, good)
    worse = found((one, two))
    better = found((two, one))
    assert worse["difference"] == pytest.approx(-0.25) == -better["difference"]
    assert "worse beyond noise" in worse["sentence"] and "better beyond noise" in better["sentence"]
    assert worse["low"] < -0.25 < worse["high"] < 0 and worse["p_value"] < 0.01
    assert better["p_better_nll"] > 0.9 and better["per_class"][0] == {
        "class": "cat",
        "n": 20,
        "first": 1.0,
        "second": 0.75,
    }


def test_pictures_of_one_group_are_drawn_together(tmp_path: Path) -> None:
    made = result()
    good = [[r[0], r[1], r[1], "0.9", "0.9"] for r in predictions(made)]
    rows = predictions(made, wrong_every=4)
    alone = compare(*(read_files(made_run(tmp_path / n, made, 0, r)) for n, r in (("a", good), ("b", rows))))
    made["data"]["groups"] = 6
    panels = [[*row, i // 10] for i, row in enumerate(sorted(rows, key=lambda r: r[1] != r[2]))]
    where = {row[0]: row[5] for row in panels}
    grouped = [[*row, where[row[0]]] for row in good]
    seen = compare(*(read_files(made_run(tmp_path / n, made, 0, r)) for n, r in (("c", grouped), ("d", panels))))
    assert seen["difference"] == alone["difference"] == pytest.approx(0.25)
    assert seen["groups"] == 6 and seen["p_value"] is None and alone["groups"] is None
    assert seen["high"] - seen["low"] > 1.5 * (alone["high"] - alone["low"])  # the mistakes lie in two of six groups
    assert "6 groups kept together" in seen["sentence"] and "McNemar" not in seen["sentence"]


def test_only_what_both_held_out_counts(tmp_path: Path) -> None:
    rows = predictions(result(), wrong_every=4)
    rows[0][1] = "dog"  # relabelled since
    half = found(pair(tmp_path, rows[:30]))
    assert half["n"] == 29 and half["relabelled"] == 1
    assert "on 29 pictures" in half["sentence"]


@pytest.mark.parametrize(
    ("rows", "classes", "word"),
    [
        ([["other.jpg", "cat", "cat", "0.9", "0.9"]], ("cat", "dog", "elk"), "no picture in common"),
        ([], ("cat", "dog", "elk"), "no held-out answers"),
        (None, ("cat", "dog", "fox"), "different classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, rows: Any, classes: tuple[str, ...], word: str) -> None:
    one = made_run(tmp_path / "one", pictures=0)
    two = made_run(tmp_path / "two", result(classes), 0, rows)
    with pytest.raises(UsageError, match=word):
        write_comparison(one, two)
    assert not list(tmp_path.rglob("compare*"))
    with pytest.raises(UsageError, match="no finished run"):
        write_comparison(one, Run(tmp_path / "nothing"))


def test_the_page_keeps_the_rules_and_names_are_text(tmp_path: Path) -> None:
    rows = [[r[0], r[1], r[1], "0.9", "0.9"] for r in predictions(result(HOSTILE))]
    one, two = pair(tmp_path, rows, HOSTILE)
    path, _ = write_comparison(one, two)
    assert path.name == "compare-two.html"
    text = path.read_text("utf-8")
    assert faults(text) == []
    for name in HOSTILE:
        assert printable(name) in Page(text).text


def test_a_strange_folder_gives_a_plain_file(tmp_path: Path) -> None:
    one = made_run(tmp_path / "one", pictures=0)
    two = made_run(tmp_path / "<b> ..\n\u05d0", pictures=0)
    path, _ = write_comparison(one, two)
    assert (
        path.parent == one.folder
        and re.fullmatch(r"compare-[\w.-]+\.html", path.name)
        and faults(path.read_text("utf-8")) == []
    )
