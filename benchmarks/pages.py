"""Put what a record says into a Markdown page, between the two marks of its place; the rest of the page stays."""

import os
from pathlib import Path


def put(page, mark, parts):
    """Replace what stands in `page` between `<!-- mark: begin -->` and `<!-- mark: end -->` by `parts`, paragraphs."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = page.read_text("utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page} has no place for this: a line {begin} and a line {end}")
    page.write_text("\n\n".join([f"{before}{begin}", *parts, f"{end}{after}"]), "utf-8")


def sections(folder):
    """The tables of a record as they stand in its record.md, by title."""
    parts = (folder / "record.md").read_text("utf-8").split("\n## ")[1:]
    return {title: rest.strip().split("\n\n")[0] for title, _, rest in (part.partition("\n") for part in parts)}


def link(file, page):
    """How `page` names a file of a record."""
    return Path(os.path.relpath(file, page.parent)).as_posix()
