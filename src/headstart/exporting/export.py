"""The story of `export`: build the files, prove them on the user's own pictures, and only then let them be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.classifier.verify import BATCH_SIZES
from headstart.engine.engine import Engine
from headstart.engine.openvino import OpenVinoEngine
from headstart.errors import ClassifierError, DataError, HeadstartError, UsageError
from headstart.exporting import predict_script
from headstart.exporting.folder import check_free, write_folder
from headstart.exporting.gate import Agreement, agreement, demand, demand_in_batches
from headstart.exporting.int8 import quantise
from headstart.exporting.judge import Verdict, judge
from headstart.exporting.openvino_files import openvino_files
from headstart.exporting.own_pictures import Decoded, OwnPictures, choose, decode, own_pictures
from headstart.exporting.readme import facts_of, label_lines, readme, script
from headstart.exporting.resizing import WAYS, squares
from headstart.exporting.runtime import OnnxRuntimeEngine, import_onnxruntime
from headstart.images.load import BadImageError
from headstart.progress import Progress
from headstart.run import EXPORTS

KINDS = EXPORTS
MOST = 256  # pictures to compare on, as in `fit`
MOST_RESIZED = 100
CALIBRATE, ENOUGH_UNSEEN, MOST_JUDGED = 200, 200, 1000
SEED = 0


@dataclass(frozen=True)
class Request:
    """What to export: `run` is the folder of a run or a classifier, `kind` one of KINDS."""

    run: Path
    kind: str = "onnx"
    out: Path | None = None
    data: Path | None = None
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where it goes."""
        return self.out or self.run / f"export-{self.kind}"


def export(request: Request, progress: Progress) -> dict[str, Any]:
    """Write the folder of `request` and say what was measured, as plain values (fractions 0..1).

    Raises, and leaves nothing behind:
        UsageError: unknown kind, a folder that may not be replaced, no pictures known, a network that torch alone runs.
        DataError: no picture can be read.
        ClassifierError: int8 loses too much or is not faster.
        MachineError: onnxruntime is missing, the disk is full.
        HeadstartError: the exported model gives other answers.
    """
    if request.kind not in KINDS:
        raise UsageError(f"cannot export to {request.kind!r}: choose one of {', '.join(KINDS)}")
    classifier = Classifier.load(request.run)
    if (network := classifier.artefact.network) is not None:
        raise UsageError(
            f"{request.run} has nothing to export: {network.architecture} cannot become a graph ({network.why}); "
            "train with another --backbone for that"
        )
    check_free(request.folder, request.overwrite)
    if request.kind != "openvino":
        import_onnxruntime()
    own = own_pictures(request.run, request.data, classifier.classes)
    hard, spread = choose(own, MOST)
    progress.start("compare", None)
    decoded = decode(own, np.concatenate([hard, spread]), classifier)
    if not len(decoded.index):
        raise DataError(f"none of {len(hard) + len(spread)} pictures can be read: name others with --data PICTURES")
    verdict, model = None, classifier.artefact.model
    if request.kind == "int8":
        model, verdict = _int8(classifier, own, progress)
    expected = _in_sevens(classifier, decoded.pixels)
    resizing = _resizing(classifier, own, spread)
    files = _files(request.kind, model, classifier, resizing, verdict)
    checked: dict[str, Any] = {}
    gate = _int8_gate(own, decoded, checked) if verdict else _gate(request.kind, own, decoded, expected, checked)
    write_folder(request.folder, files, gate)
    return {
        "to": request.kind,
        "folder": str(request.folder),
        "files": {name: len(content) for name, content in files.items()},
        "pictures": len(decoded.index),
        "batches": list(BATCH_SIZES),
        "largest_difference": checked,
        "resizing": facts_of(resizing),
        "int8": verdict.to_json() if verdict else None,
        "says": verdict.sentence() if verdict else None,
    }


def _files(
    kind: str, model: bytes, classifier: Classifier, resizing: dict[str, Agreement], verdict: Verdict | None
) -> dict[str, bytes]:
    artefact = classifier.artefact
    models = openvino_files(model, _metadata(classifier)) if kind == "openvino" else {"model.onnx": model}
    text = readme(artefact, kind, resizing, verdict.sentence() if verdict else "")
    return {**models, "labels.txt": label_lines(artefact.classes), "predict.py": script(), "README.md": text}


def _metadata(classifier: Classifier) -> dict[str, str]:
    from headstart.artefact import class_list_hash
    from headstart.classifier.build import resize_rule

    return {
        "classes": json.dumps(list(classifier.classes)),
        "classes_sha256": class_list_hash(classifier.classes),
        "preprocessing": json.dumps(classifier.preprocessing.to_json(), sort_keys=True),
        "resize": resize_rule(classifier.preprocessing),
        "temperature": repr(classifier.artefact.temperature),
    }


