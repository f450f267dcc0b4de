"""headstart report: the page of a real run, the comparison, errors in one line, and a look in a real browser."""

from __future__ import annotations

import json
import shutil
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import headstart, one_line

from chromium import Browser, chromium


@pytest.fixture(scope="module")
def run(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "digits"
    done = headstart("fit", few_digits, "--out", folder, "--train", "head")
    assert done.code == 0, done.err
    return folder


def test_the_page_is_made_again_from_the_files(run: Path) -> None:
    (run / "report.html").unlink(missing_ok=True)
    done = headstart("report", run)
    sentence, path = done.out.splitlines()
    assert done.code == 0 and sentence.startswith("Trained a new head") and Path(path) == run / "report.html"
    first = (run / "report.html").read_bytes()
    assert headstart("report", run, "--json").json["page"] == str(run / "report.html")
    assert (run / "report.html").read_bytes() == first
    assert sentence.replace(" %", "\u00a0%") in first.decode()


def test_two_runs_are_compared(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    done = headstart("report", run, "--compare", other, "--json").json
    assert done["compare"]["difference"] == 0 and done["compare"]["n"] == 15
    assert Path(done["compare_page"]).is_file()
    said = headstart("report", run, "--compare", other).out
    assert "right and wrong on the same pictures" in said and "compare-other.html" in said


def test_it_opens_in_the_browser(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))
    assert headstart("report", run, "--open").code == 0
    assert opened == [(run / "report.html").resolve().as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert "yourself" in headstart("report", run, "--open").err


def test_errors_are_one_line(run: Path, tmp_path: Path) -> None:
    assert "no finished run" in one_line(failed := headstart("report", tmp_path)) and failed.code == 2
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "predictions.csv").write_text("path,label,predicted,probability,probability_of_label\n")
    assert "no held-out answers" in one_line(headstart("report", run, "--compare", other))
    renamed = json.loads((run / "result.json").read_text())
    renamed["data"]["class_names"][0] = "x"
    (other / "result.json").write_text(json.dumps(renamed))
    assert "different classes" in one_line(headstart("report", run, "--compare", other))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, document.body.scrollWidth]"
OUTSIDE = """[...document.querySelectorAll('main *')].filter(n => !n.closest('.scroll, svg, .unseen') &&
    n.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(n => n.outerHTML.slice(0, 90))"""
OPENED = "document.querySelectorAll('details').forEach(d => d.open = true)"


@pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser_nothing_overflows_and_nothing_complains(
    run: Path, browser: Browser, width: int, dark: bool
) -> None:
    headstart("report", run)
    browser.problems.clear()
    browser.requests.clear()
    browser.view(width, 900, dark=dark)
    browser.goto((run / "report.html").resolve().as_uri())
    browser.js(OPENED)
    assert set(browser.js(WIDTHS)) == {width}
    assert browser.js(OUTSIDE) == []
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    grounds = browser.js("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert (grounds[0] == "rgb(255, 255, 255)") != dark
