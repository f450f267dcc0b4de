"""Explaining: RUN/explain/, the pictures a report shows, where the classifier looked in them, and what is most alike.

Labels, predictions and probabilities are those of predictions.csv: out of fold. Heat maps are of the saved classifier,
which has learned from these pictures since, and ask it for the class that was predicted out of fold. The nearest
pictures are training pictures, in the space that the saved head reads.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.artefact import read_classifier
from headstart.classifier.explain import explainer
from headstart.classifier.gather import Gathered
from headstart.classifier.nearest import MOST, Index, build_index, nearest, pack_index
from headstart.clock import Clock
from headstart.finish import Saved
from headstart.images.thumbnail import seen_part
from headstart.predictions import probability_of, softmax, taken
from headstart.run import Run, write_file
from headstart.training import Ground

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

FOLDER, DOCUMENT = "explain", "explain.json"
SCHEMA = 1
PICTURES = 150  # that are shown
LISTED = 24  # pictures in a list, cells of the confusion matrix
IN_CELL = 6  # pictures of a cell
NEIGHBOURS = 3
LEAST_SECONDS = 3.0  # that it may take, however little of a budget is left
GLANCE_SECONDS = 1.5  # that small copies of the nearest pictures may take when that is used up
LOOKED_AT = 2000  # training pictures that a fine-tuned network is shown once more, for the index
FEW = 50  # fewer than these are not worth the pass


@dataclass(frozen=True)
class Picked:
    """Which pictures are shown: `rows` of the probabilities in their order; `lists` of positions in that."""

    rows: list[int]
    lists: dict[str, Any]


def explained(
    run: Run, ground: Ground, saved: Saved, clock: Clock, seconds_left: float, interrupted: bool = False
) -> tuple[dict[str, Any] | None, bool]:
    """`explain`, for a run that must end well: the `explain` key of result.json, and whether Ctrl-C was pressed.

    None after Ctrl-C. What goes wrong costs the explanation only; a folder about an earlier classifier does not stay.
    """
    if not interrupted:
        try:
            return explain(run, ground, saved, clock, seconds_left), False
        except KeyboardInterrupt:
            interrupted = True
        except Exception as error:  # there is a classifier: nothing that only shows it may take it away
            run.forget(FOLDER)
            why = " ".join(str(error).split())[:300] or type(error).__name__
            return {"pictures": 0, "heat": False, "why": why, "seconds": clock.seconds()["explain"]}, False
    run.forget(FOLDER)
    return None, interrupted


def explain(run: Run, ground: Ground, saved: Saved, clock: Clock, seconds_left: float = 30.0) -> dict[str, Any]:
    """Write RUN/explain/, whole or not at all. The result is the `explain` key of result.json.

    `seconds_left` bounds it (3 are always taken, 1.5 more for the nearest pictures): what was not looked at by then
    has no thumbnail and no heat map.
    Raises the children of HeadstartError, and OSError.
    """
    began = time.monotonic()
    with clock("explain"):
        document = _explained(run, ground, saved, began + max(seconds_left, LEAST_SECONDS))
    there = document["heat"]
    seconds = time.monotonic() - began
    return {"pictures": len(document["pictures"]), "heat": there["there"], "why": there["why"], "seconds": seconds}


def _explained(run: Run, ground: Ground, saved: Saved, until: float) -> dict[str, Any]:
    """The content of explain.json, which is written; the networks that looked are gone at the end."""
    seen = Gathered(ground.sources, explainer(read_classifier(run.classifier)), until)
    document, files = _everything(ground, saved, seen)
    _write(run, {**files, DOCUMENT: _json(document)})
    return document


def pick(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> Picked:
    """The pictures worth showing, from logits `(n, K)` out of fold, their temperature, and labels `(n,)`."""
    from headstart.evaluation.suspects import suspected

    chosen = logits.argmax(axis=1)
    sure = probability_of(logits, chosen, temperature)
    wrong = np.flatnonzero(chosen != labels)
    mistakes = wrong[np.argsort(-sure[wrong], kind="stable")]
    doubtful = suspected(logits, labels, temperature)
    places: dict[int, int] = {}
    lists: dict[str, Any] = {
        name: [places.setdefault(int(row), len(places)) for row in order[:LISTED]]
        for name, order in (("mistakes", mistakes), ("unsure", np.argsort(sure, kind="stable")), ("suspects", doubtful))
    }
    lists["cells"] = _cells(mistakes, labels, chosen, places)
    return Picked(list(places), lists)


def _cells(mistakes: IntArray, labels: IntArray, chosen: IntArray, places: dict[int, int]) -> list[dict[str, Any]]:
    """The fullest cells of the confusion matrix off its diagonal; their pictures are added to `places`."""
    pairs = np.stack([labels[mistakes], chosen[mistakes]], axis=1)
    cells, of_cell, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    fullest = np.argsort(-counts, kind="stable")[:LISTED]
    found: dict[int, list[int]] = {int(cell): [] for cell in fullest}
    for turn in range(IN_CELL):  # every cell gets its first picture before any gets its second
        for cell, pictures in found.items():
            rows = mistakes[of_cell.reshape(-1) == cell]
            if turn < len(rows) and (int(rows[turn]) in places or len(places) < PICTURES):
                pictures.append(places.setdefault(int(rows[turn]), len(places)))
    return [
        {"label": int(cells[c, 0]), "predicted": int(cells[c, 1]), "n": int(counts[c]), "pictures": pictures}
        for c, pictures in found.items()
    ]


def _everything(ground: Ground, saved: Saved, seen: Gathered) -> tuple[dict[str, Any], dict[str, bytes]]:
    """explain.json, and the other files of the folder."""
    material, answer = ground.material, saved.answer
    classes, judged = material.samples.classes, np.flatnonzero(answer.judged)
    logits, temperature = taken(answer.logits, answer.judged), saved.finished.temperature
    picked = pick(logits, material.labels[judged], temperature) if len(judged) else Picked([], {})
    probabilities = softmax(logits[picked.rows], temperature)
    rows, predicted = judged[picked.rows].tolist(), probabilities.argmax(axis=1).tolist()
    seen.show(rows, predicted)
    index, found, cosines = _neighbours(ground, saved, seen, rows)
    near = list(dict.fromkeys(int(row) for row in found.flat if row >= 0))
    seen.deadline = max(seen.deadline, time.monotonic() + GLANCE_SECONDS)
    seen.glance(near)
    where = {row: at for at, row in enumerate(near)}
    pictures = []
    for at, (row, best) in enumerate(zip(rows, predicted, strict=True)):
        own = probabilities[at]
        shape = material.embeddings.sizes[material.learn[row]].tolist()
        pictures.append(
            {
                **_shown(ground, seen, row, f"p{at:03}.jpg"),
                "predicted": classes[best],
                "probability": round(float(own[best]), 6),
                "probability_of_label": round(float(own[material.labels[row]]), 6),
                "box": [round(edge, 5) for edge in seen_part((shape[0], shape[1]), seen.explainer.preprocessing)],
                "heat": _heat(seen.heat.get(row)),
                "nearest": [
                    {"picture": where[int(other)], "similarity": round(float(cosine), 4)}
                    for other, cosine in zip(found[at], cosines[at], strict=True)
                    if other >= 0
                ],
            }
        )
    for cell in picked.lists.get("cells", ()):
        cell.update(label=classes[cell["label"]], predicted=classes[cell["predicted"]])
    neighbours = [_shown(ground, seen, row, f"n{at:03}.jpg") for at, row in enumerate(near)]
    document = {
        "schema": SCHEMA,
        "heat": _heat_facts(seen, rows),
        "box": [0, 0, 1, 1],
        "pictures": pictures,
        "neighbours": neighbours,
        "lists": picked.lists,
    }
    shown = zip([*pictures, *neighbours], [*rows, *near], strict=True)
    thumbs = {entry["thumb"]: seen.thumbs[row].jpeg for entry, row in shown if entry["thumb"]}
    return document, {**thumbs, **pack_index(index)}


def _neighbours(
    ground: Ground, saved: Saved, seen: Gathered, rows: Sequence[int]
) -> tuple[Index, NDArray[np.int64], NDArray[np.float32]]:
    """The index; for each of `rows` the nearest other pictures (rows again, -1 for none) and their cosines."""
    samples, labels, head = ground.material.samples, ground.material.labels, saved.answer.head
    vectors, usable = _vectors(ground, saved, seen)
    order = np.random.default_rng(ground.seed).permutation(len(usable))
    indexed = usable[np.sort(order[:MOST])]
    learned = ground.material.names
    names = [learned[row] for row in indexed], [samples.classes[labels[row]] for row in indexed]
    index = build_index(vectors(indexed), (head.mean, head.scale), names, ground.seed)
    found, cosines = np.full((len(rows), NEIGHBOURS), -1, np.int64), np.zeros((len(rows), NEIGHBOURS), np.float32)
    known = np.flatnonzero(np.isin(rows, usable))
    if len(known):
        asked = np.array(rows, np.int64)[known]
        position = np.full(len(labels), -1, np.int64)
        position[indexed] = np.arange(len(indexed))
        at, likeness = nearest(index, index.place(vectors(asked)), NEIGHBOURS, position[asked])
        found[known, : at.shape[1]] = np.where(at >= 0, indexed[at], -1)
        cosines[known, : at.shape[1]] = likeness
    root = None if samples.root is None else str(Path(samples.root).absolute())
    return replace(index, root=root), found, cosines


def _vectors(
    ground: Ground, saved: Saved, seen: Gathered
) -> tuple[Callable[[IntArray], FloatArray], NDArray[np.int64]]:
    """What gives the features `(m, d)` of pictures to learn from, as the saved head reads them, and of which."""
    material, answer = ground.material, saved.answer
    if answer.frozen:  # they are in the cache
        everything = np.arange(len(material.learn), dtype=np.int64)
        return lambda rows: material.embeddings.matrix(answer.depths, material.learn[rows]), everything
    order = np.random.default_rng(ground.seed).permutation(len(material.learn)).tolist()
    seen.measure(_affordable(order, seen))
    d = len(answer.head.mean)

    def vectors(rows: IntArray) -> FloatArray:
        return np.array([seen.features[int(row)] for row in rows], np.float32).reshape(-1, d)

    return vectors, np.array(sorted(seen.features), np.int64)


def _affordable(order: Sequence[int], seen: Gathered) -> list[int]:
    """As many of `order` as a fine-tuned network can be shown once more in half of the time that is left."""
    wanted = [row for row in order if row not in seen.features][:LOOKED_AT]
    count = int(min(len(wanted), 0.5 * max(seen.left, 0.0) * (seen.rate or 30.0)))
    return wanted[:count] if count >= min(FEW, len(wanted)) else []


def _shown(ground: Ground, seen: Gathered, row: int, name: str) -> dict[str, Any]:
    material, thumb = ground.material, seen.thumbs.get(row)
    return {
        "id": material.samples.names[material.learn[row]],
        "label": material.samples.classes[material.labels[row]],
        "thumb": name if thumb else None,
        "width": thumb.width if thumb else None,
        "height": thumb.height if thumb else None,
    }


def _heat(heat: NDArray[np.float32] | None) -> dict[str, Any] | None:
    if heat is None:
        return None
    values = np.rint(255 * heat).astype(int).ravel().tolist()
    return {"rows": heat.shape[0], "columns": heat.shape[1], "values": values}


def _heat_facts(seen: Gathered, rows: Sequence[int]) -> dict[str, Any]:
    if not rows:
        return {"there": False, "why": "no picture could be held out, so none is shown"}
    if not seen.features:
        return {"there": False, "why": "none of the pictures shown could be read again in time"}
    return {"there": seen.explainer.has_heat, "why": seen.explainer.why}


def _json(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _write(run: Run, files: dict[str, bytes]) -> None:
    """Write `files` as RUN/explain/: under a temporary name, then swapped in. What was there is replaced or stays."""
    for leftover in run.folder.glob(f".{FOLDER}-*"):  # of a killed process
        run.forget(leftover.name)
    fresh, aside = (run.folder / f".{FOLDER}-{kind}-{os.getpid()}" for kind in ("new", "old"))
    place = run.folder / FOLDER
    try:
        fresh.mkdir()
        for name, content in files.items():
            if name.endswith(".jpg"):
                (fresh / name).write_bytes(content)  # hundreds, each told by the document: no fsync
            else:
                write_file(fresh / name, content)
        if place.exists():
            place.rename(aside)
        fresh.rename(place)
    finally:
        if aside.exists() and not place.exists():
            with suppress(OSError):
                aside.rename(place)
        run.forget(fresh.name)
        run.forget(aside.name)
