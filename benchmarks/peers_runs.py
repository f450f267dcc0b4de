"""One measured run of one tool on one set, and what is kept of it.

A run is one file in the work folder, named by everything its result depends on: the pictures, the script and its
requirements, or headstart's own code. So runs survive commits of anything else, and work goes on where it stopped. A
run beside foreign load above 5 % is thrown away; that it was is kept too.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import child
import numpy as np
import origin
import peers_environments
import quiet
from deciding_entries import all_code, all_code_now, key_of
from peers_tools import TOOLS

import headstart

LONGEST = 3600.0  # seconds; a run that takes longer is ended and counts as failed
WARM = {  # what a tool loads: read once before anything is timed, so that nobody starts from a cold disk
    "expert": "timm, sklearn.linear_model",
    "fastai": "fastai.vision.all, timm",
    "tutorial": "timm, torchvision",
    "autogluon": "autogluon.multimodal",
    "keras": "keras, torch",
    None: "torch, timm, onnx, onnxscript, openvino, sklearn.linear_model",
}


@dataclass(frozen=True)
class Unit:
    """One run: which tool, on which pictures, in which round."""

    tool: str
    pictures: object
    round: int

    def file(self, work):
        name = f"{self.tool}-r{self.round}-{self.pictures.digest}-{code_of(self.tool)}.json"
        return work / "runs" / self.pictures.name / name

    def read(self, work):
        """What is kept of it, or None."""
        try:
            return json.loads(self.file(work).read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def of_any_code(self, work):
        """What is kept of the same run whatever code it came from: the newest, or None."""
        files = self.file(work).parent.glob(f"{self.tool}-r{self.round}-{self.pictures.digest}-*.json")
        found = [json.loads(file.read_text("utf-8")) for file in files]
        return max(found, key=lambda entry: entry["at"], default=None)

    def forecast(self):
        return TOOLS[self.tool].forecast(len(self.pictures.train), len(self.pictures.test))

    def keep(self, work, **facts):
        """Write the run, at once or not at all."""
        head = {"tool": self.tool, "set": self.pictures.name, "round": self.round}
        head |= {"train": len(self.pictures.train), "test": len(self.pictures.test), "code": code_of(self.tool)}
        entry = {**head, **origin.commit(), "machine": origin.machine(), "at": now(), **facts}
        file = self.file(work)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(entry, default=float) + "\n", "utf-8")
        temporary.replace(file)
        shown = ("tool", "set", "round", "wall", "cpu", "peak_mb", "foreign", "top1", "failed")
        print(" ".join(f"{k}={entry[k]:.4g}" if isinstance(entry.get(k), float) else f"{k}={entry.get(k)}"
                       for k in shown if entry.get(k) is not None), flush=True)  # fmt: skip


def put_back(file, sets, work):
    """The runs of a record as files in the work folder, for the `sets` whose pictures are the same in number."""
    for run in json.loads(file.read_text("utf-8"))["runs"]:
        for pictures in sets:
            if (pictures.name, len(pictures.train), len(pictures.test)) == (run["set"], run["train"], run["test"]):
                kept = work / "runs" / pictures.name
                kept.mkdir(parents=True, exist_ok=True)
                name = f"{run['tool']}-r{run['round']}-{pictures.digest}-{run['code']}.json"
                (kept / name).write_text(json.dumps(run) + "\n", "utf-8")


def code_of(tool):
    """Hash of what decides a tool's result."""
    found = TOOLS[tool]
    if found.script is None:
        return key_of(all_code(), *found.how)
    files = (peers_environments.PEERS / found.script, peers_environments.requirements(found.environment))
    return key_of(*(f.read_text("utf-8") for f in files), *found.how)


