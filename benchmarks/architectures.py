"""Every architecture of the common test suite and well-known ones beside them: does it export, is it right, how fast?

    python benchmarks/architectures.py [--only NAME ...] [--seconds 0.5] [--rounds 3]

Random weights, made on the fly: nothing is downloaded, and speed does not depend on their values. Every network is a
process of its own (architecture_steps.py). Seconds of the export and which of torch's exporters did it; the largest
difference of the graph from torch, at any depth; pictures per second, all depths, of torch eager, torch channels last
(headstart's own fallback) and the OpenVINO engine in fp32, taken in turn, each with its own batch. What fails is
recorded as failed, with its last lines. About 20 minutes.
"""

import ast
import json
import shutil
import statistics
from pathlib import Path

import child
import quiet
import record
from architecture_steps import RIVALS

HERE = Path(__file__).resolve().parent
STEPS = HERE / "architecture_steps.py"
SUITE = HERE.parent / "tests" / "unit" / "backbone" / "test_every_architecture.py"
BESIDE = (
    "resnet18", "resnet50", "mobilenetv3_large_100", "efficientnet_b0", "convnext_tiny", "vit_tiny_patch16_224",
    "vit_small_patch16_dinov3", "swin_tiny_patch4_window7_224", "densenet121", "torchvision/fasterrcnn_resnet50_fpn",
    "torchvision/ssdlite320_mobilenet_v3_large", "torchvision/deeplabv3_mobilenet_v3_large",
)  # fmt: skip
EMBEDDED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
AT_LEAST = 25  # architectures that must export and agree


def main():
    parser = record.arguments(__doc__, needs_sets=False)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these [all]")
    parser.add_argument("--seconds", type=float, default=0.5, help="of every measurement [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--patience", type=float, default=300.0, help="seconds to wait for a quiet machine, 0: not at all"
    )
    a = parser.parse_args()
    names = a.only or list(dict.fromkeys([*EMBEDDED, *BESIDE, *suite()]))
    kept = record.Record("architectures", "Every architecture: export, parity, and pictures per second", a)
    env = child.environment(a.work / "architectures" / "home", HF_HUB_OFFLINE="1")
    for name in names:
        if not kept.runs(architecture=name):
            load = quiet.wait_until_quiet(kept, a.patience) if a.patience else quiet.foreign_share()
            folder = a.work / "architectures" / "one"
            shutil.rmtree(folder, ignore_errors=True)
            done = child.run([child.PYTHON, STEPS, name, folder, a.seconds, a.rounds], env, timeout=600.0, check=False)
            shutil.rmtree(folder, ignore_errors=True)
            kept.add(architecture=name, load_before=load, **outcome(done), **done.figures())
    summarise(kept, names, a.rounds)


def suite():
    """The names in the common test suite: its own literals, read and not imported."""
    tree = ast.parse(SUITE.read_text("utf-8"))
    lists = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("TINY", "REAL")
    }
    return [*lists["TINY"], *lists["REAL"]]


def outcome(done):
    """What the process got to know, and its last lines (no traceback) when it failed."""
    found = {"rates": {which: [] for which in RIVALS}}
    for line in done.stdout.splitlines():
        figures = json.loads(line)
        for which, rate in figures.pop("round", {}).items():
            found["rates"][which].append(rate)
        found |= figures
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    failed = " / ".join(lines[-3:])[:300] or "no word"
    return {**found, "failed": f"exit code {done.code}: {failed}" if done.code else ""}


def summarise(kept, names, rounds):
    runs = [run for name in names for run in kept.runs(architecture=name)]
    good = [run for run in runs if not run["failed"]]
    kept.target("architectures that export and agree with torch", len(good), at_least=min(AT_LEAST, len(names)))
    times = {run["architecture"]: ratios(run["rates"]) for run in good}
    for rival in RIVALS[:2]:
        middle = statistics.median(t[rival]["median"] for t in times.values()) if times else None
        kept.target(f"engine over torch {rival}, median over architectures", middle, above=1.0)
    header = ("network", "side", "M parameters", "depths", "cut", "exporter", "export s", "largest difference")
    rows = [(*first(run), f"{run['difference']:.1e}") for run in good]
    tables = [("Export and parity", header, rows)]
    header = ("network", *(f"{rival}, pictures/s" for rival in RIVALS), "times eager", "times channels_last")
    rows = [(run["architecture"], *speeds(run), *map(record.span, times[run["architecture"]].values())) for run in good]
    tables += [("Pictures per second, all depths, median (low-high)", header, rows)]
    if failed := [(run["architecture"], run["failed"]) for run in runs if run["failed"]]:
        tables += [("Failed", ("network", "why"), failed)]
    kept.note("random weights; difference: of the largest value of an output, OpenVINO against torch, three pictures")
    kept.note(f"batches: {', '.join(f'{k} {v}' for k, v in good[0]['batches'].items()) if good else '-'}")
    kept.note("export: without the start of the process, imports and the check")
    foreign = [run["foreign"] for run in runs if run["foreign"] is not None]
    if foreign and max(foreign) > quiet.LIMIT:
        kept.note(
            f"others used {statistics.median(foreign):.0%} of the cores (median): only ratios inside a round hold"
        )
    summary = {"good": len(good), "failed": len(runs) - len(good), "times": times}
    kept.finish({"architectures": len(runs), "rounds": rounds}, summary, tables)


def first(run):
    parameters = f"{run['parameters'] / 1e6:.1f}"
    return (run["architecture"], run["side"], parameters, run["depths"], run["cut"], run["exporter"], run["exported"])


def speeds(run):
    return [record.span(record.spread(run["rates"][which])) for which in RIVALS]


def ratios(rates):
    """The engine over each way of torch, inside a round."""
    return {
        rival: record.spread(a / b for a, b in zip(rates["engine"], rates[rival], strict=True)) for rival in RIVALS[:2]
    }


if __name__ == "__main__":
    main()
