"""`headstart serve` under load: start, 100 clients at once, the same answers as `predict`, memory.

    python benchmarks/serving.py --sets SETS [--set elpv] [--pictures 1500] [--clients 100]

One run of the head on the set, then rounds of: `predict` on the pictures in a process that is warm (the rate without
its start), and the same pictures by 100 clients, one per request, from a load generator on the same cores (its CPU is
reported: it takes from the server). Then by three times as many clients, which is more than the queue holds, and eight
pictures a request. Memory: the server's process tree after 200 requests and after 1,000 more. Start: from a new process
to the first answer. About four minutes.
"""

import json
import shutil
import signal
import statistics
import subprocess
import time
import urllib.request

import child
import quiet
import record

CLIENTS = record.HERE / "serving_clients.py"
WARM = """
import json, sys, time
from headstart.classifier.classifier import Classifier
files = json.load(open(sys.argv[2]))
classifier = Classifier.load(sys.argv[1])
classifier.predict(files[:16])
start = time.perf_counter()
rows = [[p.label, dict(p.top)] for p in classifier.predict_each(files, 1000)]
wall = time.perf_counter() - start
json.dump(rows, open(sys.argv[3], "w"))
print(json.dumps({"wall": wall}))
"""
TOLERANCE, MARGIN = 1e-3, 2e-3  # design section 8


