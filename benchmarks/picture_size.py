"""The same network shown smaller and larger squares: test accuracy of a new head, and what the frozen pass costs.

    python benchmarks/picture_size.py --sets SETS [--only SET ...] [--sides 96 160 224 320]

`fit --train head --backbone efficientnet_lite0@SIDE` on six sets, the graph ready and no embeddings cached; the sides
take turns inside every set. Seconds: the phase `embed`, decoding included. `--page docs/backbones.md` puts the tables
of the record there. About 20 minutes.
"""

from statistics import median

import pages
import quiet
import record
import sources
from PIL import Image

SIDES = (96, 160, 224, 320)
NETWORK = "efficientnet_lite0"
COSTS = "What each side costs and brings"
ACCURACY = "Test accuracy of a new head, with its 95 % interval"


def main():
    parser = sources.arguments(__doc__)
    parser.add_argument("--sides", nargs="*", type=int, default=list(SIDES), metavar="SIDE", help="[%(default)s]")
    a = parser.parse_args()
    kept = record.Record("picture-size", "One network shown squares of other sides", a)
    work = a.work / "picture-size"
    for side in a.sides:
        sources.prepare(a.sets / a.only[0], named(side), work)
    for data in a.only:
        for side in a.sides:
            if not kept.runs(set=data, side=side):
                load = quiet.wait_until_quiet(kept, a.patience) if a.patience else quiet.foreign_share()
                kept.add(set=data, side=side, load_before=load, **sources.one(a.sets / data, named(side), work))
    summarise(kept, a)
    if a.page:
        publish(kept.folder, a.page)


def named(side):
    return f"{NETWORK}@{side}"


def shorter_side(folder):
    """Median of the shorter side of a set's pictures, in pixels."""
    return int(median(min(Image.open(path).size) for path in sorted((folder / "train").glob("*/*"))))


def summarise(kept, a):
    found = {(data, side): kept.runs(set=data, side=side)[0] for data in a.only for side in a.sides}
    pictures = sum(found[data, a.sides[0]]["pictures"] for data in a.only)
    seconds = {side: sum(found[data, side]["seconds"] for data in a.only) for side in a.sides}
    header = ("side", f"mean test % of {len(a.only)} sets", f"seconds for {pictures:,} pictures", "pictures/s")
    rows = [
        (side, sources.mean([found[data, side]["top1"] for data in a.only]), f"{spent:.0f}", f"{pictures / spent:.0f}")
        for side, spent in seconds.items()
    ]
    tables = [(COSTS, header, rows)]
    header = ("set", "its own shorter side", "test n", *(f"{side} px, %" for side in a.sides))
    rows = [
        (
            data,
            shorter_side(a.sets / data),
            found[data, a.sides[0]]["n"],
            *(sources.cell(found[data, side]) for side in a.sides),
        )
        for data in a.only
    ]
    tables += [(ACCURACY, header, rows)]
    if max(run["foreign"] or 0.0 for run in kept.runs()) > quiet.LIMIT:
        kept.note("others used the cores too: the seconds are no measurement, accuracies are")
    kept.note("training and test pictures, decoding included, graph ready, no embeddings cached; one run each")
    kept.finish({"sets": len(a.only)}, {"seconds": {str(side): spent for side, spent in seconds.items()}}, tables)


def publish(folder, page):
    tables = pages.sections(folder)
    link = pages.link(folder / "record.md", page)
    told = f"`benchmarks/picture_size.py` ([record]({link})); a new head on the frozen EfficientNet-Lite0:"
    pages.put(page, "picture-size", [told, tables[COSTS], tables[ACCURACY]])


if __name__ == "__main__":
    main()
