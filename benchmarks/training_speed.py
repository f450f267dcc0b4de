"""Fine-tuning on this machine: pictures per second by amount, precision and batch, and what each step bought.

    python benchmarks/training_speed.py [--rounds 3]

Beside it the frozen engine's full fp32 pass (OpenVINO, all depths), and the usual loop: the same timm network in
channels last and fp32, BatchNorm in evaluation mode, SGD, everything trained. Every round is two processes
(training_steps.py), because keeping memory cannot be undone: the last stages are trained without, the whole network
with it, as headstart does. Lite0, pictures and activations in memory. About 5 minutes, 8 GB of memory.
"""

import json
import statistics
from pathlib import Path

import child
import quiet
import record

STEPS = Path(__file__).resolve().parent / "training_steps.py"
BATCH, BATCHES, PRECISIONS = 32, (16, 32, 64), ("bf16", "fp32")
# The whole network is trained with memory kept, the last stages without: as headstart does it.
AMOUNTS = {"left": ("last-1", "last-2", "last-3", "last-4"), "kept": ("norms", "all")}
LADDER = ("plain", "folded BatchNorm", "bf16", "our depthwise backward", "relu6 in place")
KEPT = "memory kept"
CASE = ("case", "amount", "precision", "batch", "step")


def main():
    parser = record.arguments(__doc__, needs_sets=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the batches a case takes [%(default)s]")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for a quiet machine")
    a = parser.parse_args()
    kept = record.Record("training-speed", "Fine-tuning: pictures per second, and what each step bought", a)
    env = child.environment(a.work / "training_speed" / "home", a.work / "training_speed" / "cache")
    for k in range(a.rounds):
        for memory in AMOUNTS:
            if not kept.runs(round=k, memory=memory, done=True):
                load = quiet.wait_until_quiet(kept, a.patience)
                done = child.run([child.PYTHON, STEPS, memory, a.share], env)
                for line in done.stdout.splitlines():
                    kept.add(round=k, memory=memory, **json.loads(line))
                kept.add(round=k, memory=memory, done=True, load_before=load, **done.figures())
    summarise(kept, a.rounds)


def summarise(kept, rounds):
    # a process that was stopped half-way has no "done" and was run again: its later figures stand
    found = {(*(r.get(x) for x in CASE), r["round"]): r["rate"] for r in kept.runs() if "rate" in r}

    def rates(case, amount=None, precision=None, batch=None, step=None):
        return [found[case, amount, precision, batch, step, k] for k in range(rounds)]

    def fastest(amount):  # the precision with the higher median, at the batch that is used unless memory is short
        return max((rates("ours", amount, p, BATCH) for p in PRECISIONS), key=statistics.median)

    engine, plain = rates("frozen engine"), rates("ladder", "all", batch=BATCH, step="plain")
    amounts = (*AMOUNTS["left"], *AMOUNTS["kept"])
    beside = {amount: (over(fastest(amount), engine), over(fastest(amount), plain)) for amount in amounts}
    what = f"the last stage from cached activations, batch {BATCH}: times the frozen engine"
    kept.target(what, beside["last-1"][0]["median"], at_least=2.0)
    what = f"everything, batch {BATCH}: times the usual loop"
    kept.target(what, beside["all"][1]["median"], at_least=1.5)
    ours = {(a, p, b): record.spread(rates("ours", a, p, b)) for a in amounts for p in PRECISIONS for b in BATCHES}
    rows = [("frozen engine, fp32", "-", record.span(record.spread(engine)), "-")]
    rows += [("usual loop, everything, fp32", "-", record.span(record.spread(plain)), "-")]
    rows = [(*row[:2], *("-" if b != BATCH else row[2] for b in BATCHES)) for row in rows]
    rows += [(a, p, *(record.span(ours[a, p, b]) for b in BATCHES)) for a in amounts for p in PRECISIONS]
    tables = [("Pictures per second, median (low-high)", ("what", "precision", *map("batch {}".format, BATCHES)), rows)]
    rows = [(a, *map(record.span, pair)) for a, pair in beside.items()]
    header = ("the faster precision", "times the frozen engine", "times the usual loop")
    tables += [(f"Side by side, batch {BATCH}", header, rows)]
    ladder = {a: {s: rates("ladder", a, batch=BATCH, step=s) for s in (*LADDER, KEPT)} for a in ("all", "last-2")}
    tables += [bought(amount, steps) for amount, steps in ladder.items()]
    kept.note("steps are timed in the usual loop (SGD); the first table is headstart's own loop with all that is in it")
    kept.note("the engine takes batches of its own size")
    foreign = [r["foreign"] for r in kept.runs(done=True)]
    summary = {
        "frozen_engine": record.spread(engine),
        "ours": {" ".join(map(str, key)): value for key, value in ours.items()},
        "beside": {a: {"frozen_engine": pair[0], "usual_loop": pair[1]} for a, pair in beside.items()},
        "ladder": {a: {s: record.spread(v) for s, v in steps.items()} for a, steps in ladder.items()},
        "foreign": foreign,
    }
    kept.finish({"rounds": rounds}, summary, tables)


def over(ours, theirs):
    """Ratios inside a round."""
    return record.spread([a / b for a, b in zip(ours, theirs, strict=True)])


def bought(amount, steps):
    """The table of one amount: rates, and what the step gave over the one before and over the first."""
    names = list(steps)
    rows = []
    for name, before in zip(names, [names[0], *names], strict=False):
        pair = (over(steps[name], steps[before])["median"], over(steps[name], steps[names[0]])["median"])
        rows.append((name if name == names[0] else f"+ {name}", record.span(record.spread(steps[name])), *pair))
    header = ("step", "pictures per second", "over the step before", "over plain")
    return (f"What each step bought: {amount}, batch {BATCH}", header, rows)


if __name__ == "__main__":
    main()
