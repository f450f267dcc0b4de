"""The EXIF turn, read by hand: reads one number, cannot loop, and damaged EXIF is simply no turn.

Pillow's own reader walks every directory and warns about damaged ones; under `-W error` that would lose the picture.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

LYING = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))  # these swap width and height


def turn_of(info: dict[Any, Any]) -> Image.Transpose | None:
    """How to turn a picture upright, from the `info` that a decoder left; None = leave it."""
    block = info.get("exif")
    if block is None and "Raw profile type exif" in info:  # how older ImageMagick writes it into PNG
        try:
            block = bytes.fromhex("".join(str(info["Raw profile type exif"]).split("\n")[3:]))
        except ValueError:
            return None
    if not isinstance(block, bytes):
        return None
    return _TURNS.get(orientation(block))


def orientation(block: bytes) -> int:
    """Orientation 1..8 of an EXIF block (with or without its `Exif` mark); 1 when there is none or it is damaged."""
    block = block.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    little = block.startswith(b"II")

    def number(at: int, length: int) -> int:
        if at + length > len(block):
            raise IndexError(at)
        return int.from_bytes(block[at : at + length], "little" if little else "big")

    try:
        start = number(4, 4)
        for entry in range(number(start, 2)):
            at = start + 2 + 12 * entry
            if number(at, 2) == _ORIENTATION and number(at + 2, 2) == 3 and number(at + 4, 4) == 1:
                value = number(at + 8, 2)
                return value if 1 <= value <= 8 else 1
    except IndexError:
        pass
    return 1
