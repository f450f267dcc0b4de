"""Classifier folders without a graph: hostile, damaged and edited ones, with every checksum made right again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from safetensors.numpy import load, save

from headstart.artefact import (
    DOCUMENT,
    MODEL,
    WEIGHTS,
    Artefact,
    TorchNetwork,
    class_list_hash,
    pack,
    read_classifier,
    unpack,
    write_classifier,
)
from headstart.artefact.document import seal
from headstart.backbone.build import shape_of
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError, HeadstartError
from headstart.images.preprocess import Preprocessing
from tiny import CLASSES, tiny_artefact

Document = dict[str, Any]


@pytest.fixture(scope="module")
def artefact(cache: Path) -> Artefact:
    """A classifier that reads the last depth of a small network in torch."""
    shape = shape_of("timm", "test_resnet", cache)
    body = timm.create_model("test_resnet", pretrained=False).state_dict()
    tensors = {name: t.numpy() for name, t in body.items() if not name.startswith("fc.")}
    shape = dataclasses.replace(shape, classes=0)
    plain = json.loads(json.dumps(shape.to_json()))
    network = TorchNetwork("timm", "test_resnet", plain, "no exporter knows it", {"timm": "1"}, tensors)
    d = dict(shape.depths)["last"]
    rng = np.random.default_rng(0)
    head = {"weights": rng.normal(size=(3, d)), "bias": np.zeros(3), "mean": np.zeros(d), "scale": np.ones(d)}
    return dataclasses.replace(
        tiny_artefact(),
        preprocessing=Preprocessing(side=shape.side).to_json(),
        depths=("last",),
        head=head,
        model=b"",
        network=network,
    )


@pytest.fixture
def folder(tmp_path: Path, artefact: Artefact) -> Path:
    write_classifier(tmp_path / "classifier", artefact)
    return tmp_path / "classifier"


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(ClassifierError) as caught:
        Classifier.load(folder).predict(np.zeros((40, 40, 3), np.uint8))
    message = str(caught.value)
    assert caught.value.exit_code == 4 and "\n" not in message and len(message) < 800
    assert all(word in message for word in words), message


def plant(folder: Path, edit: Callable[[Document], object] = lambda _: None, weights: bytes | None = None) -> None:
    """What someone with bad intentions would do."""
    content = json.loads((folder / DOCUMENT).read_bytes())
    edit(content)
    if weights is not None:
        (folder / WEIGHTS).write_bytes(weights)
        content["files"][WEIGHTS] = {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    (folder / DOCUMENT).write_bytes(seal(content))


def resaved(folder: Path, edit: Callable[[dict[str, np.ndarray]], object], **metadata: str) -> bytes:
    """The weights with other tensors, or said to be for something else."""
    content = json.loads((folder / DOCUMENT).read_bytes())
    tensors = load((folder / WEIGHTS).read_bytes())
    edit(tensors)
    made_for = {
        "classes_sha256": content["classes_sha256"],
        "preprocessing": json.dumps(content["preprocessing"], sort_keys=True),
    }
    return bytes(save(tensors, metadata=made_for | metadata))


def test_it_is_written_read_and_travels_in_memory(folder: Path, artefact: Artefact) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [DOCUMENT, WEIGHTS]
    found = read_classifier(folder)
    assert found.network is not None and artefact.network is not None
    assert found.network.to_json() == artefact.network.to_json()
    for name, tensor in artefact.network.tensors.items():
        assert np.array_equal(found.network.tensors[name], tensor), name
    pixels = np.random.default_rng(1).integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)
    answers = [Classifier(a).run(pixels) for a in (artefact, found, unpack(pack(artefact), "memory"))]
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[0], answers[2])
    assert list(found.parts()) == list(artefact.parts())
    with pytest.raises(ClassifierError):
        unpack({**pack(artefact), MODEL: b"x"}, "memory")


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["network"].update(architecture="hf-hub:somebody/network"),
        lambda c: c["network"].update(architecture="local-dir:/etc"),
        lambda c: c["network"].update(architecture="../network"),
        lambda c: c["network"].update(architecture=5),
        lambda c: c["network"].update(family="os"),
        lambda c: c["network"].update(shape=[]),
        lambda c: c["network"].update(why=None),
        lambda c: c["network"].update(more=1),
        lambda c: c["network"].pop("why"),
        lambda c: c["network"]["shape"].update(depths=[["block0", 3]]),
        lambda c: c["network"]["shape"].update(depths="last"),
        lambda c: c.update(network=None),
        lambda c: c.update(engine="onnx"),
        lambda c: c.pop("engine"),
        lambda c: c.update(format=2),
        lambda c: c["files"].update({MODEL: {"bytes": 1, "sha256": "0"}}),
        lambda c: c.update(depths=["block0"]),
        lambda c: c["network"]["shape"].update(side=64),
        lambda c: c["network"]["shape"].pop("mean"),
        lambda c: c["network"]["shape"]["plan"].update(groups=[["no.such.module"]] * 4),
        lambda c: c["network"].update(architecture="test_vit"),
    ],
)
def test_an_edited_document_is_refused(folder: Path, edit: Callable[[Document], object]) -> None:
    plant(folder, edit)
    refused(folder)


def test_other_classes_and_another_preprocessing_do_not_fit_the_weights(folder: Path) -> None:
    def reverse(content: Document) -> None:
        content["classes"].reverse()
        content["classes_sha256"] = class_list_hash(content["classes"])

    plant(folder, reverse)
    refused(folder, WEIGHTS, "another class list")
    plant(folder, reverse)
    plant(folder, lambda c: c["preprocessing"].update(fit="crop"))
    refused(folder, WEIGHTS, "another preprocessing")


def test_weights_that_say_nothing_are_refused(folder: Path) -> None:
    plant(folder, weights=save(load((folder / WEIGHTS).read_bytes())))
    refused(folder, WEIGHTS, "another class list")


def first_of_network(tensors: dict[str, np.ndarray]) -> str:
    return next(name for name in sorted(tensors) if name.startswith("network.") and tensors[name].ndim == 4)


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.pop(first_of_network(t)),
        lambda t: t.update({first_of_network(t): np.zeros((1, 2, 3, 4), np.float32)}),
        lambda t: t.update({first_of_network(t): np.full_like(t[first_of_network(t)], np.nan)}),
        lambda t: t.update({"network.more": np.zeros(3, np.float32)}),
        lambda t: t.update({"more": np.zeros(3, np.float32)}),
        lambda t: [t.pop(name) for name in list(t) if name.startswith("network.")],
        lambda t: t.update(weights=t["weights"].astype(np.float16)),
        lambda t: t.pop("bias"),
    ],
)
def test_tensors_that_cannot_be_right_are_refused(folder: Path, edit: Callable[[Any], object]) -> None:
    plant(folder, weights=resaved(folder, edit))
    refused(folder)


@pytest.mark.parametrize("at", [0, 7, 8, 200, -1])
def test_any_flipped_bit_is_refused(folder: Path, at: int) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[at] ^= 4
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, WEIGHTS, "damaged")


def test_a_header_beyond_its_bound_is_refused(folder: Path) -> None:
    plant(folder, weights=(9 << 20).to_bytes(8, "little") + b"{" + b" " * (9 << 20))
    refused(folder, WEIGHTS, "not a safetensors file")


def test_either_a_model_or_a_network(artefact: Artefact) -> None:
    for change in ({"network": None}, {"model": b"onnx"}):
        with pytest.raises(ValueError, match="either a model or a network"):
            dataclasses.replace(artefact, **change)


def test_a_network_that_timm_does_not_know_is_exit_5(folder: Path) -> None:
    plant(folder, lambda c: c["network"].update(architecture="no_such_network"))
    with pytest.raises(HeadstartError, match=r"cannot make no_such_network.*was made with timm 1") as caught:
        Classifier.load(folder).predict(np.zeros((40, 40, 3), np.uint8))
    assert caught.value.exit_code == 5 and len(CLASSES) == 3
