"""The shape of the source tree: who imports whom, what stays light, how long things may get.

The tables are design section 3, with what the work has shown since. When a test here fails, the tree or the table is
wrong: change the one that is.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import headstart

ROOT = Path(headstart.__file__).parent
EVERYWHERE = {
    "errors", "config", "predictions", "cache_folder", "progress", "profile", "interrupts", "heap", "headstart",
}  # fmt: skip
# The story of fit and its chapters: they may use everything below, and each other.
STORY = {
    "pipeline", "looking", "material", "answer", "finish", "nearness", "choosing", "planning", "training", "racing",
    "evidence", "findings", "document", "judging", "explaining", "inspecting", "showing", "scaled", "outofcore",
    "foreseeing", "spreading",
}  # fmt: skip
FACES = {"api", "cli", "estimator", "serving", "exporting"}
MAY_IMPORT = {
    "errors": set(), "config": set(), "predictions": set(), "cache_folder": set(), "progress": set(), "clock": set(),
    "profile": set(), "interrupts": set(), "leaving": set(), "heap": set(),
    "images": set(), "artefact": set(), "run": set(), "rules": set(), "evaluation": set(),
    "head": {"evaluation"},  # its estimator chooses the penalty by log-loss
    "data": {"images"},
    "engine": {"images"},
    "backbone": {"images", "engine", "artefact"},
    "embedding": {"data", "engine", "backbone", "images"},
    "finetune": {"embedding", "backbone", "engine", "head", "images"},
    "howmuch": {"data", "embedding", "head", "finetune", "evaluation", "rules", "run"},  # the ledger
    "classifier": {"images", "engine", "artefact", "head", "backbone"},  # what only torch can run
    "reporting": {"evaluation", "run", "images"},
    "exporting": {"classifier", "engine", "artefact", "images", "data", "run"},
    "serving": {"classifier", "images", "engine", "artefact", "run"},
    "scaling": {"data", "engine", "embedding", "finetune", "backbone", "images", "head", "howmuch"},
    "estimator": {"pipeline", "classifier", "data", "artefact", "run", "clock"},
    "cli": {"api", "reporting", "run", "clock", "leaving"},
    "__main__": {"cli"},
}  # fmt: skip
# Third-party packages with few homes: a folder or a file of src/headstart.
HOMES = {
    "torch": ("backbone/", "engine/torch.py", "engine/choose.py", "head/layers", "finetune/"),
    "timm": ("backbone/",),
    "torchvision": ("backbone/", "finetune/views"),
    "openvino": ("engine/openvino.py", "exporting/"),
    "onnx": ("backbone/", "classifier/build.py", "classifier/explain", "exporting/"),
    "onnxruntime": ("exporting/",),
    "sklearn": ("estimator.py", "head/estimator.py"),
    "pyarrow": ("data/manifest.py", "scaling/"),
    "safetensors": ("artefact/", "backbone/", "embedding/", "classifier/nearest", "finetune/checkpoint"),
    "PIL": ("images/", "backbone/graph.py", "finetune/views", "reporting/", "exporting/"),
    "typer": ("cli/",), "rich": ("cli/",), "fastapi": ("serving/",), "uvicorn": ("serving/",),
    "starlette": ("serving/",), "pydantic": ("serving/",), "h11": ("serving/",), "python_multipart": ("serving/",),
    "ray": ("scaling/",), "fsspec": ("scaling/",), "jinja2": ("reporting/",),
}  # fmt: skip
HEAVY = {
    "torch",
    "timm",
    "torchvision",
    "openvino",
    "onnx",
    "sklearn",
    "pyarrow",
    "scipy",
    "fastapi",
    "uvicorn",
    "ray",
    "fsspec",
}
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "registry", "misc"}
BANNED_IMPORTS = {
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "requests",
    "urllib.request",
    "http.client",
}

FILES = sorted(ROOT.rglob("*.py"))


@cache
def nodes(file: Path, *kinds: type[ast.AST]) -> tuple[ast.AST, ...]:
    return tuple(node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, kinds))


def offenders(fault) -> dict[str, object]:
    """Files for which `fault(file)` gives something, and what."""
    return {file.relative_to(ROOT).as_posix(): found for file in FILES if (found := fault(file))}


@cache
def imports(file: Path, at_import_only: bool = False) -> frozenset[str]:
    """Dotted names that `file` imports; with `at_import_only` not those inside functions or for type checkers."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}: relative import"
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            elif not (at_import_only and is_later(child)):
                walk(child)

    walk(ast.parse(file.read_text("utf-8")))
    return frozenset(found)