class Server:
    """`headstart serve` and the time to its first answer."""

    def __init__(self, run, env, picture):
        start = time.perf_counter()
        command = [*child.HEADSTART, "serve", run, "--port", "0", "--json"]
        self.process = subprocess.Popen(
            [str(c) for c in command], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.port = json.loads(self.process.stdout.readline())["port"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/predict", picture.read_bytes(), {"Content-Type": "image/png"}
        )
        urllib.request.urlopen(request).read()
        self.first_answer = time.perf_counter() - start

    def memory(self):
        return child.tree_mb(self.process.pid)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--set", default="elpv")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=7)
    a = parser.parse_args()
    kept = record.Record("serving", "The server under load", a)
    work = a.work / "serving"
    env = child.environment(work / "home", work / "cache")
    run = work / f"run-{a.set}"
    if not (run / "result.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        child.run([*child.HEADSTART, "fit", a.sets / a.set, "--out", run, "--train", "head"], env)
    files = sorted(p for p in (a.sets / a.set).glob("*/*/*") if p.is_file())
    files = files[:: max(1, len(files) // a.pictures)][: a.pictures]
    (work / "list.json").write_text(json.dumps([str(f) for f in files]))
    measure_starts(kept, run, env, files[0], a.starts)
    server = Server(run, env, files[0])
    try:
        for k in range(a.rounds):
            measure_round(kept, work, run, env, server, a.clients, k)
        measure_memory(kept, work, env, server, files)
    finally:
        code = server.end()
    summarise(kept, a, len(files), code)


def measure_starts(kept, run, env, picture, starts):
    Server(run, env, picture).end()
    quiet.wait_until_quiet(kept)
    for k in range(starts):
        if not kept.runs(kind="start", round=k):
            server = Server(run, env, picture)
            server.end()
            kept.add(kind="start", round=k, seconds=server.first_answer)


def measure_round(kept, work, run, env, server, clients, k):
    """`predict`, then the clients; one picture per request, then eight."""
    if kept.runs(kind="many", round=k):
        return
    quiet.wait_until_quiet(kept)
    warm = child.run([child.PYTHON, "-c", WARM, run, work / "list.json", work / "predicted.json"], env)
    predicted = json.loads((work / "predicted.json").read_text())
    rate = len(predicted) / json.loads(warm.stdout)["wall"]
    kept.add(kind="predict", round=k, rate=rate, foreign=warm.foreign)
    for kind, at_once, number in (("one", 1, clients), ("crowd", 1, 3 * clients), ("many", 8, 8)):
        told, rows, cpu = load(work, env, server, "list.json", number, at_once)
        wrong, worst = differences(predicted, rows)
        served = len(predicted) / told["wall"]
        kept.add(
            kind=kind, round=k, rate=served, share=served / rate, wrong=wrong, worst=worst, busy=told["busy"],
            cut=told["cut"], client_cpu=told["cpu"] / told["wall"], server_cpu=cpu / told["wall"],
            p50=percentile(told["served"], 50), p95=percentile(told["served"], 95),
            waited_p50=percentile(told["waited"], 50), waited_p95=percentile(told["waited"], 95),
        )  # fmt: skip


def load(work, env, server, listed, clients, at_once=1):
    """What the clients say, the rows of all pictures, CPU seconds of the server and its decode processes."""
    before = tree_cpu(server.process.pid)
    command = [child.PYTHON, CLIENTS, server.port, work / listed, work / "answers.json"]
    done = child.run([*command, "--clients", clients, "--at-once", at_once], env)
    used = tree_cpu(server.process.pid) - before
    answers = json.loads((work / "answers.json").read_text())
    bad = [(status, answer) for status, answer in answers if status != 200]
    if bad:
        raise SystemExit(f"{len(bad)} requests were not answered, the first: {bad[0]}")
    return json.loads(done.stdout), [row for _, answer in answers for row in answer["predictions"]], used


def tree_cpu(pid):
    """CPU seconds of a process and its children that live."""
    total = 0
    for one in [pid, *_children(pid)]:
        with open(f"/proc/{one}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / 100


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def differences(predicted, rows):
    """Pictures whose answer is not that of `predict`, and the largest difference of a probability."""
    wrong, worst = 0, 0.0
    for (label, top), row in zip(predicted, rows, strict=True):
        served = dict(row["top"])
        gap = max(abs(served[name] - p) for name, p in top.items())
        worst = max(worst, gap)
        first, second = sorted(top.values(), reverse=True)[:2]
        wrong += gap > TOLERANCE or (row["class"] != label and first - second > MARGIN)
    return wrong, worst


def measure_memory(kept, work, env, server, files):
    if kept.runs(kind="memory"):
        return
    for name, count in (("few.json", 200), ("more.json", 1000)):
        (work / name).write_text(json.dumps([str(files[k % len(files)]) for k in range(count)]))
    load(work, env, server, "few.json", 20)
    before = server.memory()
    load(work, env, server, "more.json", 20)
    kept.add(kind="memory", before=before, after=server.memory())


def percentile(values, share):
    return statistics.quantiles(values, n=100)[share - 1]


def summarise(kept, a, n, code):
    starts = record.spread([r["seconds"] for r in kept.runs(kind="start")])
    ones, many = kept.runs(kind="one"), kept.runs(kind="many")
    memory = kept.runs(kind="memory")[0]
    kept.target("start to first answer, seconds", starts["median"], at_most=2.5)
    kept.target(
        f"{a.clients} clients: share of predict's rate", statistics.median(r["share"] for r in ones), at_least=0.7
    )
    kept.target("wrong answers", sum(r.get("wrong", 0) for r in kept.content["runs"]), at_most=0)
    kept.target("MB more after 1,000 requests", memory["after"] - memory["before"], at_most=20)
    kept.target("exit code after SIGTERM", code, at_most=0)
    kept.note("the load generator runs on the same cores: `client_cpu` is the cores it used, `server_cpu` the server's")
    kept.note("p50, p95: seconds of the request that was answered; waited: with those before it that got 503")
    figures = ("rate", "share", "p50", "p95", "waited_p50", "waited_p95", "busy", "client_cpu", "server_cpu")
    rows = [
        (name, *(record.span(record.spread([r[f] for r in runs])) for f in figures))
        for name, runs in (
            (f"{a.clients} clients, 1 picture", ones),
            (f"{3 * a.clients} clients, 1 picture", kept.runs(kind="crowd")),
            ("8 clients, 8 pictures", many),
        )
    ]
    predict = record.spread([r["rate"] for r in kept.runs(kind="predict")])
    others = [("predict, pictures per second", record.span(predict)), ("start, seconds", record.span(starts))]
    others += [(f"MB {when} 1,000 requests", memory[when]) for when in ("before", "after")]
    tables = [
        ("Pictures per second: median (low-high)", ("load", *figures), rows),
        ("Others", ("what", "median (low-high)"), others),
    ]
    kept.finish({"pictures": n, "rounds": a.rounds}, {"starts": starts, "predict": predict}, tables)


if __name__ == "__main__":
    main()
