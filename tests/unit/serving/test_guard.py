from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headstart.serving.guard import Guard

HOSTS = frozenset({"localhost:8000"})
TOKEN = "a-token-of-the-test"


def ask(guard: Guard, method: str = "GET", path: str = "/v1/model", **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and document of one request."""
    sent: list[dict[str, Any]] = []
    given = {"host": "localhost:8000", **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    body = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}, json.loads(body)


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'"fine"'})


async def faulty(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("/home/me/secret.py failed")


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (None, 401),
        ("", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer \xfc", 401),
        (TOKEN, 401),
    ],
)
def test_case_88_the_api_needs_the_token(authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    got, given, document = ask(Guard(fine, HOSTS, TOKEN), **headers)
    assert got == status
    assert document == "fine" or document["error"]["code"] == "token"
    assert ("www-authenticate" in given) == (status == 401)


def test_the_page_itself_needs_none_as_it_has_to_ask_for_it() -> None:
    for path in ("/", "/page/page.js", "/healthz"):
        assert ask(Guard(fine, HOSTS, TOKEN), path=path)[0] == 200


def test_case_89_a_number_is_allowed_behind_a_wildcard_and_a_name_is_not() -> None:
    wild = Guard(fine, frozenset({"*.ip"}), TOKEN)
    allowed = {"authorization": f"Bearer {TOKEN}"}
    for host in ("192.168.1.5:8000", "[fe80::1]:8000", "10.0.0.1"):
        assert ask(wild, **{"host": host, **allowed})[0] == 200
    for host in ("evil.com", "192.168.1.5.evil.com", "[evil]:80", "", "*.ip:1"):
        assert ask(wild, **{"host": host, **allowed})[0] == 421


def test_case_103_a_fault_says_nothing_but_where_to_look(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "headstart.serving"):
        status, headers, document = ask(Guard(faulty, HOSTS, None))
    assert (status, document["error"]["code"]) == (500, "fault")
    assert headers["x-content-type-options"] == "nosniff"
    mark = document["error"]["message"].split()[-1].strip(")")
    faults = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(faults) == 1
    assert mark in faults[0].getMessage()
    assert faults[0].exc_info is None
    assert "secret" not in json.dumps(document)


def test_case_103_the_answer_of_a_fault_in_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same through FastAPI's own handler."""
    pytest.importorskip("fastapi")
    from headstart.serving.app import application

    class Broken:
        class model:
            version = "x"

            @property
            def about(self) -> dict[str, Any]:
                raise RuntimeError("/home/me/secret.py failed")

        model = model()  # type: ignore[assignment]

    status, _, document = ask(application(Broken(), HOSTS, None))  # type: ignore[arg-type]
    assert (status, document["error"]["code"]) == (500, "fault")
    assert "secret" not in json.dumps(document)