def is_later(node: ast.AST) -> bool:
    """Whether the code below `node` does not run when the module is imported."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def part(file: Path) -> str:
    """The top-level module or package of headstart that `file` belongs to."""
    name = file.relative_to(ROOT).parts[0].removesuffix(".py")
    return "headstart" if name == "__init__" else name


def module_file(name: str) -> Path | None:
    """The file behind a dotted name of headstart, which may be a module or something in one."""
    parts = name.split(".")[1:]
    for end in range(len(parts), -1, -1):
        place = ROOT.joinpath(*parts[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file() and (end or len(parts) == 0 or parts[0].startswith("_")):
                return file
    return None


def allowed(here: str) -> set[str]:
    if here in ("headstart", "api"):  # the lazy front door; one function per command
        return {part(file) for file in FILES}
    if here in STORY:
        return {part(file) for file in FILES} - FACES
    assert here in MAY_IMPORT, f"{here} is new: say in this table what it may import"
    return MAY_IMPORT[here]


def test_imports_go_in_the_agreed_direction():
    def fault(file):
        found = [module_file(name) for name in imports(file) if name.split(".")[0] == "headstart"]
        return {part(f) for f in found if f} - EVERYWHERE - {part(file)} - allowed(part(file))

    assert offenders(fault) == {}


def test_third_party_packages_stay_at_home():
    def fault(file):
        where = file.relative_to(ROOT).as_posix()
        return {name for name in imports(file) if not where.startswith(HOMES.get(name.split(".")[0], ("",)))}

    assert offenders(fault) == {}


def test_nothing_unpickles_or_connects():
    def fault(file):
        return {name for name in imports(file) for banned in BANNED_IMPORTS if f"{name}.".startswith(f"{banned}.")}

    assert offenders(fault) == {}


def test_no_import_cycles():
    """Between modules, for what is imported when a module is imported."""
    edges = {
        file: {f for name in imports(file, True) if name.startswith("headstart.") and (f := module_file(name))}
        for file in FILES
    }
    done: set[Path] = set()

    def visit(file: Path, trail: tuple[Path, ...]) -> None:
        assert file not in trail, " -> ".join(str(f.relative_to(ROOT)) for f in (*trail, file))
        if file not in done:
            for target in edges.get(file, set()) - {file}:
                visit(target, (*trail, file))
            done.add(file)

    for file in FILES:
        visit(file, ())


def test_the_front_doors_are_light_to_the_letter():
    """Nothing that `import headstart` or the command line reaches at import time imports a heavy package."""
    waiting, seen = [ROOT / "__init__.py", ROOT / "cli" / "main.py"], set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        names = imports(file, at_import_only=True)
        assert not HEAVY & {name.split(".")[0] for name in names}, file
        waiting += [f for name in names if name.startswith("headstart") and (f := module_file(name)) and f not in seen]


def test_the_front_doors_are_light_in_fact():
    code = "import sys, json, headstart, headstart.cli.main, headstart.api; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not (HEAVY | {"numpy", "PIL"}) & set(json.loads(done.stdout))


def test_files_and_functions_stay_short():
    def fault(file):
        functions = nodes(file, ast.FunctionDef, ast.AsyncFunctionDef)
        lengths = {"": len(file.read_text("utf-8").splitlines()) - 290}  # 350 lines per file, 60 per function
        lengths |= {f.name: f.end_lineno - f.lineno + 1 for f in functions}
        return {name: length for name, length in lengths.items() if length > 60}

    assert offenders(fault) == {}


def test_names_say_what_is_inside():
    assert (
        offenders(lambda file: {name.removesuffix(".py") for name in file.relative_to(ROOT).parts} & BANNED_NAMES) == {}
    )


def test_no_module_hides_a_public_name():
    """`headstart.fit` must stay a function: importing a module headstart/fit.py would replace it."""
    modules = {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in FILES}
    assert not modules & set(headstart.__all__)
    for init in ROOT.rglob("*/__init__.py"):
        exported = {name.split(".")[-1] for name in imports(init)}
        own_modules = {file.stem for file in init.parent.glob("*.py")}
        assert not exported & own_modules, init


def test_only_the_command_line_prints():
    def fault(file):
        return part(file) != "cli" and [c.lineno for c in nodes(file, ast.Call) if ast.unparse(c.func) == "print"]

    assert offenders(fault) == {}


def test_inheritance_is_flat():
    """No class of ours inherits from a class of ours; errors are the one tree."""
    ours = {node.name for file in FILES for node in nodes(file, ast.ClassDef) if not node.name.endswith("Error")}

    def fault(file):
        return [c.name for c in nodes(file, ast.ClassDef) if {ast.unparse(parent) for parent in c.bases} & ours]

    assert offenders(fault) == {}


def test_the_walker_sees_what_it_should():
    """The rules above would pass on an empty tree."""
    assert len(FILES) > 40
    assert "headstart.errors.ClassifierError" in imports(ROOT / "artefact" / "read.py")
    assert any(name.startswith("onnx") for name in imports(ROOT / "classifier" / "build.py"))
    assert not any(name.startswith("onnx") for name in imports(ROOT / "classifier" / "build.py", True))
    assert module_file("headstart.errors.DataError") == ROOT / "errors.py"
    assert module_file("headstart.artefact.pack") == ROOT / "artefact" / "__init__.py"
    assert module_file("headstart.rules") == ROOT / "rules.py"
