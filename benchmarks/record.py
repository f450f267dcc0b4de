"""The record of one measurement: what was run, where, every raw value, and the verdict.

Every script here opens a `Record`, adds one entry per run as soon as the run is over (so a script that is stopped goes
on where it was), and finishes it with a summary. The folder `records/<date>-<name>/` then holds `record.json`
(everything) and `record.md` (for people).
"""

import argparse
import json
import operator
import statistics
import sys
import tempfile
import time
from pathlib import Path

import origin

HERE = Path(__file__).resolve().parent


def arguments(doc, needs_sets=True):
    """The parser every script starts from."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if needs_sets:
        parser.add_argument("--sets", type=Path, required=True, help="folder of the data sets (datasets/README.md)")
    scratch = Path(tempfile.gettempdir()) / "headstart-benchmarks"
    parser.add_argument("--work", type=Path, default=scratch, help="scratch folder, kept between runs [%(default)s]")
    parser.add_argument("--records", type=Path, default=HERE / "records", help="where the record goes")
    return parser


def spread(values):
    """Median, extremes and every value: what a record says about repeated runs."""
    values = list(values)
    extremes = {"low": min(values), "high": max(values)}
    return {"median": statistics.median(values), **extremes, "n": len(values), "values": values}


def span(values):
    """`spread` in one cell of a table."""
    return f"{values['median']:.4g} ({values['low']:.4g}-{values['high']:.4g})"


class Record:
    """One record folder. Opening it again with the same arguments and commit goes on with what is there."""

    def __init__(self, name, title, parsed):
        asked = {k: v for k, v in vars(parsed).items() if k not in ("sets", "work", "records", "page")}
        asked = {k: str(v) if isinstance(v, Path) else v for k, v in asked.items()}
        self.content = {"name": name, "title": title, "command": _command(parsed), "arguments": asked}
        self.content |= {"machine": origin.machine(), "versions": origin.versions(), **origin.commit()}
        self.content |= {"started": _now(), "finished": None}
        self.content |= {"n": {}, "runs": [], "summary": {}, "targets": [], "notes": []}
        self.folder = self._continue(parsed.records, name) or self._new(parsed.records, name)
        self._write()

    def add(self, **run):
        """Keep one run (plain values) on disk now."""
        self.content["runs"].append(run)
        self._write()
        shown = {k: v for k, v in run.items() if not isinstance(v, dict | list)}
        print(" ".join(f"{k}={_cell(v)}" for k, v in shown.items()), flush=True)

    def runs(self, **which):
        """The runs whose fields have these values."""
        return [run for run in self.content["runs"] if all(run.get(k) == v for k, v in which.items())]

    def note(self, line):
        """A remark that a reader of the record needs."""
        if line not in self.content["notes"]:
            self.content["notes"].append(line)

    def target(self, what, value, at_most=None, at_least=None, above=None):
        """Compare a measured value with what it must reach."""
        limit = next(x for x in (at_most, at_least, above) if x is not None)
        sign = "<=" if at_most is not None else ">=" if at_least is not None else ">"
        compare = {"<=": operator.le, ">=": operator.ge, ">": operator.gt}[sign]
        met = value is not None and bool(compare(value, limit))
        self.content["targets"].append({"what": what, "must": f"{sign} {limit:g}", "value": value, "met": met})

    def finish(self, n, summary, tables=()):
        """Write the summary and record.md. `tables`: (title, header, rows of plain values)."""
        self.content |= {"n": n, "summary": summary, "finished": _now()}
        self._write()
        text = _markdown(self.content, tables)
        (self.folder / "record.md").write_text(text, "utf-8")
        print(text)

    def _continue(self, records, name):
        for folder in sorted(records.glob(f"*-{name}*"), reverse=True):
            try:
                old = json.loads((folder / "record.json").read_text("utf-8"))
            except (OSError, ValueError):
                continue
            same = all(old.get(k) == self.content[k] for k in ("name", "arguments", "commit", "machine"))
            if same and old["finished"] is None:
                self.content |= {k: old[k] for k in ("started", "runs", "notes")}
                self.note("stopped and continued")
                print(f"continuing {folder.name}: {len(old['runs'])} runs are there", flush=True)
                return folder
        return None

    def _new(self, records, name):
        base, k = f"{time.strftime('%Y-%m-%d')}-{name}", 1
        while (folder := records / (base if k == 1 else f"{base}-{k}")).exists():
            k += 1
        folder.mkdir(parents=True)
        return folder

    def _write(self):
        temporary = self.folder / "record.json.tmp"
        temporary.write_text(json.dumps(self.content, indent=1, default=float) + "\n", "utf-8")
        temporary.replace(self.folder / "record.json")


def _markdown(content, tables):
    m, v = content["machine"], content["versions"]
    lines = [f"# {content['title']}", "", f"    {content['command']}", ""]
    packages = ", ".join(f"{name} {x}" for name, x in v.items() if x)
    lines += [f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB; {packages}."]
    changed = ", with changes that are not committed" if content["changed"] else ""
    lines += [f"Commit {content['commit'] or 'none yet'}{changed}; {content['started']} to {content['finished']}.", ""]
    if content["targets"]:
        rows = [(t["what"], t["must"], t["value"], "yes" if t["met"] else "**no**") for t in content["targets"]]
        tables = [("What it must reach", ("what", "must be", "measured", "met"), rows), *tables]
    for title, header, rows in tables:
        lines += [f"## {title}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows] + [""]
    return "\n".join([*lines, *(f"* {line}" for line in content["notes"])]).rstrip() + "\n"


def _cell(value):
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _command(parsed):
    """The command line, without the folders of the machine it was typed on."""
    names = {str(value): name.upper() for name, value in vars(parsed).items() if isinstance(value, Path)}
    tokens = [names.get(token, token) for token in sys.argv[1:]]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *tokens])


def _now():
    return time.strftime("%Y-%m-%d %H:%M:%S")