def measure(unit, record, work):
    """Run a unit and keep it; False when it was thrown away for foreign load."""
    load = quiet.wait_until_quiet(record)
    done, predictions, facts = run(unit, work)
    figures = {**done.figures(), "load_before": load}
    if done.code != 0 or predictions is None:
        unit.keep(work, failed=told(done, work, unit.pictures.folder), **figures)
        return True
    if (done.foreign or 0.0) > quiet.LIMIT:
        throw_away(unit, done, work)
        return False
    if TOOLS[unit.tool].script is None and all_code_now() != all_code():
        raise SystemExit("headstart was changed meanwhile: this run is not kept; call again")
    if TOOLS[unit.tool].accuracy:
        right = unit.pictures.right(predictions)
        facts |= {"answered": len(predictions), "top1": float(right.mean()), "right": bits(right)}
    unit.keep(work, **figures, **facts)
    return True


def run(unit, work):
    """(the finished process, {test picture: class} or None, plain facts) of one run, every cache empty."""
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    (home / "tmp").mkdir(parents=True)
    tool = TOOLS[unit.tool]
    if tool.script is None:
        return _headstart(unit, tool, home, work)
    out = home / "answers.json"
    more = {"HF_HUB_CACHE": peers_environments.hub(work), "HF_HUB_OFFLINE": 1, "PYTHONPATH": "", "TMPDIR": home / "tmp"}
    python = peers_environments.python_of(tool.environment, work)
    parts = [unit.pictures.folder / part for part in ("train", "test")]
    command = [python, peers_environments.PEERS / tool.script, *parts, out, *tool.how]
    done = child.run(command, child.environment(home, **more), LONGEST, check=False)
    if done.code != 0 or not out.is_file():
        return done, None, {}
    answers = json.loads(out.read_text("utf-8"))
    return done, answers.pop("predictions"), answers


def _headstart(unit, tool, home, work):
    """One `headstart fit`, which judges test/ itself; the classes are asked for afterwards and not timed."""
    env, data, out = child.environment(home, home / "cache"), unit.pictures.folder, home / "run"
    command = [*child.HEADSTART, "fit", data, "--out", out, *tool.how, "--json"]
    done = child.run(command, env, LONGEST, check=False)
    if done.code != 0:
        return done, None, {}
    result = json.loads(done.stdout)
    asked = child.run([*child.HEADSTART, "predict", out, data / "test", "--json"], env, check=False)
    root = (data / "test").resolve()
    answers = json.loads(asked.stdout)["predictions"]
    named = {Path(p["path"]).resolve().relative_to(root).as_posix(): p["class"] for p in answers}
    kept = {k: result["decision"].get(k) for k in ("train", "depths", "backbone", "learning_rate")}
    return done, named, {"decision": kept, "seconds": result["seconds"], "judged": result["test"]["top1"]}


def throw_away(unit, done, work):
    """Say that a run was no measurement."""
    line = {"tool": unit.tool, "set": unit.pictures.name, "round": unit.round, "at": now(), **done.figures()}
    with (work / "thrown-away.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"thrown away: {unit.tool} on {unit.pictures.name}, foreign load {done.foreign:.0%}", flush=True)


def thrown_away(work):
    """Every run that was thrown away."""
    file = work / "thrown-away.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def warm(environment, work):
    """Read what a tool loads, so that its first run is not the one that waits for the disk or compiles Python."""
    python = child.PYTHON if environment is None else peers_environments.python_of(environment, work)
    env = child.environment(work / "home", PYTHONPATH="", KERAS_BACKEND="torch")
    done = child.run([python, "-c", f"import {WARM[environment]}"], env, check=False)
    if environment is None:
        child.run([child.PYTHON, "-m", "compileall", "-q", Path(headstart.__file__).parent], env)
    if done.code != 0:
        raise peers_environments.NotHereError(f"it cannot be loaded here: {told(done, work, work)}")


def told(done, work, data):
    """Why a run failed: the last line it printed, without the folders of the machine."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "it printed nothing"
    if done.wall >= LONGEST:
        last = "it took more than an hour and was ended"
    for folder, word in ((data, "DATA"), (work, "WORK"), (Path.home(), "HOME")):
        last = last.replace(str(folder), word)
    return f"exit code {done.code}: {last[:300]}"


def bits(right):
    return "".join("1" if r else "0" for r in right)


def right_of(entry):
    """One 0 or 1 per test picture."""
    return np.array([b == "1" for b in entry["right"]], float)


def now():
    return time.strftime("%Y-%m-%d %H:%M:%S")
