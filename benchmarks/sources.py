"""The networks that packages bring, side by side: test accuracy of a new head, and what the frozen pass costs.

    python benchmarks/sources.py --sets SETS [--only SET ...] [--rounds 1]

`fit --train head --backbone NAME` on six sets, the graph ready and no embeddings cached; the networks take turns inside
every set. Seconds: the phase `embed`, decoding included. Accuracy is on the sets' own test pictures, with its 95 %
interval, and the same in every round. `--page docs/backbones.md` puts the tables of the record there. About 8 minutes.
"""

import json
import os
import shutil
from pathlib import Path

import child
import headstart_fit
import quiet
import record

SETS = ("nature", "gcompris", "elpv", "emoji_subgroup", "mnist5k", "digits8")
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"  # of the page
SOURCES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--backbones", nargs="*", default=list(SOURCES), metavar="NAME", help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=1)
    a = parser.parse_args()
    kept = record.Record("sources", "Choosing among the networks that packages bring", a)
    work = a.work / "sources"
    for name in a.backbones:
        prepare(a.sets / a.only[0], name, work)
    for k in range(a.rounds):
        for data in a.only:
            for name in a.backbones:
                if not kept.runs(round=k, set=data, source=name):
                    load = quiet.wait_until_quiet(kept, a.patience) if a.patience else quiet.foreign_share()
                    kept.add(round=k, set=data, source=name, load_before=load, **one(a.sets / data, name, work))
    summarise(kept, a, facts(work))
    if a.page:
        publish(kept.folder / "record.md", a.page)


def arguments(doc):
    """Options of a comparison over the six sets; `picture_size.py` has them too."""
    parser = record.arguments(doc)
    parser.add_argument("--only", nargs="*", default=list(SETS), metavar="SET", help="these sets [all]")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for a quiet machine, 0: not")
    parser.add_argument("--page", type=Path, help="Markdown page that gets the tables, between its two marks")
    return parser


def environment(name, work):
    """Every network has a cache of its own."""
    return child.environment(work / "home", work / f"cache-{name}")


def prepare(data, name, work):
    """The graph, once; what `fit` leaves besides is removed before every run."""
    if not list((work / f"cache-{name}" / "graphs").glob("*.onnx")):
        headstart_fit.fit(data, work / "run", environment(name, work), "--backbone", name)


def one(data, name, work):
    shutil.rmtree(work / f"cache-{name}" / "embeddings", ignore_errors=True)
    done, result = headstart_fit.fit(data, work / "run", environment(name, work), "--backbone", name)
    test, computed = result["test"], result["embedding"]["computed"]
    if not computed:
        raise SystemExit(f"{data}: the pictures were in the cache, so their pass was not timed")
    return {
        **{k: test[k] for k in ("n", "top1", "low", "high")},
        "pictures": computed,
        "seconds": result["seconds"]["embed"],
        "place": result["similarity"]["place"],
        **done.figures(),
    }


def facts(work):
    """{name: what `headstart backbones` says}: size, parameters, side, published accuracy."""
    done = child.run([*child.HEADSTART, "backbones", "--json"], child.environment(work / "home"))
    return {row["name"]: row for row in json.loads(done.stdout)["backbones"]}


def summarise(kept, a, known):
    sets, names = a.only, a.backbones
    found = {(name, data): kept.runs(source=name, set=data) for name in names for data in sets}
    top1 = {name: [found[name, data][0]["top1"] for data in sets] for name in names}
    pictures = sum(found[names[0], data][0]["pictures"] for data in sets)
    seconds = {
        name: record.spread(sum(found[name, data][k]["seconds"] for data in sets) for k in range(a.rounds))
        for name in names
    }
    header = ("network", "published top-1 %", "file, MB", "M parameters", "side", f"mean test % of {len(sets)} sets")
    header += (f"seconds for {pictures:,} pictures", "pictures/s")
    rows = [(name, *described(known[name]), mean(top1[name]), *cost(seconds[name], pictures)) for name in names]
    tables = [("What each costs and brings", header, rows)]
    header = ("set", "test n", *(f"{name.removeprefix('efficientnet_')} %" for name in names))
    rows = [(data, found[names[0], data][0]["n"], *(cell(found[name, data][0]) for name in names)) for data in sets]
    tables += [("Test accuracy of a new head, with its 95 % interval", header, rows)]
    header = ("set", "pictures", *(f"{name.removeprefix('efficientnet_')} s" for name in names))
    rows = [
        (data, found[names[0], data][0]["pictures"], *(spent(found[name, data]) for name in names)) for data in sets
    ]
    tables += [("Seconds of the frozen pass", header, rows)]
    foreign = [run["foreign"] for run in kept.runs() if run["foreign"] is not None]
    if foreign and max(foreign) > quiet.LIMIT:
        kept.note(f"others used up to {max(foreign):.0%} of the cores: the seconds are no measurement, accuracies are")
    kept.note(
        "seconds and pictures/s: training and test pictures, decoding included, graph ready, no embeddings cached"
    )
    kept.note("an interval is that of one accuracy: two that overlap do not say that two networks are equally good")
    kept.finish({"sets": len(sets), "rounds": a.rounds}, {"seconds": seconds, "top1": top1}, tables)


def publish(made, page):
    """Put the first two tables of the record, as they are, and a link to it between the marks of `page`."""
    text = made.read_text("utf-8")
    costs, accuracy = text.split("\n## ")[1:3]
    tables = [section.partition("\n\n")[2].strip() for section in (costs, accuracy)]
    busy = [line.removeprefix("* ") for line in text.splitlines() if line.startswith("* others used")]
    link = Path(os.path.relpath(made, page.parent)).as_posix()
    told = f"`benchmarks/sources.py` ([record]({link})); a new head on the frozen network, test pictures of six sets:"
    why = "Right answers on the test pictures in %, with the 95 % interval of each:"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [f"{before}{BEGIN}", told, tables[0], *(f"({line}.)" for line in busy), why, tables[1], f"{END}{after}"]
    page.write_text("\n\n".join(parts), "utf-8")


def described(row):
    published = "-" if row["published_top1"] is None else f"{100 * row['published_top1']:.1f}"
    return published, f"{row['bytes'] / 1e6:.1f}", f"{row['parameters'] / 1e6:.1f}", row["side"]


def mean(values):
    return f"{100 * sum(values) / len(values):.1f}"


def cost(seconds, pictures):
    return f"{seconds['median']:.0f}", f"{pictures / seconds['median']:.0f}"


def cell(run):
    return f"{100 * run['top1']:.1f} ({100 * run['low']:.1f}-{100 * run['high']:.1f})"


def spent(runs):
    return f"{record.spread([run['seconds'] for run in runs])['median']:.1f}"


if __name__ == "__main__":
    main()
