"""The rules would pass on anything if they saw nothing."""

from __future__ import annotations

import pytest
from page_rules import faults

HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'\"><title>t</title></head><body><header></header><main><h1>x</h1>"
)
TAIL = "</main></body></html>"


def test_a_plain_page_keeps_the_rules() -> None:
    assert faults(HEAD + '<p>ok <img src="data:image/png;base64,AA" alt=""></p>' + TAIL) == []


@pytest.mark.parametrize(
    "bad",
    [
        "<p><ul></ul></p>",
        "<b>never closed",
        "<i id=a></i><i id=a></i>",
        '<img src="data:image/png;base64,AA">',
        '<img src="http://example.org/x.png" alt="x">',
        '<svg role="img"><path d=""/></svg>',
        "<h3>too deep</h3>",
        "<table><tr><th>x</th></tr></table>",
        "<script>1</script>",
        '<p onclick="x">y</p>',
        '<a href="#nowhere">x</a>',
        '<span aria-labelledby="nobody">x</span>',
        "<style>p { background: url(x) }</style>",
        '<div class="scroll">x</div>',
        "<span><div>x</div></span>",
        "<details><p>x</p></details>",
    ],
)
def test_what_breaks_a_rule_is_found(bad: str) -> None:
    assert faults(HEAD + bad + TAIL) != []
