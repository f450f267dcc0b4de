"""Read a classifier folder, refusing whatever is damaged, edited, hostile or too new."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from headstart.artefact.document import CHECKSUM, class_list_hash, is_sealed, strict_json
from headstart.artefact.onnx_file import inspect_onnx
from headstart.artefact.record import FORMAT, TORCH_FORMAT, Artefact, format_of, hidden_layers
from headstart.artefact.torch_network import DTYPES, PREFIX, TorchNetwork
from headstart.errors import ClassifierError

DOCUMENT, WEIGHTS, MODEL = "classifier.json", "weights.safetensors", "model.onnx"
ENGINE = "torch"  # what a document without a model says about its engine
# Bounds before anything is read: names of 100,000 classes; what protobuf can hold, for a head with a network as well.
LIMITS = {DOCUMENT: 16 * 2**20, WEIGHTS: 2**31 - 1, MODEL: 2**31 - 1}
HEADER_LIMIT = 64 * 2**10  # of the safetensors file: four tensors need 300 bytes, eight extra layers 1,500 more
NETWORK_HEADER_LIMIT = 8 * 2**20  # with a network: some 150 bytes a tensor

KEYS = {
    "format", "headstart", "created", "classes", "classes_sha256", "preprocessing", "backbone", "depths",
    "temperature", "decision", "provenance", "files", CHECKSUM,
}  # fmt: skip


def read_classifier(folder: Path) -> Artefact:
    """The classifier in `folder`; ClassifierError (one line: which file, what is wrong, what to do) for any doubt.

    When a crash struck between the two renames of `write_classifier`, the previous classifier, which then lies
    beside `folder`, is read. While another process replaces the classifier, the old or the new one is read.
    """
    folder = Path(folder)
    while True:
        before = _identity(folder)
        try:
            return _read(folder if before else newest_set_aside(folder) or folder)
        except ClassifierError:
            if _identity(folder) == before:
                raise


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns


def _read(folder: Path) -> Artefact:
    path = folder / DOCUMENT
    if not path.exists():
        refuse(path, "is missing", "give the folder that `headstart fit` wrote")
    document = _parse_document(path, _read_bounded(path))
    listed = {name: _read_listed(folder / name, document) for name in _files_of(document)}
    return _assemble(folder, document, listed)


def unpack(files: Mapping[str, bytes], origin: str) -> Artefact:
    """The classifier whose `files` are in memory, by name: same checks, `origin` stands for the folder in messages."""
    folder = Path(origin)
    if DOCUMENT not in files:
        refuse(folder, "does not hold the files of a classifier")
    document = _parse_document(folder / DOCUMENT, files[DOCUMENT])
    if set(files) != {DOCUMENT, *_files_of(document)}:
        refuse(folder, "does not hold the files of a classifier")
    for name in _files_of(document):
        _check_content(folder / name, files[name], _listing(folder / name, document)["sha256"])
    return _assemble(folder, document, files)


def _assemble(folder: Path, document: dict[str, Any], files: Mapping[str, bytes]) -> Artefact:
    in_torch = document["format"] == TORCH_FORMAT
    if not in_torch:
        _check_model(folder / MODEL, files[MODEL], document)
    head, others = _parse_weights(folder / WEIGHTS, files[WEIGHTS], document)
    if not in_torch and format_of(head) != document["format"]:
        refuse(folder / WEIGHTS, f"is refused: its head is not of format {document['format']}")
    try:
        return Artefact(
            network=TorchNetwork.from_json(document["network"], others) if in_torch else None,
            classes=tuple(document["classes"]),
            preprocessing=document["preprocessing"],
            backbone=document["backbone"],
            depths=tuple(document["depths"]),
            temperature=document["temperature"],
            head=head,
            model=b"" if in_torch else files[MODEL],
            decision=document["decision"],
            provenance=document["provenance"],
            created=document["created"],
            headstart=document["headstart"],
        )
    except (ValueError, TypeError) as error:
        refuse(folder / DOCUMENT, f"does not hold a classifier: {error}")


def newest_set_aside(folder: Path) -> Path | None:
    """The previous classifier that an interrupted write moved out of the way of `folder`, if there is one."""
    found = folder.parent.glob(f".old-{escape(folder.name)}-*/{DOCUMENT}")
    ages = {document.parent: identity[2] for document in found if (identity := _identity(document))}
    return max(ages, key=ages.__getitem__, default=None)


def shown(path: Path) -> str:
    """`path` on one line whatever its characters are."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in str(path))


def refuse(path: Path, reason: str, remedy: str = "restore it from a copy or run `headstart fit` again") -> NoReturn:
    """Raise the one-line ClassifierError about `path`."""
    raise ClassifierError(f"{shown(path)} {' '.join(reason.split())[:300]}; {remedy}") from None


