"""The page's files, read once: what is not in page/ cannot be asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """One file, ready to send."""

    content: bytes
    kind: str
    etag: str


def read_page() -> dict[str, PageFile]:
    """The files of the page, by name."""
    found = {}
    for file in (resources.files("headstart.serving") / "page").iterdir():
        kind = next((kind for ending, kind in KINDS.items() if file.name.endswith(ending)), None)
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found
