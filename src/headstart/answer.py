"""Answer: what will be saved and what is known about it. Answer A is a new head; the race may find a better one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.embedding.reference import fresh_matrix
from headstart.head.layered import Head
from headstart.howmuch.probe import Probe
from headstart.images.load import Source
from headstart.material import Material

FloatArray = NDArray[np.floating]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """A head on `depths` (positions) of the network in `graph()`, and the evidence for it.

    `logits` `(n, K)` out of fold, zero where `judged` `(n,)` is False; `top1`, `low`, `high` corrected for having
    chosen. `frozen`: the network is the pretrained one, so cached embeddings are what it sees. `expected(rows)` and
    `again(sources)` give logits of the saved classifier without using the saved file: from caches, and from the
    pictures. `provenance`: facts that go into the classifier.
    """

    train: str
    backbone: Backbone
    depths: tuple[int, ...]
    head: Head
    graph: Callable[[], Path | bytes]
    logits: FloatArray
    judged: NDArray[np.bool_]
    top1: float
    low: float
    high: float
    frozen: bool
    expected: Callable[[Indices], FloatArray]
    again: Callable[[Sequence[Source]], FloatArray]
    provenance: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the depths."""
        return tuple(self.backbone.depths[d].name for d in self.depths)


def answer_of_probe(found: Probe, material: Material, backbone: Backbone) -> Answer:
    """Answer A: the probe's winner on the frozen network."""
    depths, head = found.chosen.depths, found.head
    return Answer(
        train="head",
        backbone=backbone,
        depths=depths,
        head=head,
        graph=backbone.graph,
        logits=found.logits,
        judged=found.judged,
        top1=found.corrected_top1,
        low=found.corrected_low,
        high=found.corrected_high,
        frozen=True,
        expected=lambda rows: head.logits(material.embeddings.matrix(depths, material.learn[rows])),
        again=lambda sources: head.logits(fresh_matrix(sources, backbone, depths)),
        provenance={"kind": found.chosen.kind, "penalty": found.chosen.known_penalty},
    )
