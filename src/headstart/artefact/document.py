"""The JSON of a classifier: strict reading, one canonical form, and a checksum that gives away edits by hand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

CHECKSUM = "checksum"


def class_list_hash(classes: Sequence[str]) -> str:
    """SHA-256 (hex) of the class names in their order: the same names in another order hash differently."""
    return hashlib.sha256(canonical(list(classes))).hexdigest()


def canonical(value: object) -> bytes:
    """The one form that is hashed: ASCII, sorted keys, no spaces. NaN and infinity raise ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def seal(document: Mapping[str, Any]) -> bytes:
    """The readable JSON text of `document` with its own checksum added."""
    body = {key: value for key, value in document.items() if key != CHECKSUM}
    sealed = {**body, CHECKSUM: hashlib.sha256(canonical(body)).hexdigest()}
    return json.dumps(sealed, indent=1, allow_nan=False).encode("ascii") + b"\n"


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Whether the checksum inside `document` belongs to the rest of it."""
    body = {key: value for key, value in document.items() if key != CHECKSUM}
    return bool(document.get(CHECKSUM) == hashlib.sha256(canonical(body)).hexdigest())


def strict_json(text: bytes) -> dict[str, Any]:
    """Parse a JSON object; ValueError (short reason) for everything two parsers could read differently.

    Refused: duplicate keys, NaN, infinities, numbers beyond a float's range, nesting too deep to parse, not an object.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON (line {error.lineno}: {error.msg})") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"it contains {name}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it contains a number that is out of range")
    return number