def _parse_document(path: Path, text: bytes) -> dict[str, Any]:
    try:
        document = strict_json(text)
    except ValueError as error:
        refuse(path, f"is damaged: {error}")
    version = document.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        refuse(path, "is not a headstart classifier", "give the folder that `headstart fit` wrote")
    if version > FORMAT:
        made_by = str(document.get("headstart", "?"))[:40]
        refuse(path, f"was made by a newer headstart ({made_by!r}, format {version})", "upgrade headstart to read it")
    if not is_sealed(document):
        what = "its class list was" if _classes_edited(document) else "it was"
        refuse(path, f"does not match its own checksum: {what} edited by hand or damaged")
    keys = KEYS | {"engine", "network"} if version == TORCH_FORMAT else KEYS
    if set(document) != keys:
        refuse(path, f"has unknown or missing keys: {sorted(set(document) ^ keys)[:5]}")
    if document.get("engine", ENGINE) != ENGINE:
        refuse(path, f"does not hold a classifier: its engine is not {ENGINE}")
    if not isinstance(document["classes"], list) or not isinstance(document["depths"], list):
        refuse(path, "does not hold a classifier: classes or depths is not a list")
    if _classes_edited(document):
        refuse(path, "has a class list that does not match its hash: names or their order were changed")
    return document


def _files_of(document: dict[str, Any]) -> tuple[str, ...]:
    """Names of the files that lie beside the document."""
    return (WEIGHTS,) if document["format"] == TORCH_FORMAT else (WEIGHTS, MODEL)


def _classes_edited(document: dict[str, Any]) -> bool:
    classes = document.get("classes")
    return isinstance(classes, list) and document.get("classes_sha256") != class_list_hash(classes)


def _listing(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """What the document says about the file `path`: its size in bytes and its SHA-256."""
    files, names = document["files"], _files_of(document)
    facts = files.get(path.name) if isinstance(files, dict) and set(files) == set(names) else None
    if not isinstance(facts, dict) or set(facts) != {"bytes", "sha256"} or not isinstance(facts["bytes"], int):
        refuse(path.with_name(DOCUMENT), f"does not list {' and '.join(names)} as it should")
    return facts


def _read_listed(path: Path, document: dict[str, Any]) -> bytes:
    facts = _listing(path, document)
    if not path.exists():
        refuse(path, "is missing")
    data = _read_bounded(path, expected=facts["bytes"])
    _check_content(path, data, facts["sha256"])
    return data


def _check_content(path: Path, data: bytes, sha256: object) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        refuse(path, f"is damaged: its content does not match the SHA-256 in {DOCUMENT}")


def _read_bounded(path: Path, expected: int | None = None) -> bytes:
    limit = LIMITS[path.name]
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a FIFO would block, a device might never end
            refuse(path, "is not a regular file")
        if expected is not None and facts.st_size != expected:
            refuse(path, f"is damaged: it has {facts.st_size} bytes instead of {expected}")
        if facts.st_size > limit:
            refuse(path, f"is refused: it has {facts.st_size} bytes, more than {limit}")
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        refuse(path, f"cannot be read: {error.strerror or error}", "check its permissions")


def _check_model(path: Path, model: bytes, document: dict[str, Any]) -> None:
    try:
        facts = inspect_onnx(model)
    except ValueError as error:
        refuse(path, f"is refused: {error}")
    if facts.inputs != ("images",) or facts.outputs != ("probabilities",):
        refuse(path, "is refused: its inputs and outputs are not those of a headstart classifier")
    _check_made_for(path, facts.metadata, document)


def _check_made_for(path: Path, metadata: Mapping[str, str], document: dict[str, Any]) -> None:
    """Whether the file was made for the classes and the preprocessing of the document."""
    if metadata.get("classes_sha256") != class_list_hash(document["classes"]):
        refuse(path, f"was built for another class list than that of {DOCUMENT}")
    try:
        preprocessing = strict_json(metadata.get("preprocessing", "").encode())
    except ValueError:
        preprocessing = {}
    if preprocessing != document["preprocessing"]:
        refuse(path, f"was built for another preprocessing than that of {DOCUMENT}")


Tensors = dict[str, NDArray[Any]]


def _parse_weights(path: Path, data: bytes, document: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """The tensors of the head, and of the network where it runs in torch. The safetensors package sees them last."""
    in_torch = document["format"] == TORCH_FORMAT
    header = _parse_header(path, data, NETWORK_HEADER_LIMIT if in_torch else HEADER_LIMIT)
    metadata = header.pop("__metadata__", None)
    of_network = {name for name in header if in_torch and name.startswith(PREFIX)}
    try:
        hidden_layers(header.keys() - of_network)
    except ValueError as error:
        refuse(path, f"is refused: {error}")
    kinds = {name: entry.get("dtype") if isinstance(entry, dict) else None for name, entry in header.items()}
    if not all(kind in (DTYPES if name in of_network else ("F32", "F64")) for name, kind in kinds.items()):
        refuse(path, "is refused: a tensor is neither float32 nor float64")
    if in_torch:
        made_for = metadata if isinstance(metadata, dict) else {}
        _check_made_for(path, {key: str(value) for key, value in made_for.items()}, document)
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError, OverflowError, json.JSONDecodeError) as error:
        refuse(path, f"is refused: {str(error)[:200]}")
    network = {name.removeprefix(PREFIX): tensors[name] for name in of_network}
    return {name: tensor for name, tensor in tensors.items() if name not in of_network}, network


def _parse_header(path: Path, data: bytes, limit: int) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or length > min(limit, len(data) - 8) or data[8:9] != b"{":
        refuse(path, "is refused: it is not a safetensors file")
    try:
        return strict_json(data[8 : 8 + length])
    except ValueError as error:
        refuse(path, f"is refused: in its header, {error}")
