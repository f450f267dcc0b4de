"""The reference sets of the report's quadrant picture: src/headstart/reporting/reference_sets.json.

    python benchmarks/reference_points.py --sets SETS [--picture docs/quadrant.svg]

Distances are those of the newest similarity record (benchmarks/similarity.py), as positions by howmuch/places.py;
pictures per class are counted in the train/ part of every set. `--picture` draws them as the report does, with a set
of 40 pictures per class as an example. Nothing is measured here; a second.
"""

import argparse
import json
import re
import statistics
from pathlib import Path

from similarity import SETS

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "headstart" / "reporting" / "reference_sets.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, required=True, help="folder of the data sets (datasets/README.md)")
    parser.add_argument("--picture", type=Path, help="draw the sets into this file")
    a = parser.parse_args()
    folder = sorted((HERE / "records").glob("*-similarity*/record.json"))[-1].parent
    sizes, record = {}, json.loads((folder / "record.json").read_text("utf-8"))
    for name in SETS:
        counts = [len([f for f in c.iterdir() if f.is_file()]) for c in sorted((a.sets / name / "train").iterdir())]
        sizes[name] = {"median": statistics.median(counts), "fewest": min(counts), "most": max(counts)}
    backbones = {}
    for run in record["runs"]:
        if run["set"] in SETS:
            backbones.setdefault(run["backbone"], []).append({"set": run["set"], **sizes[run["set"]], **distance(run)})
    content = {"source": f"benchmarks/records/{folder.name}", "backbones": backbones}
    TARGET.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if a.picture:
        a.picture.write_text(picture(), "utf-8")
    print(f"{TARGET}: {', '.join(f'{len(v)} sets with {k}' for k, v in backbones.items())}")


def picture():
    """The quadrant of the report as a file of its own: its rules for drawings and its colours come with it."""
    from headstart.reporting.charts.quadrant import quadrant
    from headstart.reporting.report import TEMPLATES

    near = {"position": 0.9, "position_shift": 0.7, "position_confidence": 1.1}
    result = {
        "data": {"per_class": [15, 40, 120]},
        "size": {"place": "medium", "images_per_class": 40},
        "similarity": near,
        "decision": {"backbone": "efficientnet_lite0"},
    }
    style = (TEMPLATES / "report.css").read_text("utf-8")
    dark = re.search(r"@media screen and \(prefers-color-scheme: dark\) \{.*?\n\}", style, re.S).group()
    rules = [re.search(r":root \{.*?\}", style, re.S).group(), dark, *re.findall(r"^svg (?!\.narrow).*$", style, re.M)]
    drawing = quadrant(result).drawings[0].text
    inside = f"<style>{' '.join(' '.join(rules).split())} svg {{ background: var(--paper); }}</style>"
    return drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        "</desc>", "</desc>" + inside, 1
    )


def distance(run):
    from headstart.howmuch.places import PLACES
    from headstart.howmuch.similarity import positions_of

    found = positions_of(run["bn_shift"], run["source_confidence"], PLACES[run["backbone"]])
    return {"position": round(found.mean, 3)}


if __name__ == "__main__":
    main()
