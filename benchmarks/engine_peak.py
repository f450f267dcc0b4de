"""The frozen network against what this machine's fp32 peak allows: the share the engine reaches, and what it lacks.

    python benchmarks/engine_peak.py [--rounds 3] [--page docs/speed.md]

In turns, in one process: square matrix products (through the engine and through numpy: the better one is the peak),
numbers moved in working sets from 128 KB to 256 MB (the bandwidth of each level of memory), and the network as `fit`
runs it. Operations and bytes of every layer are counted from its graph. A layer needs at least operations / peak and
bytes / bandwidth, whichever is longer; the sum over the layers is what the machine allows. Every layer's own
time comes from the engine's profile. `--page docs/speed.md` puts the tables there. About 5 minutes; no data sets.
"""

import json
import statistics
from collections import defaultdict
from pathlib import Path

import child
import pages
import quiet
import record
from engine_layers import Machine

STEPS = Path(__file__).resolve().parent / "engine_steps.py"
BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
KEPT = ("graph", "turn", "layers")  # lines of a process
MOST = 10  # layers that are named
NETWORKS, KINDS, LAYERS = "What each network reaches", "Where the time goes in {}", "What {} loses most with"


def main():
    parser = record.arguments(__doc__, needs_sets=False)
    parser.add_argument("--backbones", nargs="*", default=list(BACKBONES), metavar="NAME", help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="processes per network [%(default)s]")
    parser.add_argument("--turns", type=int, default=5, help="in each process [%(default)s]")
    parser.add_argument("--seconds", type=float, default=1.5, help="of every measurement [%(default)s]")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--page", type=Path, help="Markdown page that gets the tables, between its two marks")
    a = parser.parse_args()
    kept = record.Record("engine-peak", "The frozen network against what this machine's fp32 peak allows", a)
    work = a.work / "engine-peak"
    for k in range(a.rounds):
        for name in a.backbones:
            if not kept.runs(round=k, backbone=name):
                load = quiet.wait_until_quiet(kept, a.patience)
                kept.add(round=k, backbone=name, load_before=load, **one(name, a, work))
    summarise(kept, a)
    if a.page:
        publish(kept.folder, a.page, a.backbones[0])


def one(name, a, work):
    """One process: the facts of the graph, every turn, every layer."""
    env = child.environment(work / "home", work / "cache")
    done = child.run([child.PYTHON, STEPS, name, a.turns, a.seconds], env)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    of = {what: [{k: v for k, v in x.items() if k != "what"} for x in lines if x["what"] == what] for what in KEPT}
    return {**done.figures(), "graph": of["graph"][0], "turns": of["turn"], "layers": of["layers"][0]["layers"]}


def machine(run, turn):
    """One core of the machine in one turn; the peak is that of the product which is fastest in the whole run."""
    best = max(turn["peak"], key=lambda which: statistics.median(t["peak"][which] for t in run["turns"]))
    streams = run["graph"]["streams"]
    return Machine(turn["peak"][best] / streams, {int(k): v / streams for k, v in turn["bandwidth"].items()})


def reached(run):
    """Per turn: pictures a second, operations a second, the peak, what peak and network allow, and both shares."""
    graph, found = run["graph"], []
    together = graph["streams"] * graph["batch"]  # pictures at a time
    for turn in run["turns"]:
        core = machine(run, turn)
        allowed = together / sum(core.seconds(layer["ops"], layer["bytes"]) for layer in run["layers"])
        peak, done = core.ops * graph["streams"], graph["ops"] * turn["rate"]
        shares = {"of_peak": done / peak, "of_allowed": turn["rate"] / allowed}
        found.append({"rate": turn["rate"], "allowed": allowed, "done": done, "peak": peak, **shares})
    return found


def median_machine(runs):
    """One core, the median over every turn of `runs`."""
    cores = [machine(run, turn) for run in runs for turn in run["turns"]]
    bandwidth = {size: statistics.median(c.bandwidth[size] for c in cores) for size in cores[0].bandwidth}
    return Machine(statistics.median(c.ops for c in cores), bandwidth)


def timed(runs):
    """The layers of one network: measured and least microseconds per picture of the whole machine, all runs together.

    Asking for the times slows the engine down a little: they are scaled to the rate without asking.
    """
    core, graph = median_machine(runs), runs[0]["graph"]
    known = {layer["name"]: layer for run in runs for layer in run["layers"]}
    seconds = {
        name: statistics.median(layer["seconds"] for run in runs for layer in run["layers"] if layer["name"] == name)
        for name in known
    }
    together = graph["streams"] * graph["batch"]
    rate = statistics.median(turn["rate"] for run in runs for turn in run["turns"])
    scale, unit = together / rate / sum(seconds.values()), 1e6 / together
    return [
        {
            **layer,
            "us": unit * scale * seconds[name],
            "least": unit * core.seconds(layer["ops"], layer["bytes"]),
            "scale": scale,
        }
        for name, layer in known.items()
    ]


