"""Finish: temperature, one ONNX file, the proof that it answers as measured, and only then the saved folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import rules
from headstart.artefact import Artefact, write_classifier
from headstart.backbone.backbone import Backbone
from headstart.classifier.build import build_model
from headstart.classifier.verify import pick_for_verification, verify
from headstart.embedding.reference import fresh_matrix
from headstart.evaluation.calibrate import fit_temperature
from headstart.head.linear import LinearHead
from headstart.howmuch.probe import Probe
from headstart.images.load import Source
from headstart.material import Material
from headstart.predictions import softmax
from headstart.run import Run


@dataclass(frozen=True)
class Finished:
    """What was saved: the temperature, and on how many pictures the saved file was proved."""

    temperature: float
    verified: int


def finish(run: Run, material: Material, backbone: Backbone, found: Probe, decision: dict[str, Any]) -> Finished:
    """Write RUN/classifier/ from the probe's winner. An older classifier stays until the new one is proved.

    Raises:
        HeadstartError: the saved classifier does not give the measured probabilities (nothing is kept).
        MachineError: it cannot be written.
    """
    judged = found.judged
    temperature = fit_temperature(found.logits[judged], material.labels[judged]) if judged.any() else 1.0
    depths = found.chosen.depths
    model = build_model(
        backbone.graph(),
        [backbone.depths[d].name for d in depths],
        found.head,
        temperature,
        material.samples.classes,
        backbone.preprocessing,
    )
    artefact = _artefact(material, backbone, found, temperature, model, decision)
    proof = _proof(material, backbone, found, temperature)
    # The check runs on the written files, before they take the place of an older classifier.
    write_classifier(run.classifier, artefact, proof)
    return Finished(temperature, len(proof.sources))


def _artefact(
    material: Material, backbone: Backbone, found: Probe, temperature: float, model: bytes, decision: dict[str, Any]
) -> Artefact:
    head: LinearHead = found.head
    tensors: dict[str, NDArray[np.floating]] = {
        "weights": np.asarray(head.weights, np.float32),
        "bias": np.asarray(head.bias, np.float32),
        "mean": np.asarray(head.mean, np.float32),
        "scale": np.asarray(head.scale, np.float32),
    }
    return Artefact(
        classes=material.samples.classes,
        preprocessing=backbone.preprocessing.to_json(),
        backbone={"name": backbone.name, "weights_sha256": backbone.weights_hash},
        depths=tuple(backbone.depths[d].name for d in found.chosen.depths),
        temperature=float(temperature),
        head=tensors,
        model=model,
        decision=decision,
        provenance={"pictures": len(material.learn), "kind": found.chosen.kind, "penalty": found.chosen.penalty},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@dataclass(frozen=True)
class _Proof:
    """The saved classifier, from the files on, against the vectors that the accuracy was measured on.

    Cached vectors are rounded to float16; pictures where that shows are passed through the backbone once more.
    """

    sources: list[Source]
    expected: NDArray[np.floating]
    classes: tuple[str, ...]
    again: Callable[[list[Source]], NDArray[np.floating]]

    def __call__(self, folder: Path) -> None:
        verify(folder, self.sources, self.expected, self.classes, self._refine)

    def _refine(self, rows: NDArray[np.intp]) -> NDArray[np.floating]:
        return self.again([self.sources[i] for i in rows])


def _proof(material: Material, backbone: Backbone, found: Probe, temperature: float) -> _Proof:
    depths = found.chosen.depths

    def probabilities(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        return softmax(found.head.logits(vectors), temperature)

    cached = probabilities(material.embeddings.matrix(depths, material.learn))
    rows = pick_for_verification(cached, rules.verified_pictures(len(material.learn)).value)
    return _Proof(
        [material.samples.sources[material.learn[i]] for i in rows],
        cached[rows],
        material.samples.classes,
        lambda sources: probabilities(fresh_matrix(sources, backbone, depths)),
    )
