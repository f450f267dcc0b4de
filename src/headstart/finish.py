"""Finish: temperature, one ONNX file, the proof that it answers as measured, and only then the saved folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import rules
from headstart.answer import Answer, answer_of_probe
from headstart.artefact import Artefact, TorchNetwork, write_classifier
from headstart.backbone.torch_only import why_in_torch
from headstart.classifier.build import build_model
from headstart.classifier.verify import margins_of, pick_for_verification, verify
from headstart.clock import Clock
from headstart.errors import HeadstartError, MachineError
from headstart.evaluation.calibrate import fit_temperature
from headstart.head.layered import tensors_of
from headstart.howmuch.decide import decide
from headstart.images.load import Source
from headstart.material import Material
from headstart.predictions import blocks, softmax, taken
from headstart.progress import Progress
from headstart.racing import Raced
from headstart.run import Run
from headstart.training import Ground, Seen, short_of_memory

SLOW = 100.0  # pictures a second, where every vector came from the cache and nothing was measured


@dataclass(frozen=True)
class Finished:
    """What was saved: the temperature, and on how many pictures the saved file was proved."""

    temperature: float
    verified: int


@dataclass(frozen=True)
class Saved:
    """The answer that the run's classifier was made from, what `finish` found, and the decision written with it."""

    answer: Answer
    finished: Finished
    decision: dict[str, Any]


def finish(run: Run, material: Material, answer: Answer, decision: dict[str, Any]) -> Finished:
    """Write RUN/classifier/ from `answer`. An older classifier stays until the new one is proved.

    Raises:
        HeadstartError: the saved classifier does not give the measured probabilities (nothing is kept).
        MachineError: it cannot be written.
    """
    judged = answer.judged
    temperature = fit_temperature(taken(answer.logits, judged), material.labels[judged]) if judged.any() else 1.0
    artefact = _artefact(material, answer, temperature, _network(material, answer, temperature), decision)
    proof = _proof(material, answer, temperature)
    # The check runs on the written files, before they take the place of an older classifier.
    write_classifier(run.classifier, artefact, proof)
    return Finished(temperature, len(proof.sources))


def _network(material: Material, answer: Answer, temperature: float) -> bytes | TorchNetwork:
    """The whole classifier as one ONNX file; of a network that cannot be exported what torch needs to run it."""
    backbone = answer.backbone
    try:
        graph = answer.graph()
    except MachineError:
        if (why := why_in_torch(backbone)) is None:
            raise
        from headstart.backbone.torch_network import kept_network

        return kept_network(backbone, answer.names, why)
    classes = material.samples.classes
    return build_model(graph, answer.names, answer.head, temperature, classes, backbone.preprocessing)


def _artefact(
    material: Material,
    answer: Answer,
    temperature: float,
    network: bytes | TorchNetwork,
    decision: dict[str, Any],
) -> Artefact:
    backbone = answer.backbone
    return Artefact(
        classes=material.samples.classes,
        preprocessing=backbone.preprocessing.to_json(),
        backbone={
            "name": backbone.name,
            "weights_sha256": backbone.weights_hash,
            "family": backbone.source.family,
            "architecture": backbone.source.architecture,
        },
        depths=answer.names,
        temperature=float(temperature),
        head={name: np.asarray(tensor, np.float32) for name, tensor in tensors_of(answer.head).items()},
        model=network if isinstance(network, bytes) else b"",
        network=None if isinstance(network, bytes) else network,
        decision=decision,
        provenance={"pictures": len(material.learn), **answer.provenance},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@dataclass(frozen=True)
class _Proof:
    """The saved classifier, from the files on, against the numbers that the accuracy was measured on.

    Cached numbers are rounded to float16; pictures where that shows are passed through the network once more.
    """

    sources: list[Source]
    expected: NDArray[np.floating]
    classes: tuple[str, ...]
    again: Callable[[list[Source]], NDArray[np.floating]]

    def __call__(self, folder: Path) -> None:
        verify(folder, self.sources, self.expected, self.classes, self._refine)

    def _refine(self, rows: NDArray[np.intp]) -> NDArray[np.floating]:
        return self.again([self.sources[i] for i in rows])


def _proof(material: Material, answer: Answer, temperature: float) -> _Proof:
    """On the pictures with the smallest margins: of the answer itself where that is cheap, else of the folds."""
    everything = np.arange(len(material.learn))
    most = rules.verified_pictures(len(everything)).value
    gaps = []
    for some in blocks(*answer.logits.shape):
        logits = answer.expected(everything[some]) if answer.frozen else answer.logits[some]
        gaps.append(margins_of(softmax(logits, temperature)))
    rows = pick_for_verification(np.concatenate(gaps), most)
    expected = softmax(answer.expected(rows), temperature)
    return _Proof(
        [material.samples.sources[material.learn[i]] for i in rows],
        expected,
        material.samples.classes,
        lambda sources: softmax(answer.again(sources), temperature),
    )


def save_head(run: Run, seen: Seen, clock: Clock, progress: Progress) -> Saved:
    """The probe's winner as a classifier."""
    ground = seen.ground
    progress.start("finish")
    decision = decide(ground.found, ground.backbone.name)
    return save(run, ground, answer_of_probe(ground.found, ground.material, ground.backbone), decision, clock)


def finish_takes(ground: Ground, clock: Clock) -> float:
    """Seconds to keep for saving another answer: as long as the first took, and the test pictures through it."""
    engine = ground.material.embeddings.facts.engine
    rate = engine.images_per_second if engine and engine.images_per_second else SLOW
    return 1.5 * clock.seconds()["finish"] + 1.0 + len(ground.material.test) / (0.7 * rate)


def save_raced(run: Run, seen: Seen, saved: Saved, raced: Raced, clock: Clock) -> tuple[Saved, Raced]:
    """What a race decided as the run's classifier; `saved` stays where the better one cannot be had or proved.

    The second Ctrl-C is raised.
    """
    if raced.verdict is None:
        return saved, raced
    ground = seen.ground
    decision = decide(ground.found, ground.backbone.name, raced.verdict)
    if raced.answer is None:
        return replace(saved, decision=decision), raced
    try:
        return save(run, ground, raced.answer, decision, clock), raced
    except KeyboardInterrupt:
        if raced.interrupted:
            raise
        return saved, replace(raced, ended="interrupted", verdict=None, answer=None, interrupted=True)
    except (MemoryError, RuntimeError) as error:
        if not short_of_memory(error):
            raise
        return saved, replace(raced, ended="out of memory while saving", verdict=None, answer=None)
    except HeadstartError as error:
        if isinstance(error, MachineError):
            raise
        return saved, replace(raced, ended=f"the trained network was not accepted: {error}", verdict=None, answer=None)


def save(run: Run, ground: Ground, answer: Answer, decision: dict[str, Any], clock: Clock) -> Saved:
    """An answer as the run's classifier; the one before it stays until this one is proved."""
    decision = {**decision, "depths": list(answer.names)}  # what was trained need not read what the frozen head read
    with clock("finish"):
        finished = finish(run, ground.material, answer, decision)
    run.log("saved", train=answer.train, backbone=ground.backbone.name, verified=finished.verified)
    return Saved(answer, finished, decision)