def summarise(kept, a):
    summary, rows = {}, []
    for name in a.backbones:
        runs = kept.runs(backbone=name)
        turns = [turn for run in runs for turn in reached(run)]
        summary[name] = {key: record.spread(turn[key] for turn in turns) for key in turns[0]}
        share = summary[name]["of_allowed"]["median"]
        kept.target(f"{name}: share of what the fp32 peak allows for this network", share, at_least=0.6)
        rows.append(network_row(name, runs[0]["graph"], summary[name]))
    header = ("network", "million operations per picture", "pictures/s", "Gop/s", "peak Gop/s", "share of the peak")
    tables = [(NETWORKS, (*header, "pictures/s the layers allow", "share of that"), rows)]
    for name in a.backbones:
        layers = timed(kept.runs(backbone=name))
        summary[name]["layers"] = layers
        tables += [kinds_table(name, layers), layers_table(name, layers)]
    everything = kept.runs()
    tables += [bandwidth_table(median_machine(everything)), peak_table(everything)]
    notes(kept, summary)
    kept.finish({"rounds": a.rounds, "turns": a.turns}, summary, tables)


def network_row(name, graph, found):
    shares = [f"{100 * found[key]['median']:.0f} %" for key in ("of_peak", "of_allowed")]
    rates = [f"{found[key]['median'] / unit:.0f}" for key, unit in (("rate", 1), ("done", 1e9), ("peak", 1e9))]
    return name, f"{graph['ops'] / 1e6:.0f}", *rates, shares[0], f"{found['allowed']['median']:.0f}", shares[1]


def kinds_table(name, layers):
    """Layers of one kind together, the longest first."""
    kinds = defaultdict(list)
    for layer in layers:
        kinds[layer["kind"]].append(layer)
    whole, longest = totals(layers), sorted(kinds, key=lambda kind: -totals(kinds[kind])["us"])
    rows = [kind_row(kind, kinds[kind], whole) for kind in longest]
    rows.append(kind_row("all", layers, whole))
    header = ("kind of layer", "layers", "operations", "operations per byte", "µs per picture", "of the time")
    return KINDS.format(name), (*header, "at least µs", "share reached"), rows


def kind_row(kind, layers, whole):
    sums = totals(layers)
    intensity = f"{sums['ops'] / sums['bytes']:.1f}" if sums["bytes"] else "-"
    shares = percent(sums["ops"], whole["ops"]), percent(sums["us"], whole["us"])
    reached = f"{sums['least']:.0f}", percent(sums["least"], sums["us"])
    return kind, len(layers), shares[0], intensity, f"{sums['us']:.0f}", shares[1], *reached


def totals(layers):
    return {key: sum(layer[key] for layer in layers) for key in ("us", "least", "ops", "bytes")}


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "-"


def layers_table(name, layers):
    """The layers whose time is furthest above the least."""
    worst = sorted(layers, key=lambda layer: layer["least"] - layer["us"])[:MOST]
    rows = [
        (
            layer["kind"],
            layer["shape"],
            f"{layer['ops'] / layer['bytes']:.1f}" if layer["bytes"] else "-",
            f"{layer['us']:.0f}",
            f"{layer['least']:.0f}",
            f"{layer['us'] - layer['least']:.0f}",
        )
        for layer in worst
    ]
    header = ("kind of layer", "shape", "operations per byte", "µs per picture", "at least µs", "lost µs")
    return LAYERS.format(name), header, rows


def bandwidth_table(core):
    rows = [(f"{size / 2**10:.0f} KB", f"{speed / 1e9:.1f}") for size, speed in sorted(core.bandwidth.items())]
    return "Bandwidth of one core, all busy", ("working set of the core", "GB/s read and written"), rows


def peak_table(runs):
    names = runs[0]["turns"][0]["peak"]
    found = {which: [turn["peak"][which] / 1e9 for run in runs for turn in run["turns"]] for which in names}
    rows = [(which, record.span(record.spread(values))) for which, values in found.items()]
    return "fp32 matrix products, all cores", ("through, side of the matrices", "Gop/s median (low-high)"), rows


def notes(kept, summary):
    kept.note("operations: a multiplication and an addition count two; only convolutions and matrix products count")
    kept.note("at least: operations / peak or bytes / bandwidth of that working set, the longer one, layer by layer")
    scales = ", ".join(f"{name} {found['layers'][0]['scale']:.2f}" for name, found in summary.items())
    kept.note(f"the profile's times were scaled to the rate without a profile, by {scales}")
    foreign = max((run["foreign"] or 0.0 for run in kept.runs()), default=0.0)
    if foreign > quiet.LIMIT:
        kept.note(f"others used up to {foreign:.0%} of the cores: shares were formed inside a turn, rates are too low")


def publish(folder, page, first):
    """The networks, and the kinds and the worst layers of the first one."""
    tables = pages.sections(folder)
    told = f"`benchmarks/engine_peak.py` ([record]({pages.link(folder / 'record.md', page)})):"
    kinds, layers = KINDS.format(first), LAYERS.format(first)
    parts = [told, tables[NETWORKS], f"{kinds}:", tables[kinds], f"{layers}:", tables[layers]]
    pages.put(page, "engine", parts)


if __name__ == "__main__":
    main()
