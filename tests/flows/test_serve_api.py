"""The API as a program uses it: rows, options, explanations, what it says about itself."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from served import Served, multipart, picture, tiny_run
from tiny import CLASSES

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Served]:
    with Served(run) as served:
        yield served


def test_rows_have_the_keys_that_are_promised_in_the_order_sent(server: Served) -> None:
    names = [f"{k}.png" for k in (3, 1, 2)]
    answer = server.predict(*[(name, picture(int(name[0]))) for name in names])
    assert answer.headers["content-type"] == "application/json"
    rows = answer.json["predictions"]
    assert list(answer.json) == ["predictions"]
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert list(row) == ["name", "class", "probability", "top", "error"]
        assert row["top"][0] == [row["class"], row["probability"]]
        assert sum(p for _, p in row["top"]) == pytest.approx(1, abs=1e-5)
    assert server.raw(picture(3)).json["predictions"][0] == {**rows[0], "name": None}


def test_top_and_unsure(server: Served) -> None:
    for top, count in ((1, 1), (2, 2), (99, len(CLASSES))):
        assert len(server.raw(picture(1), query=f"?top={top}").json["predictions"][0]["top"]) == count
    p = server.raw(picture(1)).json["predictions"][0]["probability"]
    for threshold, unsure in ((0.0, False), (p - 0.001, False), (p + 0.001, True), (1.0, True)):
        row = server.raw(picture(1), query=f"?unsure={threshold}").json["predictions"][0]
        assert (row["unsure"], row["class"]) == (unsure, row["top"][0][0])


def test_explanations(server: Served, run: Path) -> None:
    sent = (run / "data" / "05.png").read_bytes()
    answer = server.predict(("a.png", sent), ("bad.png", b"no picture"), query="?explain=1")
    good, bad = answer.json["predictions"]
    assert "heat" not in bad
    heat = good["heat"]
    assert len(heat["values"]) == heat["rows"] * heat["columns"]
    assert heat["box"] == [0, 0, 1, 1]
    first = good["nearest"][0]
    assert (first["index"], first["name"], first["label"], first["picture"]) == (5, "05.png", CLASSES[2], True)
    plain = server.raw(sent).json["predictions"][0]
    assert good == {**plain, "name": "a.png", "heat": heat, "nearest": good["nearest"]}
    many = server.predict(*[("a.png", sent)] * 9, query="?explain=1")
    assert (many.status, many.code) == (413, "too_many_pictures")


def test_thumbnails_are_small_jpegs_of_what_is_still_there(server: Served, run: Path) -> None:
    Image.new("RGB", (900, 300), "red").save(run / "data" / "07.png")
    answer = server.ask("GET", "/v1/training-picture/7")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.body)) as small:
        assert small.size == (160, 53)
    (run / "data" / "08.png").unlink()
    (run / "data" / "09.png").write_bytes(b"no picture any more")
    for index in (8, 9, 12):
        assert server.ask("GET", f"/v1/training-picture/{index}").status == 404


def test_what_it_says_about_itself(server: Served, run: Path) -> None:
    about = server.ask("GET", "/v1/model").json
    assert about["classes"] == list(CLASSES)
    assert about["accuracy"]["top1"] == 0.9
    assert about["explains"] == {"heat": True, "nearest": True}
    assert about["limits"]["picture_bytes"] == 20_000_000
    assert server.raw(picture(1)).headers["headstart-model"] == about["version"]
    assert server.ask("GET", "/healthz").json == {"status": "ok"}
    assert server.ask("GET", "/readyz").json == {"status": "ready"}


def test_the_description_fits_the_answers(server: Served) -> None:
    document = server.ask("GET", "/openapi.json").json
    assert set(document["paths"]) == {
        "/v1/predict", "/v1/model", "/v1/training-picture/{index}", "/healthz", "/readyz",
    }  # fmt: skip
    post = document["paths"]["/v1/predict"]["post"]
    assert {"multipart/form-data", "image/*"} <= set(post["requestBody"]["content"])
    assert [p["name"] for p in post["parameters"]] == ["top", "unsure", "explain"]
    row = document["components"]["schemas"]["Prediction"]["properties"]
    explained = server.raw(picture(1), query="?unsure=0.5&explain=1").json["predictions"][0]
    assert set(row) == set(explained)
    about = document["components"]["schemas"]["About"]["properties"]
    assert set(about) == set(server.ask("GET", "/v1/model").json)
    for status in ("400", "401", "403", "408", "413", "415", "421", "422", "503"):
        assert status in post["responses"]


def test_a_connection_is_kept_for_further_requests(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for _ in range(3):
        connection.request("POST", "/v1/predict", *multipart(("a.png", picture(1))))
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        assert connection.sock.getsockname()[1] == port
    connection.close()


def test_the_page_is_cached_by_its_content(server: Served) -> None:
    first = server.ask("GET", "/page/page.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = server.ask("GET", "/page/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert server.ask("HEAD", "/").status == 200
    assert b"<script>" not in server.ask("GET", "/").body
    assert b"http://" not in first.body
    assert b"https://" not in first.body