def _gate(
    kind: str, own: OwnPictures, decoded: Decoded, expected: NDArray[np.float32], checked: dict[str, Any]
) -> Callable[[Path], None]:
    """The check of a written folder: its model in batches of 1, 2, 7, then its predict.py from the files."""

    def check(folder: Path) -> None:
        names = decoded.names(own)
        engine: Engine
        if kind == "openvino":
            engine = OpenVinoEngine(folder / "model.xml")
        else:
            engine = OnnxRuntimeEngine((folder / "model.onnx").read_bytes())
        checked[engine.name] = demand_in_batches(engine, decoded.pixels, expected, names)
        checked["predict.py"] = _script_gate(folder, own, decoded, expected)

    return check


def _int8_gate(own: OwnPictures, decoded: Decoded, checked: dict[str, Any]) -> Callable[[Path], None]:
    """int8 has answers of its own: what is checked is that predict.py gives those of the model that was judged."""

    def check(folder: Path) -> None:
        engine = OnnxRuntimeEngine((folder / "model.onnx").read_bytes())
        expected = np.concatenate(
            [engine.run(decoded.pixels[i : i + 1])["probabilities"] for i in range(len(decoded.index))]
        )
        checked["onnxruntime"] = demand_in_batches(engine, decoded.pixels, expected, decoded.names(own))
        checked["predict.py"] = _script_gate(folder, own, decoded, expected)

    return check


def _script_gate(folder: Path, own: OwnPictures, decoded: Decoded, expected: NDArray[np.float32]) -> float:
    """The same through the code of predict.py, decoding included, for the pictures that are files."""
    files = [(at, own.sources[i]) for at, i in enumerate(decoded.index)]
    paths = [source for _, source in files if isinstance(source, Path)]
    if len(paths) != len(files):
        raise HeadstartError("export compares on picture files: name some with --data PICTURES")
    run, metadata = predict_script.open_model(folder)
    rule = json.loads(metadata["preprocessing"])
    rows = []
    for path, row in predict_script.predict(run, rule, paths):
        if isinstance(row, str):
            raise HeadstartError(
                f"predict.py refuses {path.name!r} ({row}), the classifier reads it: please report this"
            )
        rows.append(row)
    return demand(expected, np.stack(rows), decoded.names(own), "through predict.py")


def _resizing(classifier: Classifier, own: OwnPictures, spread: NDArray[np.intp]) -> dict[str, Agreement]:
    """What other ways of resizing change, on pictures that were not chosen for being hard."""
    index = spread[np.linspace(0, len(spread) - 1, min(MOST_RESIZED, len(spread))).round().astype(int)]
    right, others = [], []
    for i in index:
        try:
            right.append(classifier.load_picture(own.sources[i]).pixels)
            others.append(squares(own.sources[i], classifier.preprocessing))
        except (BadImageError, OSError, MemoryError):
            del right[len(others) :]
    if not others:
        return {}
    expected = _in_sevens(classifier, np.stack(right))
    found = [_in_sevens(classifier, np.stack(column)) for column in zip(*others, strict=True)]
    return {way: agreement(expected, rows) for way, rows in zip(WAYS, found, strict=True)}


def _int8(classifier: Classifier, own: OwnPictures, progress: Progress) -> tuple[bytes, Verdict]:
    """The int8 model and its verdict; ClassifierError when it is not worth having."""
    rng = np.random.default_rng(SEED)
    learned = rng.permutation(np.flatnonzero(own.learned if own.learned.any() else np.ones(len(own), bool)))
    used = learned[: min(CALIBRATE, len(learned) // 2)]
    pixels = decode(own, used, classifier).pixels
    rest = np.setdiff1d(np.arange(len(own)), used)
    if (own.labels >= 0).any():
        rest = rest[own.labels[rest] >= 0]
    unseen = rest[~own.learned[rest]]
    rest = unseen if len(unseen) >= ENOUGH_UNSEEN else rest  # on what it learned from, every model looks good
    if not len(pixels) or not len(rest):
        raise DataError("too few pictures to calibrate int8 and to judge it: name more with --data PICTURES")
    rest = np.sort(rng.permutation(rest)[:MOST_JUDGED])
    progress.start("quantise", None)
    model = quantise(classifier.artefact.model, pixels)
    progress.start("judge", len(rest))
    seen = int(own.learned[rest].sum())
    how = f"pictures that did not calibrate it ({seen or 'none'} of them trained the classifier)"
    if not (own.labels[rest] >= 0).all():
        how = "pictures without labels that did not calibrate it (right: the classifier's class)"
    sources = [own.sources[i] for i in rest]
    verdict = judge((classifier.artefact.model, model), classifier, sources, own.labels[rest], how)
    if not verdict.kept:
        why = "loses more than 0.5 points" if verdict.gain > 1 else "is not faster here"
        raise ClassifierError(f"int8 {why} and is not kept: {verdict.sentence()}; use --to onnx")
    return model, verdict


def _in_sevens(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The classifier's probabilities (n, K) of squares."""
    return np.concatenate([classifier.run(pixels[at : at + 7]) for at in range(0, len(pixels), 7)])
