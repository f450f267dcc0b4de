"""elpv, warm: whole `headstart fit --train head` processes on pictures that were seen before.

    python benchmarks/warm.py --sets SETS [--rounds 5]

The last case of `whole_run.py` alone, for watching it without the expert's minutes. About a minute.
"""

import quiet
import record
import whole_run


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", default="elpv")
    a = parser.parse_args()
    kept = record.Record("warm", f"{a.set}: whole process of a warm headstart fit", a)
    work = a.work / "warm"
    work.mkdir(parents=True, exist_ok=True)
    for k in range(a.rounds):
        if not kept.runs(round=k):
            load = quiet.wait_until_quiet(kept)
            kept.add(round=k, load_before=load, **whole_run.one_run("warm", a.sets / a.set, work))
    runs = kept.runs()
    values = {f: record.spread([r[f] for r in runs]) for f in whole_run.FIGURES}
    kept.target("wall, seconds", values["wall"]["median"], at_most=10.0)
    kept.target("runs that loaded torch (or did not tell)", sum(r["torch"] is not False for r in runs), at_most=0)
    phases = tuple(runs[0]["seconds"])
    by_phase = [record.span(record.spread([r["seconds"][p] for r in runs])) for p in phases]
    tables = [
        ("Whole process, median (low-high)", whole_run.FIGURES, [[record.span(values[f]) for f in whole_run.FIGURES]]),
        ("Seconds by phase, median (low-high)", phases, [by_phase]),
    ]
    kept.finish({"rounds": a.rounds}, {"values": values}, tables)


if __name__ == "__main__":
    main()
