"""File names as text that is safe to print, to write as UTF-8 and to put into JSON or CSV."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, lone surrogates (bytes that are no UTF-8), and the controls that
# turn the writing direction around and so can make a name look like another. Joiners inside emoji stay.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    r"""`text` with unsafe characters escaped: a byte 0xff that is no UTF-8 as `\xff`, a newline as `\n`."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for an undecodable byte
        return f"\\x{code - 0xDC00:02x}"
    return match.group().encode("unicode_escape", "surrogatepass").decode("ascii")
