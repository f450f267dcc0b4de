from __future__ import annotations

import json

import pytest

from headstart.images.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a/b c.jpg", "a/b c.jpg"),
        ("Möwe 🐦‍⬛.jpg", "Möwe 🐦‍⬛.jpg"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("two\nlines\t\x1b[31m", r"two\nlines\t\x1b[31m"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("lone \ud800", r"lone \ud800"),
    ],
)
def test_names_can_be_printed_written_and_put_into_json(text, shown):
    assert printable(text) == shown
    assert json.loads(json.dumps(printable(text))) == shown
    printable(text).encode("utf-8")
