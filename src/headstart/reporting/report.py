"""RUN/report.html: one file that shows what was learned, what went wrong, and why that much training.

Made from the files of a run alone. Everything a user named is escaped by the templates, with control characters and
the controls of the writing direction made visible.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.images.printable import printable
from headstart.reporting import details, story, words
from headstart.reporting.charts.amounts import amounts
from headstart.reporting.charts.curves import curves
from headstart.reporting.charts.growth import growth
from headstart.reporting.charts.phases import phases
from headstart.reporting.charts.profile import profile
from headstart.reporting.charts.quadrant import quadrant
from headstart.reporting.charts.ruler import ruler
from headstart.reporting.charts.trust import coverage_chart, reliability_chart
from headstart.reporting.confusion import confusion
from headstart.reporting.files import RunFiles, read_files
from headstart.reporting.pictures import shown_pictures
from headstart.reporting.remarks import remarks
from headstart.run import REPORT, Run, write_file

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: Run) -> Path:
    """Write RUN/report.html (atomically) and return where it is.

    Raises:
        UsageError: there is no finished run.
        MachineError: it cannot be written.
    """
    path = run.folder / REPORT
    write_file(path, encoded(page(read_files(run))))
    return path


def page(files: RunFiles) -> str:
    """The page as text."""
    result, found = files.result, files.predicted
    seen = shown_pictures(files)
    charts = {
        "ruler": ruler(result),
        "quadrant": quadrant(result),
        "amounts": amounts(result),
        "profile": profile(result),
        "curves": curves(result),
        "growth": growth(result),
        "reliability": reliability_chart(found.probability, found.right),
        "coverage": coverage_chart(result, found.probability, found.right),
        "phases": phases(result),
    }
    return render(
        "report.html.j2",
        files=files,
        result=result,
        charts=charts,
        seen=seen,
        confusion=confusion(found, result["data"]["class_names"], seen.keys),
        remarks=remarks(files),
        details=details,
    )


def render(template: str, **values: Any) -> str:
    """A template of this package with its style sheet."""
    return _environment().get_template(template).render(style=_style(), words=words, story=story, **values)


def encoded(text: str) -> bytes:
    """UTF-8; a character that cannot be encoded is shown by its number."""
    return text.encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.filters["tight"] = lambda said: re.sub(r"(?<=\d) (?=%)", "\u00a0", said)  # a figure keeps its unit
    return made


@cache
def _style() -> Any:
    from markupsafe import Markup

    return Markup((TEMPLATES / "report.css").read_text("utf-8"))  # noqa: S704  (ours, no user's text)


def _visible(value: Any) -> Any:
    """Every value of a template: nothing for None, unsafe characters of names escaped, markup as it is."""
    if value is None:
        return ""
    return printable(value) if type(value) is str else value
