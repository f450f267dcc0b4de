"""Are two runs the same, but for times and for where they came from?"""

import json

VOLATILE = ("seconds", "engine", "embedding", "config.out", "config.when_exists", "environment")  # of result.json
MADE = ("created", "checksum", "sha256")  # of classifier.json: the time, and the seal that covers it


def differences(a, b):
    """One line per difference between the run folders `a` and `b`; empty when they are the same."""
    found = _differing(_result(a), _result(b), "result.json")
    for name in ("predictions.csv", "bad_images.csv"):
        if (a / name).read_bytes() != (b / name).read_bytes():
            found.append(name)
    files = [sorted(p.name for p in (run / "classifier").iterdir()) for run in (a, b)]
    if files[0] != files[1]:
        found.append(f"files of the classifier: {files[0]} and {files[1]}")
    for name in files[0]:
        paths = [run / "classifier" / name for run in (a, b)]
        if name.endswith(".json"):
            made = [{k: v for k, v in json.loads(p.read_text("utf-8")).items() if k not in MADE} for p in paths]
            found += _differing(*made, name)
        elif paths[1].is_file() and paths[0].read_bytes() != paths[1].read_bytes():
            found.append(f"bytes of classifier/{name}")
    return found


def _result(run):
    result = json.loads((run / "result.json").read_text("utf-8"))
    for path in VOLATILE:
        *parents, last = path.split(".")
        part = result
        for parent in parents:
            part = part[parent]
        part.pop(last, None)
    for candidate in result["candidates"]:
        candidate.pop("seconds", None)
    return result


def _differing(x, y, where):
    if isinstance(x, dict) and isinstance(y, dict):
        return [d for k in sorted(x.keys() | y.keys()) for d in _differing(x.get(k), y.get(k), f"{where}: {k}")]
    if isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        return [d for i, (p, q) in enumerate(zip(x, y, strict=True)) for d in _differing(p, q, f"{where}[{i}]")]
    return [] if x == y else [f"{where}: {str(x)[:60]} and {str(y)[:60]}"]
