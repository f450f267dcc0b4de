"""labels.txt and README.md of an exported folder, with what other ways of resizing cost on the user's own pictures."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from headstart import __version__
from headstart.artefact import Artefact
from headstart.classifier.build import INPUT, OUTPUT, resize_rule
from headstart.exporting.gate import Agreement
from headstart.images.preprocess import Preprocessing
from headstart.images.printable import printable

_SCRIPT = "predict_script.py"


def script() -> bytes:
    """predict.py as it is put into every exported folder."""
    return files("headstart.exporting").joinpath(_SCRIPT).read_bytes()


def label_lines(classes: tuple[str, ...]) -> bytes:
    """labels.txt: one class per line, in the order of the probabilities; line breaks in a name are escaped."""
    return "".join(f"{printable(name)}\n" for name in classes).encode("utf-8")


def readme(artefact: Artefact, kind: str, resizing: Mapping[str, Agreement], judged: str = "") -> bytes:
    """README.md of a folder with a model of `kind` ("onnx", "int8" or "openvino").

    `resizing`: what was measured per way of resizing. `judged`: the sentence about int8.
    """
    rule = Preprocessing.from_json(dict(artefact.preprocessing))
    template = files("headstart.exporting").joinpath("readme.md").read_text("utf-8")
    sections = _sections(template)
    wanted = ["start", "openvino" if kind == "openvino" else "onnx"]
    text = "\n".join(sections[name] for name in wanted)
    for name, value in {**_facts(artefact, kind, rule, judged), **_lines(rule), "MEASURED": _table(resizing)}.items():
        text = text.replace(f"@{name}@", value)
    return text.encode("utf-8")


def _sections(template: str) -> dict[str, str]:
    """Parts of the template by name; each begins with a line `@@ name`."""
    parts = [part.split("\n", 1) for part in f"\n{template}".split("\n@@ ")[1:]]
    return {name.strip(): body.strip("\n") + "\n" for name, body in parts}


def _facts(artefact: Artefact, kind: str, rule: Preprocessing, judged: str) -> dict[str, str]:
    classes = artefact.classes
    return {
        "KIND": {"onnx": "fp32", "int8": "int8", "openvino": "fp32"}[kind],
        "FILE": "model.xml" if kind == "openvino" else "model.onnx",
        "PACKAGE": "openvino" if kind == "openvino" else "onnxruntime",
        "JUDGED": f"\n{judged}.\n" if judged else "",
        "VERSION": __version__,
        "CREATED": artefact.created,
        "INPUT": INPUT,
        "OUTPUT": OUTPUT,
        "SIDE": str(rule.side),
        "K": str(len(classes)),
        "RULE": resize_rule(rule),
        "CLASSES": "\n".join(f"    {k}  {printable(name)}" for k, name in enumerate(classes[:20]))
        + (f"\n    ... {len(classes) - 20} more: labels.txt" if len(classes) > 20 else ""),
    }


def _lines(rule: Preprocessing) -> dict[str, str]:
    """The lines of the snippets that depend on how a picture becomes a square."""
    share, side, filter = f"{rule.crop_share:g}", rule.side, f"Image.Resampling.{rule.interpolation.upper()}"
    if rule.fit == "crop":
        return {
            "SQUARE_PY": f"edge = min(picture.size) * {share}\n"
            "left, top = (picture.width - edge) / 2, (picture.height - edge) / 2\n"
            "box = (left, top, left + edge, top + edge)\n"
            f"square = picture.resize(({side}, {side}), {filter}, box=box, reducing_gap=2.0)",
            "BOX_JS": f"const edge = Math.min(picture.width, picture.height) * {share};\n"
            "  const from = [(picture.width - edge) / 2, (picture.height - edge) / 2, edge, edge];\n"
            "  const to = [0, 0, side, side];",
            "BOX_CPP": f"int edge = std::lround(std::min(picture.cols, picture.rows) * {share});\n"
            "picture = picture(cv::Rect((picture.cols - edge) / 2, (picture.rows - edge) / 2, edge, edge));",
            "SIZE_CPP": "cv::Size(side, side)",
            "PAD_CPP": "",
            "GREY_JS": "white",
        }
    if rule.fit == "pad":
        return {
            "SQUARE_PY": f"size = [max(1, round(n * {side} / max(picture.size))) for n in picture.size]\n"
            f"small = picture.resize(size, {filter}, reducing_gap=2.0)\n"
            f'square = Image.new("RGB", ({side}, {side}), (127, 127, 127))\n'
            f"square.paste(small, (({side} - size[0]) // 2, ({side} - size[1]) // 2))",
            "BOX_JS": "const scale = side / Math.max(picture.width, picture.height);\n"
            "  const size = [picture.width, picture.height].map((n) => Math.max(1, Math.round(n * scale)));\n"
            "  const from = [0, 0, picture.width, picture.height];\n"
            "  const to = [Math.floor((side - size[0]) / 2), Math.floor((side - size[1]) / 2), ...size];",
            "BOX_CPP": "double scale = double(side) / std::max(picture.cols, picture.rows);\n"
            "int w = std::max(1, int(std::lround(picture.cols * scale)));\n"
            "int h = std::max(1, int(std::lround(picture.rows * scale)));",
            "SIZE_CPP": "cv::Size(w, h)",
            "PAD_CPP": "cv::copyMakeBorder(square, square, (side - h) / 2, side - h - (side - h) / 2,\n"
            "                   (side - w) / 2, side - w - (side - w) / 2, cv::BORDER_CONSTANT, {127, 127, 127});\n",
            "GREY_JS": "rgb(127, 127, 127)",
        }
    return {
        "SQUARE_PY": f"square = picture.resize(({side}, {side}), {filter}, reducing_gap=2.0)",
        "BOX_JS": "const from = [0, 0, picture.width, picture.height], to = [0, 0, side, side];",
        "BOX_CPP": "",
        "SIZE_CPP": "cv::Size(side, side)",
        "PAD_CPP": "",
        "GREY_JS": "white",
    }


def _table(resizing: Mapping[str, Agreement]) -> str:
    if not resizing:
        return "(not measured: no picture could be spared for it)"
    n = next(iter(resizing.values())).n
    rows = [f"| {way} | {found.same} of {found.n} | {found.largest:.3f} |" for way, found in resizing.items()]
    head = f"| resize, on {n} pictures of yours | same class | largest difference of a probability |"
    return "\n".join([head, "|---|---|---|", *rows])


def facts_of(resizing: Mapping[str, Agreement]) -> list[dict[str, Any]]:
    """The table as plain values."""
    return [{"how": way, "n": a.n, "agreement": a.share, "largest": a.largest} for way, a in resizing.items()]
