"""What is kept of the decision grid: one small file per finished unit, named by everything its result depends on.

Sources count without comments, docstrings and layout, and only those modules that decide the result: so entries survive
commits of anything else.
"""

import ast
import hashlib
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import origin

PACKED = Path(__file__).resolve().parent / "records" / "deciding-entries.jsonl"


@dataclass(frozen=True)
class Unit:
    """One result: `what` is a candidate of the reference or a choice.

    `digest`: of the draw's pictures and labels; `key`: of the code and the pretrained weights.
    """

    part: str
    draw: str
    digest: str
    what: str
    seed: int
    key: str

    def file(self, work):
        return work / self.part / self.draw / f"{self.what}-s{self.seed}-{self.digest}-{self.key}.json"

    def read(self, work):
        """The entry, from the work folder or from the repository; None when it is in neither."""
        try:
            return json.loads(self.file(work).read_text("utf-8"))
        except (OSError, ValueError):
            return packed().get(self.name)

    @property
    def name(self):
        """What the entry is called, in a work folder and in the repository."""
        return str(self.file(Path()))

    def write(self, work, right, **facts):
        """Keep `right` (bools, one per test picture) and plain `facts`, at once or not at all."""
        right = np.asarray(right, bool)
        entry = {"part": self.part, "draw": self.draw, "what": self.what, "seed": self.seed, "key": self.key}
        entry |= {"n": len(right), "top1": float(right.mean()), **facts}
        entry |= {**_commit(), "at": time.strftime("%Y-%m-%d %H:%M:%S"), "right": np.packbits(right).tobytes().hex()}
        file = self.file(work)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(entry, default=float) + "\n", "utf-8")
        temporary.replace(file)
        shown = f"{time.strftime('%H:%M:%S')} {self.draw} {self.what} seed {self.seed}: {100 * entry['top1']:.2f} %"
        print(f"{shown}, {facts.get('seconds', 0):.1f} s", flush=True)

    def of_any_code(self, work):
        """The newest entry of the same unit, whatever code it came from, from either place; None when there is none."""
        same = self.name.rpartition("-")[0]
        files = self.file(work).parent.glob(f"{self.what}-s{self.seed}-{self.digest}-*.json")
        found = [json.loads(file.read_text("utf-8")) for file in files]
        found += [entry for name, entry in packed().items() if name.rpartition("-")[0] == same]
        return max(found, key=lambda entry: entry["at"], default=None)


@cache
def packed():
    """{name: entry} of what the repository keeps of unfinished grids: nobody has the hours in one piece."""
    lines = PACKED.read_text("utf-8").splitlines() if PACKED.is_file() else []
    return dict(json.loads(line) for line in lines)


def pack(work, parts):
    """Put the entries of `parts` in the work folder into the repository, the newest of each unit; how many it holds."""
    entries = dict(packed())
    for file in (f for part in parts for f in sorted((work / part).glob("*/*.json"))):
        entries[str(file.relative_to(work))] = json.loads(file.read_text("utf-8"))
    newest = {name.rpartition("-")[0]: name for name in sorted(entries, key=lambda name: entries[name]["at"])}
    entries = {name: entries[name] for name in newest.values()}
    temporary = PACKED.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(item) + "\n" for item in sorted(entries.items())), "utf-8")
    temporary.replace(PACKED)
    return len(entries)


def right_of(entry):
    """One bool per test picture."""
    bits = np.frombuffer(bytes.fromhex(entry["right"]), np.uint8)
    return np.unpackbits(bits, count=entry["n"]).astype(bool)


def key_of(*parts):
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]


@cache
def code_of(roots, folders):
    """Hash of the modules `roots` ("finetune.loop") and of what they import from `folders`, to any depth."""
    found, waiting = {}, list(roots)
    while waiting:
        name = waiting.pop()
        file = _package() / (name.replace(".", "/") + ".py")
        if name in found or not file.is_file():
            continue
        tree = _bare(file)
        found[name] = ast.dump(tree)
        waiting += [m for m in _imported(tree) if m.split(".")[0] in folders]
    return key_of(*(f"{name} {found[name]}" for name in sorted(found)))


@cache
def all_code():
    """Hash of every module of the package, as it was at the first call."""
    return all_code_now()


def all_code_now():
    """Hash of every module of the package."""
    files = sorted(_package().rglob("*.py"))
    return key_of(*(f"{f.relative_to(_package())} {ast.dump(_bare(f))}" for f in files))


def _package():
    import headstart

    return Path(headstart.__file__).resolve().parent


def _bare(file):
    """The syntax tree without docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "headstart":
            module = ".".join(node.module.split(".")[1:])
            yield module
            yield from (f"{module}.{alias.name}" if module else alias.name for alias in node.names)


@cache
def _commit():
    return origin.commit()
