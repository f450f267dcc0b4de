"""The page in a real headless Chromium: pictures chosen, pasted and dropped, answers, errors, keyboard, 390 pixels."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import Browser, chromium
from served import ROUGH_DECODER, Served, picture, tiny_run

pytest.importorskip("fastapi")
pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")

HOSTILE = ("<img src=x onerror=alert(1)>", "dog", "=cmd|' /C calc'!A0")
DONE = "document.getElementById('status').textContent.includes('done')"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"), classes=HOSTILE)


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Served]:
    with Served(run, decoder=ROUGH_DECODER, limits={"decode_seconds": 1.0}) as served:
        yield served


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Browser]:
    """The page, just loaded; at the end nothing may have gone wrong in it, nor left this computer."""
    browser.problems.clear()
    browser.requests.clear()
    browser.view(1280, 900)
    browser.goto(server.url)
    browser.wait("document.getElementById('lead').textContent.includes('3 classes')")
    yield browser
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith((server.url, "blob:", "data:"))] == []


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for k in range(3):
        made.append(tmp_path / f"picture {k}.png")
        made[-1].write_bytes(picture(k, 64))
    return made


def expected(server: Served, file: Path) -> dict[str, object]:
    return server.predict((file.name, file.read_bytes()), query="?top=5").json["predictions"][0]


def test_a_picture_is_chosen_and_answered(page: Browser, server: Served, files: list[Path]) -> None:
    page.choose_files("#choose", files[0])
    page.wait(DONE)
    want = expected(server, files[0])
    assert page.text(".verdict h2") == want["class"]
    assert page.text(".side .name") == files[0].name
    assert page.js("document.querySelectorAll('.bars li').length") == 3
    names = page.js("[...document.querySelectorAll('.bar-name')].map(e => e.textContent)")
    assert names == [name for name, _ in want["top"]]


def test_where_it_looked_and_what_is_alike(page: Browser, files: list[Path]) -> None:
    page.choose_files("#choose", files[1])
    page.wait("document.querySelectorAll('.tile img').length === 6")
    page.wait("[...document.querySelectorAll('.tile img')].every(e => e.complete && e.naturalWidth > 0)")
    for side in ("width", "left"):
        edges = [
            page.js(f"document.querySelector('{name}').getBoundingClientRect().{side}")
            for name in (".heat", ".picture")
        ]
        assert edges[0] == pytest.approx(edges[1], abs=1)
    page.js("document.getElementById('heat').click()")
    page.wait("document.querySelector('.heat').hidden")


def test_a_picture_is_pasted(page: Browser) -> None:
    content = base64.b64encode(picture(9, 40)).decode()
    page.js(
        f"""(() => {{
        const bytes = Uint8Array.from(atob("{content}"), c => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "clip.png", {{ type: "image/png" }}));
        document.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: data, bubbles: true }}));
    }})()"""
    )
    page.wait(DONE)
    assert page.text(".side .name") == "clip.png"
    assert page.text(".verdict h2") in (*HOSTILE, "Unsure")


def test_a_picture_is_dropped(page: Browser) -> None:
    content = base64.b64encode(picture(10, 40)).decode()
    page.js(
        f"""(() => {{
        const bytes = Uint8Array.from(atob("{content}"), c => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "dropped.png", {{ type: "image/png" }}));
        data.items.add(new File(["text"], "notes.txt", {{ type: "text/plain" }}));
        const drop = document.getElementById("drop");
        drop.dispatchEvent(new DragEvent("drop", {{ dataTransfer: data, bubbles: true, cancelable: true }}));
    }})()"""
    )
    page.wait(DONE)
    assert page.text(".side .name") == "dropped.png"
    assert "One file is no picture" in page.text("#alert")


def test_case_102_names_of_files_and_classes_stay_text(page: Browser, tmp_path: Path) -> None:
    odd = tmp_path / "<img src=x onerror=alert(2)>&quot;.png"
    odd.write_bytes(picture(2))
    page.choose_files("#choose", odd)
    page.wait("document.querySelectorAll('.tile').length === 6")
    assert page.js("document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert odd.name in page.text(".side .name")
    assert HOSTILE[0] in page.text("#lead")
    assert page.js("[...document.querySelectorAll('.bar-name')].map(e => e.textContent)[0]") in HOSTILE


def test_errors_are_clear_and_cost_one_picture(page: Browser, files: list[Path], tmp_path: Path) -> None:
    text, crash = tmp_path / "notes.png", tmp_path / "crash.png"
    text.write_text("<html>")
    crash.write_bytes(picture(1) + b"KILL")
    page.choose_files("#choose", text, crash, files[0])
    page.wait(DONE)
    assert page.text("#status") == "3 pictures done, 2 not read."
    assert page.text(".verdict h2") == "Not read"
    assert "looks like HTML" in page.text(".verdict")
    assert page.js("[...document.querySelectorAll('#list li')].map(e => e.classList.contains('bad'))") == [
        True,
        True,
        False,
    ]
    page.problems.clear()  # the browser says that it cannot show notes.png, too


def test_many_pictures_become_a_csv_without_formulas(page: Browser, server: Served, tmp_path: Path) -> None:
    files = []
    for k in range(20):
        files.append(tmp_path / (f"=SUM(A{k}).png" if k % 2 else f"a,{k}.png"))
        files[-1].write_bytes(picture(100 + k))
    page.js(
        "URL.createObjectURL = (make => blob => { window.lastBlob = blob; return make(blob); })(URL.createObjectURL)"
    )
    page.choose_files("#choose", *files)
    page.wait("document.getElementById('status').textContent.startsWith('20 pictures done')")
    page.js("document.getElementById('csv').click()")
    text = page.wait("window.lastBlob?.type.startsWith('text/csv') && window.lastBlob.text()")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["name"] for row in rows] == [("'" if k % 2 else "") + file.name for k, file in enumerate(files)]
    want = expected(server, files[3])
    assert float(rows[3]["probability"]) == pytest.approx(want["probability"])
    cells = [value for row in rows for value in row.values()]
    assert not [value for value in cells if value.startswith(("=", "+", "-", "@"))]


def test_the_threshold_says_unsure_and_what_it_costs(page: Browser, files: list[Path]) -> None:
    page.choose_files("#choose", *files)
    page.wait(DONE)
    page.js(
        "(() => { const e = document.getElementById('unsure'); e.value = 99; e.dispatchEvent(new Event('input')) })()"
    )
    assert page.text(".verdict h2") == "Unsure"
    assert page.js("document.querySelectorAll('#list li.unsure').length") == 3
    said = "At 90 %: in cross-validation 55 % of the pictures got an answer; 89.0 % of these were right."
    assert said in page.text("#unsure-meaning")


def test_keyboard_only(page: Browser, files: list[Path]) -> None:
    seen = []
    for _ in range(3):
        page.press("Tab")
        seen.append(page.js("document.activeElement.id || document.activeElement.className"))
    assert seen[:2] == ["skip", "choose"]
    page.choose_files("#choose", *files)  # what Enter opens is the system's dialog
    page.wait(DONE)
    page.js("document.getElementById('choose').focus()")
    for _ in range(4):
        page.press("Tab")
        if page.js("document.activeElement.id") == "unsure":
            break
    before = page.text("#unsure-value")
    page.press("ArrowRight", 5)
    assert page.text("#unsure-value") != before
    for _ in range(12):
        page.press("Tab")
        if page.js("document.activeElement.matches('#list li:nth-child(2) .row')"):
            break
    page.press("Enter")
    page.wait(f"document.querySelector('.side .name').textContent === {json.dumps(files[1].name)}")
    page.wait("!!document.getElementById('heat')")
    for _ in range(6):
        page.press("Tab")
        if page.js("document.activeElement.id") == "heat":
            break
    page.press(" ")
    page.wait("document.querySelector('.heat').hidden")
    assert page.js("document.activeElement.id") == "heat", "the focus is lost"
    outline = page.js("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


@pytest.mark.parametrize("dark", [False, True])
def test_390_pixels_without_overflow(page: Browser, files: list[Path], dark: bool, tmp_path: Path) -> None:
    page.view(390, 844, dark=dark, touch=True)
    long = tmp_path / ("x" * 120 + ".png")
    long.write_bytes(picture(5, 200))
    for chosen in ([], [files[0]], [long, *files]):
        if chosen:
            page.choose_files("#photograph", *chosen)
            page.wait(DONE)
        assert page.js("document.documentElement.scrollWidth") <= 390
    assert page.js("getComputedStyle(document.querySelector('label.photograph')).display") != "none"
    assert page.js("document.getElementById('photograph').getAttribute('capture')") == "environment"


def test_contrast_in_light_and_dark(page: Browser, files: list[Path]) -> None:
    page.choose_files("#choose", files[0])
    page.wait(DONE)
    for dark in (False, True):
        page.view(1280, 900, dark=dark)
        for selector in (".hint", ".lead", ".bar-share", ".button.primary", ".bar-name", ".tile-name", ".about"):
            ratio = page.js(CONTRAST % json.dumps(selector))
            assert ratio is None or ratio >= 4.5, (selector, dark, ratio)


CONTRAST = """(() => {
  const element = document.querySelector(%s);
  if (!element) return null;
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 10 ? v / 3294 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, part, k) => sum + part * linear(rgb[k]), 0);
  let behind = element;
  while (behind && (numbers(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const a = light(numbers(getComputedStyle(element).color));
  const b = light(numbers(getComputedStyle(behind).backgroundColor));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})()"""


def test_a_server_that_is_gone_is_said(browser: Browser, run: Path, files: list[Path]) -> None:
    token = "a-token-of-the-test"
    with Served(run, token=token) as served:
        browser.view(1280, 900)
        browser.goto(served.url)
        browser.wait("document.getElementById('token-dialog').open")
        for given in ("wrong", token):
            browser.wait("document.getElementById('token-dialog').open && document.activeElement.id === 'token'")
            browser.type(given)
            browser.press("Enter")
        browser.wait("document.getElementById('lead').textContent.includes('3 classes')")
        browser.choose_files("#choose", files[0])
        browser.wait("document.querySelectorAll('.tile img').length === 6")
        served.signal()
        served.end()
        browser.choose_files("#choose", files[1])
        browser.wait("document.getElementById('alert').textContent.includes('does not answer')")
        assert browser.text(".verdict h2") == "Not read"
    browser.goto("about:blank#")
