"""Fault cases 89 to 96, 101 and 105 of the notes: requests that should not be answered, or only with care."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from odd_pictures import encode, jpeg_of_size, photo, png_bomb

from served import Served, multipart, picture, read_answer, tiny_run

pytest.importorskip("fastapi")

LIMITS = {
    "picture_bytes": 200_000,
    "request_bytes": 1_000_000,
    "body_seconds": 0.6,
    "header_seconds": 0.6,
    "pictures": 16,
}
PNG = picture(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tiny_run(tmp_path_factory.mktemp("run"), explained=False), limits=LIMITS) as served:
        yield served
        assert served.predict(("after.png", PNG)).status == 200, "the server did not survive"


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:{port}", "127.0.0.1.evil.com:{port}", "127.0.0.1:1", "", "*.ip"]
)
def test_case_89_only_its_own_names_are_answered(server: Served, host: str) -> None:
    for path in ("/", "/v1/model", "/healthz"):
        answer = server.ask("GET", path, headers={"Host": host.format(port=server.port)})
        assert (answer.status, answer.code) == (421, "host")


def test_case_89_names_of_this_computer_are(server: Served) -> None:
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        assert server.ask("GET", "/healthz", headers={"Host": f"{host}:{server.port}"}).status == 200
    twice = f"GET /healthz HTTP/1.1\r\nHost: {server.host}\r\nHost: evil.com\r\n\r\n"
    assert server.bytes(twice.encode()).status == 400
    assert server.bytes(b"GET /healthz HTTP/1.0\r\n\r\n").status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.com"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_case_90_other_pages_cannot_post(server: Served, headers: dict[str, str]) -> None:
    body, kind = multipart(("a.png", PNG))
    for method in ("POST", "DELETE", "OPTIONS", "PUT"):
        answer = server.ask(method, "/v1/predict", body, {**kind, **headers})
        assert (answer.status, answer.code) == (403, "origin")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_case_90_our_own_page_can_and_get_changes_nothing(server: Served) -> None:
    body, kind = multipart(("a.png", PNG))
    own = {**kind, "Origin": f"http://{server.host}", "Sec-Fetch-Site": "same-origin"}
    assert server.ask("POST", "/v1/predict", body, own).status == 200
    assert server.ask("GET", "/v1/predict").status == 405
    assert server.ask("DELETE", "/v1/model").status == 405


def test_case_91_a_body_that_says_it_is_huge_is_refused_at_once(server: Served) -> None:
    start = time.monotonic()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    for length in (5_000_000_000, 10**30):
        answer = server.bytes((head % length).encode() + b"x" * 1000)
        assert answer.status in (400, 413)
    assert time.monotonic() - start < 8


def test_case_91_a_body_without_end_is_cut_and_memory_stays_flat(server: Served) -> None:
    before = server.memory()
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    for kind in ("image/png", "multipart/form-data; boundary=b"):
        sent = 0
        with server.socket() as connection:
            connection.sendall((head % kind).encode())
            try:
                if "multipart" in kind:
                    start = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
                    connection.sendall(b"%x\r\n%s\r\n" % (len(start), start))
                while sent < 200_000_000:
                    connection.sendall(piece)
                    sent += 65536
            except OSError:
                pass
            else:
                pytest.fail("it took 200 MB")
    assert server.memory() < before + 30_000_000


def test_case_91_the_reason_is_read_by_a_client_that_is_still_sending(server: Served) -> None:
    answer = server.raw(b"x" * 12_000_000)
    assert (answer.status, answer.code) == (413, "too_large")
    answer = server.raw(b"x" * 500_000)
    assert (answer.status, answer.code) == (413, "too_large")


def test_case_91_a_body_shorter_than_it_says_is_not_waited_for(server: Served) -> None:
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: image/png\r\nContent-Length: 9000\r\n\r\n"
    )
    answer = server.bytes(head.encode() + PNG[:50])
    assert (answer.status, answer.code) == (408, "too_slow")


def test_case_92_too_many_parts_and_fields(server: Served) -> None:
    start = time.monotonic()
    answer = server.predict(*[("a.png", b"x")] * 5000)
    assert (answer.status, answer.code) == (413, "too_many_pictures")
    field = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = server.ask("POST", "/v1/predict", field * 15_000, kind)
    assert (answer.status, answer.code) == (413, "too_many_fields")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--b--\r\n"),
        ("multipart/form-data; boundary=", b"----\r\n"),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--other\r\n\r\nx\r\n--other--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\nno end'),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 40_000 + b"\r\n\r\n\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"X: y\r\n" * 100 + b"\r\nz\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\n\xff\xfe: x\r\n\r\nz\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b""),
        ("image/png", b""),
    ],
)
def test_case_92_malformed_bodies(server: Served, kind: str, body: bytes) -> None:
    answer = server.ask("POST", "/v1/predict", body, {"Content-Type": kind})
    assert answer.status == 400
    assert answer.code in ("malformed", "no_pictures")


def test_case_92_a_header_without_end(server: Served) -> None:
    answer = server.bytes(f"GET / HTTP/1.1\r\nHost: {server.host}\r\nX: ".encode() + b"x" * 100_000)
    assert answer.status in (0, 400, 431)
    assert server.bytes(b"\x16\x03\x01 this is TLS \r\n\r\n").status == 400


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "SVG"),
        (b"GIF89a/*\x01\x00*/=1;alert(1)//", "damaged"),
        (b"<html><script>alert(1)</script>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"", "empty file"),
        (b"\0" * 500, "not an image"),
        (png_bomb(30_000), "too many pixels"),
        (jpeg_of_size(60_000, 60_000), "too many pixels"),
        (encode(photo(), "JPEG")[:700], "truncated"),
    ],
)
def test_case_94_what_is_no_picture_gets_a_reason_in_its_row(server: Served, content: bytes, reason: str) -> None:
    answer = server.predict(("<img src=x>.png", content))
    assert answer.status == 422
    assert reason.lower() in answer.json["predictions"][0]["error"].lower()
    assert b"alert(1)" not in answer.body
    mixed = server.predict(("bad.png", content), ("good.png", PNG))
    assert mixed.status == 200
    assert [row["error"] is None for row in mixed.json["predictions"]] == [False, True]


def test_case_94_types_are_fixed_and_never_guessed(server: Served) -> None:
    for path in ("/", "/page/page.js", "/v1/model", "/nothing", "/v1/predict"):
        headers = server.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    assert server.raw(PNG, "text/html").status == 415
    assert server.raw(PNG, "application/x-www-form-urlencoded").status == 415
    assert server.raw(PNG, "image/png", **{"Content-Encoding": "gzip"}).status == 415
    assert server.raw(PNG, "application/octet-stream").status == 200


def test_case_94_metadata_is_not_repeated(server: Served) -> None:
    marked = encode(photo(), "JPEG", comment=b"<script>alert(1)</script>", exif=b"Exif\0\0II*\0<script>")
    answer = server.predict(("a.jpg", marked))
    assert answer.status == 200
    assert b"script" not in answer.body


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "C:\\\\windows\\\\x", "..\\\\x", "a\0b", "x" * 10_000, "\udcff.png", "a\u202egnp.exe", "=1+1"],
)
def test_case_95_names_are_shown_and_never_used(server: Served, name: str, tmp_path: Path) -> None:
    opened = Path(f"/proc/{server.pid}/cwd")
    before = {p.name for p in opened.iterdir()}
    answer = server.predict((name, PNG))
    assert answer.status == 200
    shown = answer.json["predictions"][0]["name"]
    assert len(shown) <= 255
    assert shown.isprintable()
    assert {p.name for p in opened.iterdir()} == before


def test_case_96_archives_are_refused(server: Served) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../x.png", b"\0" * 10_000_000)
    for name in ("all.zip", "all.png"):
        answer = server.predict((name, bomb.getvalue()))
        assert (answer.status, answer.code) == (422, "unreadable")
        assert "ZIP is not supported" in answer.json["error"]["message"]
    assert server.raw(bomb.getvalue(), "application/zip").status == 415


@pytest.mark.parametrize(
    "path",
    [
        "/page/../../../../etc/passwd", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page//etc/passwd",
        "/page/..\\app.py", "/page/%5c..%5capp.py", "//etc/passwd", "/page/app.py", "/page/page.js%00", "/page/",
        "/v1/training-picture/..%2f..%2fresult.json", "/static/x", "/docs", "/redoc",
    ],
)  # fmt: skip
def test_case_101_there_is_no_way_to_a_file(server: Served, path: str) -> None:
    answer = server.ask("GET", path)
    assert answer.status in (400, 404)
    assert answer.headers["content-type"] == "application/json"


def test_case_101_indices_are_numbers(server: Served) -> None:
    for index in ("-1", "999999999999999999999", "0x1", "1.5", "٣"):
        assert server.bytes(
            f"GET /v1/training-picture/{index} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode()
        ).status in (400, 404)
    assert server.ask("GET", "/v1/training-picture/0").status == 404, "this run explains nothing"


def test_case_105_nothing_of_a_request_reaches_the_log_raw(server: Served) -> None:
    server.predict(("a\r\n12:00:00 GET /forged 200.png", PNG))
    server.bytes(
        f"GET /%0a%0dforged%1b[31m?secret=1 HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode()
    )
    server.ask("GET", "/v1/model", headers={"Authorization": "Bearer very-secret-token"})
    lines = server.log.splitlines()
    assert not [line for line in lines if "\x1b" in line or line.startswith("forged")]
    assert "secret" not in server.log
    assert not [line for line in lines if "forged" in line and "\\n" not in line]


def test_queries_are_checked(server: Served) -> None:
    for query in ("?top=0", "?top=x", "?unsure=2", "?explain=maybe"):
        answer = server.raw(PNG, query=query)
        assert (answer.status, answer.code) == (400, "query")


def test_pictures_too_large_cost_their_own_row(server: Served) -> None:
    big = PNG + b"\0" * 300_000
    answer = server.predict(("a.png", PNG), ("big.png", big))
    assert answer.status == 200
    assert "too large" in answer.json["predictions"][1]["error"]
    assert server.predict(("big.png", big)).status == 413


def test_a_slow_header_ends(server: Served) -> None:
    with server.socket() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHos")
        assert read_answer(connection).status == 408
    with server.socket() as connection:  # also that of a second request
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
        assert read_answer(connection).status == 200
        connection.sendall(b"GET / HTTP/1.1\r\nHos")
        assert read_answer(connection).status == 408
