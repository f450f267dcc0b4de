"""headstart and its rivals side by side: the same weights, files and two cores, interleaved, whole processes.

    python benchmarks/run.py --suite peers --sets SETS --prepare          # environments and weights only
    python benchmarks/run.py --suite peers --sets SETS --minutes 55       # again and again, until nothing is left
    python benchmarks/run.py --suite peers --sets SETS --summary          # a record of what is there

Rivals (peers/): an expert's timm + scikit-learn script, fastai (frozen, fine_tune), the PyTorch tutorial, AutoGluon
MultiModal (few-shot, ten minutes), Keras (only time per epoch). All on elpv and nature; the quick ones on gcompris,
mnist5k and emoji_subgroup too, whole and at 20 training pictures per class. Every run is a new process with empty
caches; the rivals' network comes from a local hub cache, the tensors headstart has. Some 7 hours of two quiet cores in
pieces of an hour; `--estimate` says what is left.
"""

import json
import os
import time
from pathlib import Path

import peers_environments
import peers_runs
import peers_sets
import peers_summary
import peers_tools
import quiet
import record

TRIES = 3  # of a run beside foreign load


def main():
    a = parsed()
    keep_to_cores(a.cores)
    plan = Plan(a)
    if not (a.summary or a.estimate):
        plan.prepare()
        if a.prepare:
            return
    plan.estimate()
    if a.estimate:
        return
    if not a.summary and not plan.work_off():
        print("what is finished is kept, call again to go on", flush=True)
        return
    peers_summary.summarise(a, plan)


def parsed():
    parser = record.arguments(__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="these sets (nature, mnist5k-20) [all]")
    parser.add_argument("--tools", nargs="*", default=[], help=f"of {', '.join(peers_tools.TOOLS)} [all]")
    parser.add_argument("--rounds", type=int, default=3, help="at most; slow tools have two [%(default)s]")
    parser.add_argument("--cores", type=int, default=2, help="for everyone [%(default)s]")
    parser.add_argument("--minutes", type=float, help="start nothing that will not be over after so many minutes")
    parser.add_argument("--prepare", action="store_true", help="build the environments, check the weights, stop")
    parser.add_argument("--from", dest="earlier", type=Path, metavar="RECORD.json", help="its runs count as made here")
    parser.add_argument("--retry", action="store_true", help="run again what failed")
    parser.add_argument(
        "--any-code", action="store_true", help="runs of other code count where this code's are missing"
    )
    parser.add_argument("--estimate", action="store_true", help="only say what is left to do and how long that takes")
    parser.add_argument("--summary", action="store_true", help="only sum up what is there")
    parser.add_argument("--keep", action="store_true", help="a record of what is there, though it is not all")
    a = parser.parse_args()
    if unknown := set(a.tools) - set(peers_tools.TOOLS):
        raise SystemExit(f"no tool {min(unknown)}: {', '.join(peers_tools.TOOLS)}")
    a.tools = a.tools or list(peers_tools.TOOLS)
    return a


def keep_to_cores(count):
    """This process and what it starts use so many cores, where the system can be told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


class Plan:
    """Every run that was asked for, in the order in which they are run; `missing`: why a tool cannot run here."""

    def __init__(self, a):
        self.a, self.work = a, a.work / "peers"
        self.work.mkdir(parents=True, exist_ok=True)
        self.deadline = None if a.minutes is None else time.monotonic() + 60 * a.minutes
        asked = [pair for tool in a.tools for pair in peers_tools.sets_of(tool)]
        wanted = {s: peers_tools.set_name(*s) for s in dict.fromkeys(asked)}
        if unknown := set(a.only) - set(wanted.values()):
            raise SystemExit(f"no set {min(unknown)}: {', '.join(wanted.values())}")
        chosen = [s for s in wanted if not a.only or wanted[s] in a.only]
        self.pictures = {s: peers_sets.open_set(a.sets, *s, self.work) for s in chosen}
        self.notes = Notes()
        if a.earlier:
            peers_runs.put_back(a.earlier, self.pictures.values(), self.work)
        prepared = json.loads(self._prepared.read_text("utf-8")) if self._prepared.is_file() else {}
        self.missing, self.weights = prepared.get("missing", {}), prepared.get("weights", {})

    @property
    def _prepared(self):
        return self.work / "prepared.json"

    def units(self):
        """Rounds outside, sets inside, and in each set the tools from another start every round."""
        for k in range(self.a.rounds):
            for s, pictures in self.pictures.items():
                tools = [t for t in self.a.tools if s in peers_tools.sets_of(t)]
                for tool in (*tools[k % len(tools) :], *tools[: k % len(tools)]):
                    if k < peers_tools.TOOLS[tool].rounds and self.environment(tool) not in self.missing:
                        yield peers_runs.Unit(tool, pictures, k)

    def environment(self, tool):
        return peers_tools.TOOLS[tool].environment or "headstart"

    def find(self, unit):
        """What is kept of a unit, or None."""
        return unit.read(self.work) or (unit.of_any_code(self.work) if self.a.any_code else None)

    def prepare(self):
        """Environments, weights, warm files; a rival that cannot be had is said, and the others run."""
        peers_environments.hub(self.work)
        for name in dict.fromkeys(peers_tools.TOOLS[tool].environment for tool in self.a.tools):
            self.missing.pop(name, None)
            try:
                peers_runs.warm(name, self.work)
                if name not in (None, "keras"):
                    self.weights[name] = peers_environments.same_weights(name, self.work)
            except peers_environments.NotHereError as reason:
                self.missing[name] = str(reason)
                print(f"{name}: {reason}", flush=True)
        if len(set(self.weights.values())) > 1:
            raise SystemExit(f"not the same pretrained tensors for everyone: {self.weights}")
        self._prepared.write_text(json.dumps({"missing": self.missing, "weights": self.weights}), "utf-8")

    def left(self, retry=False):
        kept = ((unit, self.find(unit)) for unit in self.units())
        return [unit for unit, entry in kept if entry is None or (retry and "failed" in entry)]

    def estimate(self):
        left = self.left(self.a.retry)
        for name in dict.fromkeys(unit.pictures.name for unit in left):
            mine = [unit for unit in left if unit.pictures.name == name]
            print(f"left: {name}, {len(mine)} runs, {sum(u.forecast() for u in mine) / 60:.0f} min")
        print(f"left: {len(left)} runs, {sum(u.forecast() for u in left) / 3600:.1f} h", flush=True)

    def work_off(self):
        """Run what is left: True when nothing is, False when the time is up or the machine would not be quiet."""
        for unit in self.left(self.a.retry):
            if self.deadline is not None and time.monotonic() + unit.forecast() > self.deadline:
                print("the time is up", flush=True)
                return False
            for _ in range(TRIES):
                if peers_runs.measure(unit, self.notes, self.work):
                    break
        return not self.left()


class Notes:
    """Where `quiet` says that waiting was in vain: here a run that was disturbed is thrown away in any case."""

    def __init__(self):
        self.content = {"notes": []}

    def note(self, line):
        if line not in self.content["notes"]:
            self.content["notes"].append(line)
            print(f"{line} (more than {quiet.LIMIT:.0%} during a run throws it away)", flush=True)


if __name__ == "__main__":
    main()
