"""Fault cases 93, 97 to 100, 104 and 106 of the notes: many clients, slow ones, decoders that die, the server's end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headstart.artefact.write import write_classifier
from headstart.classifier.classifier import Classifier
from served import ROUGH_DECODER, Answer, Served, multipart, picture, read_answer, tiny_run, until
from tiny import CLASSES, tiny_artefact

pytest.importorskip("fastapi")
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks at processes through /proc")

LIMITS = {"queue": 6, "decode_seconds": 0.7, "header_seconds": 0.6, "body_seconds": 0.6, "connections": 120}
PNG = picture(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Served]:
    with Served(run, limits=LIMITS, decoder=ROUGH_DECODER) as served:
        yield served


def patiently(ask: Callable[[], Answer], seconds: float = 20.0) -> tuple[Answer, int]:
    """An answer after as many 503s as it takes, and how many these were."""
    deadline, refused = time.monotonic() + seconds, 0
    while (answer := ask()).status == 503 and time.monotonic() < deadline:
        assert answer.headers["retry-after"] == "1"
        refused += 1
        time.sleep(random.uniform(0.02, 0.1))
    return answer, refused


def test_case_97_many_clients_each_get_their_own_answer(server: Served, run: Path) -> None:
    contents = [picture(1000 + k, 48) for k in range(40)]
    expected = Classifier.load(run).probabilities(contents).values
    barrier = threading.Barrier(40)

    def client(k: int) -> list[tuple[Answer, int]]:
        barrier.wait()
        return [patiently(lambda: server.predict((f"{k}.png", contents[k]), query="?top=3")) for _ in range(3)]

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(client, range(40)))
    for k, each in enumerate(answers):
        for answer, _ in each:
            row = answer.json["predictions"][0]
            assert answer.status == 200
            assert row["name"] == f"{k}.png"
            found = dict(row["top"])
            assert [found[name] for name in CLASSES] == pytest.approx(expected[k].tolist(), abs=1e-5)


def test_case_97_more_than_the_queue_holds_is_told_to_come_again(server: Served) -> None:
    slow = [(f"{k}.png", PNG + b"HANG") for k in range(6)]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(patiently, lambda: server.predict(*slow))
        assert until(lambda: server.predict(("a.png", PNG)).status == 503)
        answer = server.predict(("a.png", PNG))
        assert (answer.code, answer.headers["retry-after"]) == ("busy", "1")
        assert server.ask("GET", "/healthz").status == 200
        assert [row["error"] for row in first.result()[0].json["predictions"]] == [
            "decoding it took more than 0.7 seconds"
        ] * 6
    assert patiently(lambda: server.predict(("a.png", PNG)))[0].status == 200


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (b"KILL", "the decoder crashed on it"),
        (b"ABORT", "the decoder crashed on it"),
        (b"LIE", "the decoder crashed on it"),
        (b"HUGE", "the decoder crashed on it"),
        (b"HANG", "decoding it took more than 0.7 seconds"),
    ],
)
def test_case_100_a_decoder_that_dies_costs_one_picture(server: Served, mark: bytes, reason: str) -> None:
    good = [(f"{k}.png", picture(k)) for k in range(5)]
    want = [row["top"] for row in server.predict(*good).json["predictions"]]
    answer = server.predict(*good[:3], ("bad.png", PNG + mark), *good[3:])
    assert answer.status == 200
    rows = answer.json["predictions"]
    assert rows.pop(3)["error"] == reason
    assert [[p for _, p in row["top"]] for row in rows] == [
        pytest.approx([p for _, p in top], abs=1e-5) for top in want
    ]
    assert server.predict(("bad.png", PNG + mark)).status == 422


def test_case_100_all_decoders_killed_at_once_are_replaced(server: Served) -> None:
    assert until(lambda: len(server.children()) >= 2)
    for pid in server.children():
        with contextlib.suppress(ProcessLookupError):  # it hung in the test before and has just been ended
            os.kill(pid, signal.SIGKILL)
    rows = [server.predict(("a.png", PNG)).json["predictions"][0] for _ in range(6)]
    assert rows[-1]["error"] is None
    assert until(lambda: server.ask("GET", "/readyz").status == 200)


def test_case_93_fifty_slow_clients_do_not_stop_others(server: Served) -> None:
    slow = [server.socket() for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"POST /v1/predict HTTP/1.1\r\n")
        start = time.monotonic()
        while time.monotonic() - start < 1.0:
            assert server.predict(("a.png", PNG)).status == 200
            for connection in slow[:10]:  # one byte now and then
                connection.sendall(b"X")
            time.sleep(0.05)
        for connection in slow[10:]:
            assert read_answer(connection).status == 408
    except (BrokenPipeError, ConnectionResetError):  # closed already, which is the point
        pass
    finally:
        for connection in slow:
            connection.close()


def test_case_93_a_body_that_trickles_in_is_closed(server: Served) -> None:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: image/png\r\nContent-Length: 900\r\n\r\n"
    with server.socket() as connection:
        connection.sendall(head.encode())
        start = time.monotonic()
        try:
            while time.monotonic() - start < 6:
                connection.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - start < 5


def test_case_93_more_connections_than_allowed_are_told_so(server: Served) -> None:
    held = []
    try:
        for _ in range(LIMITS["connections"] + 5):
            held.append(server.socket())
        last = read_answer(held[-1])
        assert (last.status, last.headers.get("retry-after")) == (503, "1")
    finally:
        for connection in held:
            connection.close()
    assert until(lambda: server.predict(("a.png", PNG)).status == 200)


def test_case_98_clients_that_leave_cost_nothing(server: Served) -> None:
    body, kind = multipart(*[(f"{k}.png", PNG) for k in range(4)])
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: {kind['Content-Type']}\r\n"
    message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def leave(times: int) -> None:
        for k in range(times):
            with server.socket() as connection:
                connection.sendall(message if k % 2 else message[: len(message) // 2])

    leave(40)
    assert until(lambda: server.predict(("a.png", PNG)).status == 200)
    before = server.memory()
    leave(100)
    for k in range(200):
        server.raw(PNG, query="?explain=1" if k % 20 == 0 else "")
    assert until(lambda: server.predict(("a.png", PNG)).status == 200)
    assert server.memory() < before + 20_000_000


def test_case_99_killed_and_started_again_it_answers_the_same(server: Served, run: Path) -> None:
    """There is no state on disk, nothing to resume; and no process stays behind."""
    with Served(run) as killed:
        answer = killed.predict(("a.png", PNG))
        decoders = killed.children()
        assert len(decoders) >= 2
        killed.signal(signal.SIGKILL)
        killed.end()
        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in decoders))
    assert server.predict(("a.png", PNG)).json == answer.json


def test_case_104_sigterm_lets_answers_finish(run: Path) -> None:
    with Served(run, decoder=ROUGH_DECODER, limits={"decode_seconds": 1.5}) as served:
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(served.predict, ("a.png", PNG), ("b.png", PNG + b"HANG"))
            time.sleep(0.5)
            served.signal(signal.SIGTERM)
            assert slow.result().status == 200
        code, said = served.end()
        assert (code, said) == (0, b"ended\n")
        assert "Traceback" not in served.log
        assert "Error" not in served.log


def test_case_106_a_model_swapped_while_serving_is_not_mixed_in(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run")
    contents = [("a.png", picture(3)), ("b.png", picture(4))]
    with Served(run) as served:
        before, about = served.predict(*contents), served.ask("GET", "/v1/model").json
        write_classifier(run / "classifier", tiny_artefact(classes=("x", "y", "z"), temperature=9.0))
        after = served.predict(*contents)
        assert after.json == before.json
        assert served.ask("GET", "/v1/model").json == about
        assert after.headers["headstart-model"] == about["version"]


def test_the_same_answer_as_predict(server: Served, run: Path) -> None:
    contents = [picture(k, side, kind) for k, (side, kind) in enumerate([(20, "PNG"), (300, "JPEG"), (64, "BMP")])]
    expected = Classifier.load(run).probabilities(contents).values
    one = [server.raw(content, "image/x").json["predictions"][0] for content in contents]
    together = server.predict(*[("", content) for content in contents]).json["predictions"]
    for rows in (one, together):
        found = np.array([[dict(row["top"])[name] for name in CLASSES] for row in rows])
        assert np.abs(found - expected).max() < 1e-5
