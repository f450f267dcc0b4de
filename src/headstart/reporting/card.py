"""The model card beside a classifier, in the format of the Hugging Face hub: YAML in front, then a page of Markdown.

What is not known is left out: above all the licence, which is the user's own to give.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from headstart.images.printable import printable
from headstart.reporting import story
from headstart.reporting.files import read_files
from headstart.reporting.words import JSON, counted, interval, percent
from headstart.run import Run, write_file

CARD = "README.md"
MOST_CLASSES = 50  # that are named; the others are counted


def write_card(run: Run) -> Path:
    """Write RUN/classifier/README.md (atomically) and return where it is.

    Raises:
        UsageError: there is no finished run.
        MachineError: it cannot be written.
    """
    files = read_files(run)
    path = run.classifier / CARD
    write_file(path, model_card(files.result, files.name).encode("utf-8", "backslashreplace"))
    return path


def model_card(result: JSON, name: str) -> str:
    """The card of the classifier that `result` is about; `name` of its run."""
    parts = [f"---\n{_yaml(_front(result, name))}---", f"# {_text(name)}", _text(story.sentence(result))]
    parts += [_usage(result), _data(result), _figures(result)]
    found = [
        f"- {_text(f['title'])}. {_text(f.get('detail') or '')}".rstrip()
        for f in result["findings"]
        if f["severity"] == "issue"
    ]
    if found:
        parts.append("## Known problems\n\n" + "\n".join(found))
    parts.append(_limits(result))
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(result: JSON, name: str) -> dict[str, Any]:
    front: dict[str, Any] = {
        "library_name": "headstart",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", "headstart", "onnx", str(result["decision"]["backbone"])],
        "metrics": ["accuracy"],
    }
    results = _results(result, name)
    if results:
        front["model-index"] = [{"name": name, "results": results}]
    return front


def _results(result: JSON, name: str) -> list[dict[str, Any]]:
    """One entry per set of pictures that was judged."""
    accuracy, test, found = result["accuracy"], result.get("test"), []
    if accuracy["top1"] is not None:
        found.append(("out of fold", "train", "accuracy, corrected for the choice", accuracy))
    if test:
        found.append(("test part", "test", "accuracy", test))
    return [
        {
            "task": {"type": "image-classification", "name": "image classification"},
            "dataset": {"name": f"{name} ({part})", "type": "imagefolder", "split": split},
            "metrics": [
                {"type": "accuracy", "name": said, "value": round(float(figures["top1"]), 4)},
                {"type": "balanced_accuracy", "name": "balanced", "value": round(float(figures["balanced"]), 4)},
            ],
        }
        for part, split, said, figures in found
    ]


def _usage(result: JSON) -> str:
    told = (
        "`model.onnx` takes uint8 pictures (batch, height, width, colour) and gives calibrated probabilities; class "
        "names and the rule for resizing are in its metadata."
    )
    if result.get("runs_in_torch"):
        told = "The network cannot be exported: predicting needs torch and timm, and there is no `model.onnx`."
    return (
        '## Use\n\n```python\nimport headstart\n\nclassifier = headstart.load("FOLDER")  # the folder of this file\n'
        'print(classifier.predict("photo.jpg").label)\n```\n\n'
        f"{told}"
    )


def _data(result: JSON) -> str:
    data = result["data"]
    names = [_code(name) for name in data["class_names"][:MOST_CLASSES]]
    more = len(data["class_names"]) - len(names)
    said = f"{counted(data['n'], 'picture')} in {counted(data['classes'], 'class', 'classes')}: {', '.join(names)}"
    return f"## Training data\n\n{said}" + (f" and {more} more." if more > 0 else ".")


def _figures(result: JSON) -> str:
    accuracy, test = result["accuracy"], result.get("test")
    if accuracy["top1"] is None:
        return "## How good it is\n\nToo few pictures to say: nothing could be held out."
    rows = ["| judged on | accuracy | balanced over classes | log-loss |", "|---|---|---|---|"]
    rows.append(_row("held-out pictures", accuracy))
    if test:
        rows.append(_row(f"test part, {test['n']} pictures", test))
    rows.append(f"| always the most frequent class | {percent(accuracy['baseline'])} | | |")
    return "## How good it is\n\n" + "\n".join(rows) + f"\n\nMeasured {_text(accuracy['how'])}."


def _row(name: str, figures: JSON) -> str:
    top1 = f"{percent(figures['top1'])} ({interval(figures)})"
    return f"| {name} | {top1} | {percent(figures['balanced'])} | {figures['nll']:.3f} |"


def _limits(result: JSON) -> str:
    return (
        "## Limits\n\nThe figures hold for pictures that come from the same source as the training data. Every picture "
        "gets one of the classes above, also when it shows none of them. "
        f"{_text(result['decision']['why'])}\n\nMade with headstart {_text(str(result.get('headstart', '')))}."
    )


def _text(words: str) -> str:
    """One line of Markdown in which names are text: no markup, no links, no HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", printable(words))


def _code(name: str) -> str:
    """A class name as code; with backticks of its own it is escaped text instead."""
    shown = printable(name)
    return _text(shown) if "`" in shown or not shown.strip() else f"`{shown}`"


def _yaml(value: Any, indent: int = 0) -> str:
    """Block YAML of dicts, lists and scalars; strings in double quotes, as JSON writes them, which YAML reads."""
    pad, lines = "  " * indent, []
    items = value.items() if isinstance(value, dict) else [(None, item) for item in value]
    for key, item in items:
        lead = f"{pad}- " if key is None else f"{pad}{key}:"
        if not isinstance(item, dict | list):
            lines.append(f"{lead}{'' if key is None else ' '}{json.dumps(item)}\n")
        elif key is None:
            inner = _yaml(item, indent + 1)
            lines.append(lead + inner[len(pad) + 2 :])
        else:
            lines.append(f"{lead}\n{_yaml(item, indent + 1)}")
    return "".join(lines)
