"""`headstart predict` of one picture and `--help`, every time a new process, beside a bare OpenVINO script.

    python benchmarks/cold_predict.py --sets SETS [--runs 10]

The bare script (peers/bare_openvino.py) runs the model.onnx of the same classifier: what no program that uses OpenVINO
can go below. One run of each kind is thrown away: files are in the page cache, bytecode is compiled. About a minute.
"""

import json
import shutil

import child
import quiet
import record

KINDS = ("predict", "bare", "help")
FIGURES = ("wall", "cpu", "peak_mb")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--set", default="nature", help="data set of the classifier and the picture [%(default)s]")
    a = parser.parse_args()
    kept = record.Record("cold-predict", "One picture, cold process", a)
    work = a.work / "cold-predict"
    env = child.environment(work / "home", work / "cache")
    run = work / f"run-{a.set}"
    if not (run / "result.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        child.run([*child.HEADSTART, "fit", a.sets / a.set, "--out", run, "--train", "head"], env)
    picture = sorted(p for p in (a.sets / a.set / "test").glob("*/*") if p.is_file())[0]
    commands = {
        "predict": [*child.HEADSTART, "predict", run, picture, "--json"],
        "bare": [child.PYTHON, record.HERE / "peers" / "bare_openvino.py", run / "classifier" / "model.onnx", picture],
        "help": [*child.HEADSTART, "--help"],
    }
    modules = inside(run, picture, work, env)
    for kind in KINDS:
        child.run(commands[kind], env | {"CI": "1"} if kind == "bare" else env)
    quiet.wait_until_quiet(kept)
    for k in range(a.runs):
        for kind in KINDS:
            if not kept.runs(kind=kind, run=k):
                done = child.run(commands[kind], env | {"CI": "1"} if kind == "bare" else env)
                kept.add(kind=kind, run=k, **{f: v for f, v in done.figures().items() if f in (*FIGURES, "foreign")})
    summarise(kept, modules, a.runs)


def inside(run, picture, work, env):
    """The modules one `predict` had loaded at its end."""
    listed = work / "modules.json"
    listed.unlink(missing_ok=True)
    child.run([child.PYTHON, record.HERE / "inside.py", listed, "predict", run, picture, "--json"], env)
    return json.loads(listed.read_text())


def summarise(kept, modules, runs):
    values = {k: {f: record.spread([r[f] for r in kept.runs(kind=k)]) for f in FIGURES} for k in KINDS}
    heavy = [m for m in ("torch", "timm", "sklearn", "scipy", "onnx", "onnxscript", "rich") if m in modules]
    kept.target("predict, wall seconds", values["predict"]["wall"]["median"], at_most=1.2)
    kept.target("predict, peak MB", values["predict"]["peak_mb"]["median"], at_most=250)
    kept.target("torch loaded by predict", int("torch" in modules), at_most=0)
    kept.target("--help, wall seconds", values["help"]["wall"]["median"], at_most=0.5)
    ratio = values["predict"]["wall"]["median"] / values["bare"]["wall"]["median"]
    kept.note(f"predict takes {ratio:.2f} times the wall time of the bare OpenVINO script")
    kept.note(
        f"{len(modules)} top-level modules at the end of predict; of the heavy ones: {', '.join(heavy) or 'none'}"
    )
    rows = [(k, *(record.span(values[k][f]) for f in FIGURES)) for k in KINDS]
    table = ("Median (low-high)", ("process", *FIGURES), rows)
    kept.finish({"runs": runs}, {"values": values, "ratio": ratio, "modules": modules}, [table])


if __name__ == "__main__":
    main()
