"""The page: valid, closed, readable by everybody, whatever a run holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE, blind, made_run, old, picture_name, result
from page_rules import Page, faults

from headstart.errors import UsageError
from headstart.images.printable import printable
from headstart.reporting import story
from headstart.reporting.files import read_files
from headstart.reporting.report import page, write_report
from headstart.run import Run

MANY = tuple(f"class {i}" for i in range(1000))


def group_result() -> dict[str, Any]:
    made = result()
    made["accuracy"] |= {"series_top1": 0.7, "series_how": "file order", "shuffled_top1": 0.95}
    made["data"] |= {"groups": 12, "notes": ["two folders hold the same class"]}
    return made


KINDS: dict[str, Any] = {
    "a race": lambda: (result(), 12),
    "no pictures kept": lambda: (result(), 0),
    "two classes": lambda: (result(("no", "yes"), 130), 8),
    "a thousand classes": lambda: (result(MANY, 3), 12),
    "hostile names": lambda: (result(HOSTILE, 10), 12),
    "old": lambda: (old(result()), 0),
    "nothing held out": lambda: (blind(result(per_class=1)), 0),
    "interrupted": lambda: (result(interrupted=True), 0),
    "groups": lambda: (group_result(), 4),
    "everything was trained": lambda: (result(decision={**result()["decision"], "train": "all"}), 4),
    "no findings": lambda: (result(findings=[]), 0),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    return {kind: page(read_files(made_run(folder / kind, *make()))) for kind, make in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_valid_closed_and_accessible(pages: dict[str, str], kind: str) -> None:
    assert faults(pages[kind]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_unknown_is_shown(pages: dict[str, str], kind: str) -> None:
    said = Page(pages[kind]).text
    for word in ("None", "nan", "Undefined", "inf %"):
        assert not re.search(rf"\b{word}\b", said), said[said.index(word) - 80 :][:160]


def test_it_says_in_order_what_the_console_says(pages: dict[str, str]) -> None:
    said = Page(pages["groups"]).text
    made = group_result()
    facts = (*story.measured(made), *story.nearness(made), *story.findings(made), *story.probabilities(made))
    places = [said.rindex(printable(fact)) for fact in (story.sentence(made), *(text for _, text in facts))]
    assert places == sorted(places)


def test_every_part_of_the_page_is_there_in_order(pages: dict[str, str]) -> None:
    text = pages["a race"]
    ids = (
        "result", "ruler-wide", "where", "quadrant", "how-much", "amounts", "profile", "curves", "growth", "pictures",
        "mistakes", "unsure", "suspects", "findings", "trust", "coverage", "run", "phases",
    )  # fmt: skip
    places = [re.search(rf'id="{key}[-"]', text).start() for key in ids]  # type: ignore[union-attr]
    assert places == sorted(places)
    said = Page(text).text
    for piece in (
        "headstart fit pets --out runs/x --seed 7", "one fold would take 3 min", "preparing it takes 3 s", "asked for",
        "256, 64", "Doubling the data would bring about", "Labelled", "numpy 2.4", "new head on the same",
        "code imbalance", "from scratch",
    ):  # fmt: skip
        assert piece in said, piece


def test_every_finding_says_what_to_do_and_a_class_without_test_pictures_has_no_share(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    made = json.loads((run.folder / "result.json").read_text())
    made["test"]["per_class"][1] |= {"recall": None, "n": 0}
    (run.folder / "result.json").write_text(json.dumps(made))
    (run.folder / "bad_images.csv").write_text("path,reason\na.png,truncated\nb.png,same pixels in two classes\n")
    said = Page(page(read_files(run))).text
    assert "Look at them. Correct the label." in said
    assert "2 pictures were left out, for these reasons" in said
    assert "of 0" not in said


def test_names_are_text(pages: dict[str, str]) -> None:
    text = pages["hostile names"]
    assert "<script" not in text and "alert(1)" in text
    said = Page(text).text
    for name in HOSTILE:
        assert printable(name) in said
    assert "{{ 7 * 7 }}" in said and "\u202e" not in text


def test_issues_come_first_and_have_their_pictures(pages: dict[str, str]) -> None:
    found = pages["a race"]
    at = found.index('id="findings"')
    assert found.index("probably wrong", at) < found.index("classes differ in size", at)
    item = found[found.index("<li>", found.index("Look at them", at)) :]
    assert item.index("data:image/jpeg") < item.index(picture_name("cat", 0)) < item.index("</li>")


def test_many_classes_come_in_pages(pages: dict[str, str]) -> None:
    said = Page(pages["a thousand classes"]).text
    assert "Classes 976 to 1000" in said and "most confused pairs" in said
    assert len(pages["a thousand classes"]) < 2_000_000


def test_a_cell_leads_to_its_pictures(pages: dict[str, str]) -> None:
    assert 'href="#cell-1"' in pages["a race"] and 'id="cell-1"' in pages["a race"]


def test_what_cannot_be_said_is_said(pages: dict[str, str]) -> None:
    said = Page(pages["nothing held out"]).text
    for piece in ("too few pictures to say how good", "No picture was held out", "Nothing could be held out"):
        assert piece in said
    assert "Interrupted" in Page(pages["interrupted"]).text
    assert "kept no thumbnails" in Page(pages["no pictures kept"]).text
    assert "was not measured" in Page(pages["old"]).text


def test_the_largest_page_stays_below_six_megabytes(tmp_path: Path) -> None:
    made = result(tuple("abcdef"), 40)
    run = made_run(tmp_path / "run", made, 0)
    from made_runs import csv_rows, explain

    explain(run.folder / "explain", csv_rows(run), 150, (64, 64))
    folder = sum(f.stat().st_size for f in (run.folder / "explain").iterdir())
    assert folder > 1_000_000
    assert write_report(run).stat().st_size < 6_000_000


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"schema": 2, "pictures": []}', '{"schema": 1, "pictures": 3}',
        '{"schema": 1, "pictures": [], "lists": {"mistakes": [0, -1, 99, "x"]}}',
    ],
)  # fmt: skip
def test_a_damaged_explanation_costs_the_pictures_only(tmp_path: Path, content: str) -> None:
    run = made_run(tmp_path / "run", pictures=0)
    (run.folder / "explain").mkdir()
    (run.folder / "explain" / "explain.json").write_text(content)
    assert faults(page(read_files(run))) == []


def test_only_thumbnails_of_the_run_are_shown(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", pictures=3)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8secret")
    path = run.folder / "explain" / "explain.json"
    document = json.loads(path.read_text())
    for k, name in enumerate(("../../secret.jpg", str(secret), "explain.json")):
        document["pictures"][k]["thumb"] = name
    path.write_text(json.dumps(document))
    files = read_files(run)
    assert [files.thumb(p["thumb"]) for p in files.explain["pictures"][:3]] == ["", "", ""]
    assert "no copy kept" in page(files)


def test_nearest_pictures_without_a_copy_are_named_all_the_same(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", pictures=3)
    path = run.folder / "explain" / "explain.json"
    document = json.loads(path.read_text())
    document["neighbours"] = [{**n, "thumb": None, "label": f"alike {k}"} for k, n in enumerate(document["neighbours"])]
    path.write_text(json.dumps(document))
    text = page(read_files(run))
    near = text[text.index('<div class="near">') :].partition("</div>")[0]
    assert "alike 0" in near and "<img" not in near and "no copy kept" not in near


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    path = write_report(run)
    assert path == run.folder / "report.html" and faults(path.read_text("utf-8")) == []
    assert not [p for p in run.folder.iterdir() if p.name.endswith(".tmp")]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        write_report(Run(tmp_path))


def test_a_result_of_another_age_is_refused_in_words(tmp_path: Path) -> None:
    newer = made_run(tmp_path / "newer", result(schema=2), 0)
    with pytest.raises(UsageError, match="newer headstart"):
        write_report(newer)
    broken = result()
    del broken["depths"]
    with pytest.raises(UsageError, match="lacks 'depths'"):
        write_report(made_run(tmp_path / "broken", broken, 0))


def test_everything_the_page_is_made_from_is_installed_with_it() -> None:
    from importlib.resources import files

    folder = files("headstart.reporting")
    names = {f.name for f in (folder / "templates").iterdir()}
    assert {"report.html.j2", "compare.html.j2", "macros.html.j2", "report.css"} <= names
    sets = json.loads((folder / "reference_sets.json").read_text("utf-8"))["backbones"]
    assert "efficientnet_lite0" in sets and all(len(found) >= 7 for found in sets.values())
