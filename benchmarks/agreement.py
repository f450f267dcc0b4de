"""Do all ways to use a classifier give the same answer? 2,000 pictures of three sets.

    python benchmarks/agreement.py --sets SETS [--pictures 2000]

Per set: `fit --train head`, then `predict --json`, `evaluate --json`, the exported model.onnx under ONNX Runtime, and
the exported predict.py in a clean virtual environment (numpy, pillow, onnxruntime), and `headstart serve` over HTTP,
asked one by one, on the same test pictures (then training pictures until there are enough). Same: the class of
`predict`, unless its top two probabilities lie within 2e-3, and its probability within 1e-3. Every exception is printed
and recorded.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

import child
import record
from serving import Server

TIE, NEAR = 2e-3, 1e-3
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
SHARES = {"mnist5k": 0.45, "elpv": 0.45, "gcompris": 0.10}


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--pictures", type=int, default=2000, help="in all [%(default)s]")
    a = parser.parse_args()
    kept = record.Record("agreement", "The same answer by every way", a)
    env = child.environment(a.work / "agreement" / "home", a.work / "agreement" / "cache")
    python = clean_python(a.work / "agreement" / "venv")
    for name, share in SHARES.items():
        if not kept.runs(set=name, way="predict"):
            one_set(kept, a, env, python, name, round(a.pictures * share))
    summarise(kept)


def one_set(kept, a, env, python, name, most):
    work = a.work / "agreement"
    run, out = work / f"run-{name}", work / f"onnx-{name}"
    if not (run / "result.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        child.run([*child.HEADSTART, "fit", a.sets / name, "--out", run, "--train", "head"], env)
    exporting = ["export", run, "--to", "onnx", "--out", out, "--data", a.sets / name, "--overwrite", "--json"]
    exported = json.loads(child.run([*child.HEADSTART, *exporting], env).stdout)
    pictures = some(a.sets / name, most)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        judged = linked(pictures, Path(folder))
        told = child.run([*child.HEADSTART, "predict", run, judged, "--json", "--top", "2"], env)
        expected = {row["path"]: row for row in json.loads(told.stdout)["predictions"]}
        kept.add(set=name, way="predict", n=len(expected), wall=told.wall, exceptions=[])
        evaluated = json.loads(child.run([*child.HEADSTART, "evaluate", run, judged, "--json"], env).stdout)
        compare(kept, name, "evaluate", counts(evaluated, expected))
        compare(kept, name, "onnx", differing(expected, under_onnxruntime(out, run, list(expected))))
        script = child.run([python, "-I", out / "predict.py", judged], env, check=False)
        compare(kept, name, "predict.py", differing(expected, lines(script.stdout)))
        server = Server(run, env, pictures[0])
        try:
            compare(kept, name, "http", differing(expected, over_http(server.port, list(expected))))
        finally:
            server.end()
    kept.note(
        f"{name}: the gate of `export` on {exported['pictures']} pictures: "
        f"probabilities differ by at most {max(exported['largest_difference'].values()):.1g}"
    )


def clean_python(folder):
    """A virtual environment with the three packages that predict.py needs."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        packages = ["numpy", "pillow", "onnxruntime"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def some(data, most):
    """Up to `most` pictures of a set, test pictures first, evenly spread."""
    found = []
    for part in ("test", "train"):
        part_of = sorted(p for p in (data / part).rglob("*") if p.suffix.lower() in SUFFIXES)
        room = most - len(found)
        found += part_of if len(part_of) <= room else [part_of[i * len(part_of) // room] for i in range(room)]
    return found


def linked(pictures, folder):
    """The same files in class folders of their own, so that every command sees exactly them."""
    for at, picture in enumerate(pictures):
        place = folder / picture.parent.name
        place.mkdir(exist_ok=True)
        (place / f"{at:05}{picture.suffix}").symlink_to(picture.resolve())
    return folder


def differing(expected, found):
    """One line per picture that breaks the rule; `found`: path -> (class, probability)."""
    said = []
    for path, row in expected.items():
        if row["error"] is not None:
            if path in found:
                said.append(f"{path}: refused by predict only")
            continue
        if path not in found:
            said.append(f"{path}: no answer")
            continue
        label, p = found[path]
        gap = row["top"][0][1] - row["top"][1][1]
        if label != row["class"] and gap > TIE:
            said.append(f"{path}: {label} instead of {row['class']} (its top two are {gap:.4f} apart)")
        elif abs(p - row["probability"]) > NEAR + 5e-5:  # predict.py prints four digits
            said.append(f"{path}: {p:.4f} instead of {row['probability']:.4f}")
    return said


def counts(evaluated, expected):
    """`evaluate` says how many are right per class: the same must come out of the answers of `predict`."""
    right, total = {}, {}
    for path, row in expected.items():
        if row["error"] is None:
            label = Path(path).parent.name
            total[label] = total.get(label, 0) + 1
            right[label] = right.get(label, 0) + (row["class"] == label)
    said = []
    for c in evaluated["per_class"]:
        n, found = total.get(c["class"], 0), round((c["recall"] or 0) * c["n"])
        if (n, right.get(c["class"], 0)) != (c["n"], found):
            said.append(f"{c['class']}: {found} of {c['n']} right instead of {right.get(c['class'], 0)} of {n}")
    return said


def under_onnxruntime(folder, run, paths):
    """The exported file by ONNX Runtime on pictures that headstart decoded."""
    import numpy as np
    import onnxruntime

    from headstart.classifier.classifier import Classifier
    from headstart.images.load import BadImageError

    classifier = Classifier.load(run)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    good, squares, found = [], [], {}
    for path in paths:
        try:
            squares.append(classifier.load_picture(path).pixels)
        except BadImageError:
            continue
        good.append(path)
    for at in range(0, len(good), 8):
        rows = session.run(None, {"images": np.stack(squares[at : at + 8])})[0]
        for path, row in zip(good[at : at + 8], rows, strict=True):
            found[path] = (classifier.classes[int(row.argmax())], float(row.max()))
    return found


def over_http(port, paths):
    """One request per picture; the answer has the form of `predict --json`."""
    found = {}
    for path in paths:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/predict", Path(path).read_bytes(), method="POST")
        asked.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            row = json.load(answer)["predictions"][0]
        if row.get("error") is None:
            found[path] = (row["class"], row["probability"])
    return found


def lines(text):
    """What predict.py printed."""
    rows = (line.split("\t") for line in text.splitlines())
    return {path: (label, float(p)) for path, label, p in rows}


def compare(kept, name, way, exceptions):
    for line in exceptions[:20]:
        print(f"  {way}: {line}", file=sys.stderr)
    n = kept.runs(set=name, way="predict")[0]["n"]
    kept.add(set=name, way=way, n=n, found=len(exceptions), exceptions=exceptions)


def summarise(kept):
    ways = [way for way in ("evaluate", "onnx", "predict.py", "http") if kept.runs(way=way)]
    n = sum(r["n"] for r in kept.runs(way="predict"))
    for way in ways:
        kept.target(f"exceptions of {way}", sum(r["found"] for r in kept.runs(way=way)), at_most=0)
    rows = []
    for name in SHARES:
        found = [sum(r["found"] for r in kept.runs(set=name, way=way)) for way in ways]
        rows.append((name, kept.runs(set=name, way="predict")[0]["n"], *found))
    table = ("Exceptions", ("set", "pictures", *ways), rows)
    kept.finish({"pictures": n}, {way: sum(r["found"] for r in kept.runs(way=way)) for way in ways}, [table])


if __name__ == "__main__":
    main()
