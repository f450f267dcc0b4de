"""Run folders made by hand: what a fit writes, without a fit."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.run import Run

HOSTILE = (
    "<script>alert(1)</script>",
    "\u05e2\u05e8\u05da \u05d9\u05de\u05d9\u05df",  # right to left
    "n" * 200,
    "two\nlines",
    "\u202eturned & \"quoted' {{ 7 * 7 }}",
)
DEPTHS = ("block0", "block1", "last")


def result(classes: Sequence[str] = ("cat", "dog", "elk"), per_class: int = 20, **changed: Any) -> dict[str, Any]:
    """A result.json of a race that a new head won."""
    k = len(classes)
    n = k * per_class
    every = {"seconds": 0.5, "predicted_seconds": None, "status": "run", "why": "", "curve": [], "learning_rate": None}
    more = {**every, "learning_rate": 0.003, "n": n, "refit_seconds": 14.0, "seconds": 40.0, "depths": list(DEPTHS)}
    curve = [{"seconds": 3.0 * e, "top1": 0.7 + 0.02 * e} for e in range(1, 7)]
    raced = [
        {**more, "train": "last-1", "top1": 0.86, "low": 0.8, "high": 0.91, "curve": curve,
         "head_top1": 0.85, "gain": 0.01, "gain_low": -0.02, "gain_high": 0.04},
        {**more, "train": "all", "top1": None, "low": None, "high": None, "n": 0, "seconds": 0.0, "status": "not tried",
         "why": "one fold would take 3 min: more than was left"},
        {**more, "train": "scratch", "top1": 0.4, "low": 0.3, "high": 0.5,
         "curve": [{"seconds": 50.0 * e, "top1": 0.1 * e} for e in range(1, 5)]},
    ]  # fmt: skip
    heads = [
        {**every, "train": "head", "depths": list(DEPTHS), "top1": 0.85, "low": 0.8, "high": 0.9},
        {**every, "train": "head", "depths": ["last"], "top1": 0.82, "low": 0.77, "high": 0.87},
    ]
    made: dict[str, Any] = {
        "schema": 1,
        "headstart": "0.1.0",
        "data": {
            "n": n, "classes": k, "class_names": list(classes), "per_class": [per_class] * k,
            "per_class_median": per_class,
            "skipped": 1, "duplicates": 2, "conflicts": 0, "groups": None, "ignored": {".txt file": 1}, "notes": [],
        },
        "accuracy": {
            "top1": 0.84, "low": 0.79, "high": 0.89, "uncorrected_top1": 0.85, "balanced": 0.83, "nll": 0.4,
            "ece": 0.03, "baseline": round(1 / k, 3), "how": f"out of fold on {n} pictures",
            "series_top1": None, "series_how": None,
            "shuffled_top1": None, "per_class": [{"class": c, "recall": 0.85, "n": per_class} for c in classes],
        },
        "test": {
            "n": 40, "top1": 0.9, "low": 0.8, "high": 0.95, "balanced": 0.9, "nll": 0.3, "ece": 0.05, "baseline": 0.4,
            "left_out": 1, "per_class": [{"class": c, "recall": 0.9, "n": 4} for c in classes],
        },
        "decision": {
            "train": "head", "depths": list(DEPTHS), "backbone": "efficientnet_lite0", "extra_layers": [],
            "learning_rate": None,
            "why": "Train only a new head: 84.0 % (79.0-89.0). The last stage: 86.0 %, not better.",
            "p_better": 0.6,
        },
        "candidates": [*heads, *raced],
        "race": {"ended": "what is left of the budget fits nothing more", "plan": {"why": "few and near", "arms": []},
                 "prediction_error": 0.1, "notes": ["pictures mirrored left to right keep their labels: used"]},
        "backbones": [
            {"name": "lite1", "status": "run", "why": "the faster one stays", "n": n, "top1": 0.86, "first_top1": 0.85,
             "p_better": 0.6, "seconds": 3.0},
            {"name": "lite2", "status": "not tried", "why": "preparing it takes 3 s", "n": 0, "top1": None,
             "first_top1": None, "p_better": None, "seconds": None},
        ],
        "similarity": {"place": "near", "bn_shift": 0.05, "bn_shift_early": 0.06, "bn_shift_late": 0.04,
                       "source_confidence": 0.45, "depth_gain": 0.03,
                       "why": "Your pictures are like the network's own.",
                       "position": 0.3, "position_shift": 0.1, "position_confidence": 0.5},
        "size": {"place": "small", "images_per_class": float(per_class)},
        "depths": [{"name": d, "dim": 16, "top1": t, "low": t - 0.05, "high": t + 0.05}
                   for d, t in zip(DEPTHS, (0.6, 0.75, 0.82), strict=True)],
        "learning_curve": [{"n": n // 4 * q, "top1": t} for q, t in ((1, 0.6), (2, 0.74), (3, 0.8), (4, 0.84))],
        "findings": [
            {"code": "imbalance", "severity": "tip", "title": "classes differ in size", "detail": "More pictures help.",
             "items": [classes[0]]},
            {"code": "label_errors", "severity": "issue", "title": "2 labels are probably wrong",
             "detail": "Look at them.", "advice": "Correct the label.",
             "items": [f"{picture_name(classes[0], 0)}: {classes[0]} -> {classes[-1]}", "gone.jpg: a -> b"]},
        ],
        "settings": [{"name": "folds", "value": 5, "why": "the usual five", "by": "rule"},
                     {"name": "extra_layers", "value": [256, 64], "why": "asked for", "by": "user"}],
        "verified": n,
        "interrupted": False,
        "seconds": {"total": 42.0, "scan": 0.1, "embed": 5.0, "probe": 2.0, "finish": 1.0, "race": 30.0, "judge": 0.2},
        "engine": {"device": "cpu", "name": "openvino", "precision": "fp32", "images_per_second": 300.0, "note": None},
        "embedding": {},
        "config": {"out": "runs/x", "train": "auto", "seed": 7},
        "call": {"data": "pets", "command": "headstart fit pets --out runs/x --seed 7"},
        "environment": {"python": "3.11", "platform": "Linux", "cores": 2, "packages": {"numpy": "2.4"}},
    }  # fmt: skip
    return {**made, **changed}


def old(made: dict[str, Any]) -> dict[str, Any]:
    """`made` as an early version wrote it."""
    aged = copy.deepcopy(made)
    for key in ("race", "backbones", "call"):
        del aged[key]
    keys = ("bn_shift", "bn_shift_early", "bn_shift_late", "source_confidence", "depth_gain")
    aged["similarity"] = {"place": None, **dict.fromkeys(keys)}
    aged["candidates"] = [c for c in aged["candidates"] if c["train"] == "head"]
    for c in aged["candidates"]:
        c.pop("n", None)
    aged["engine"] = {"device": "cpu", "name": "cache", "precision": "fp32", "images_per_second": None, "note": None}
    return aged


def blind(made: dict[str, Any]) -> dict[str, Any]:
    """`made` as it is when nothing could be held out."""
    found = copy.deepcopy(made)
    figures = dict.fromkeys(("top1", "low", "high", "uncorrected_top1", "balanced", "nll", "ece", "baseline"))
    found["accuracy"] = {**figures, "how": "nothing can be held out", "series_top1": None, "shuffled_top1": None}
    for key in ("depths", "learning_curve", "candidates", "findings"):
        found[key] = []
    found["test"], found["race"] = None, {"ended": "nothing can be judged", "plan": None, "notes": []}
    return found


def picture_name(label: str, i: int) -> str:
    return f"{label}/{i:02}.jpg"


def predictions(made: dict[str, Any], wrong_every: int = 5, seed: int = 0) -> list[list[Any]]:
    """Rows of predictions.csv; every fifth picture is taken for the next class."""
    rng, rows = np.random.default_rng(seed), []
    classes = made["data"]["class_names"]
    for k, (label, count) in enumerate(zip(classes, made["data"]["per_class"], strict=True)):
        for i in range(count):
            sure, wrong = rng.uniform(0.4, 1.0), i % wrong_every == 0
            said = classes[(k + 1) % len(classes)] if wrong else label
            rows.append([picture_name(label, i), label, said, f"{sure:.6f}", f"{1 - sure if wrong else sure:.6f}"])
    return rows


def made_run(folder: Path, made: dict[str, Any] | None = None, pictures: int = 12, rows: Any = None) -> Run:
    """A run folder with `pictures` thumbnails (0: without explain/); `rows` of predictions.csv when given."""
    made = made or result()
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder)
    run.write_json("result.json", made)
    rows = (predictions(made) if made["accuracy"]["top1"] is not None else []) if rows is None else rows
    header = ("path", "label", "predicted", "probability", "probability_of_label", "group")
    run.write_csv("predictions.csv", header, [row if len(row) > 5 else [*row, i] for i, row in enumerate(rows)])
    run.write_csv("bad_images.csv", ("path", "reason"), [("<b>bad.jpg", "is cut off")])
    if pictures:
        explain(folder / "explain", rows, pictures)
    return run


def explain(folder: Path, rows: Sequence[Sequence[Any]], pictures: int, side: tuple[int, int] = (24, 16)) -> None:
    """RUN/explain with thumbnails of noise, the first `pictures` of `rows` in every list."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    shown = sorted(rows, key=lambda r: r[1] == r[2])[:pictures]

    def thumb(name: str) -> dict[str, Any]:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)).save(file, "JPEG", quality=80)
        (folder / name).write_bytes(file.getvalue())
        return {"thumb": name, "width": side[0], "height": side[1]}

    near = [
        {"id": f"near {i}.jpg", "label": rows[i % len(rows)][1], **thumb(f"n{i:03}.jpg")} for i in range(3 * pictures)
    ]
    found = []
    for i, row in enumerate(shown):
        heat = {"rows": 7, "columns": 7, "values": rng.integers(0, 256, 49).tolist()}
        neighbours = [{"picture": 3 * i + k, "similarity": 0.9 - 0.1 * k} for k in range(3)]
        found.append(
            {"id": row[0], "label": row[1], "predicted": row[2], "probability": float(row[3]),
             "probability_of_label": float(row[4]), **thumb(f"p{i:03}.jpg"),
             "box": [0, 0, 1, 1] if i else [0.1, 0, 0.9, 1],
             "heat": heat, "nearest": neighbours}
        )  # fmt: skip
    found[-1] = {**found[-1], "thumb": None, "heat": None, "nearest": []}
    first = [i for i in range(len(found)) if found[i]["label"] != found[i]["predicted"]][:1]
    cells = [{"label": found[i]["label"], "predicted": found[i]["predicted"], "n": 4, "pictures": [i]} for i in first]
    everything = list(range(min(24, len(found))))
    lists = {"mistakes": everything, "unsure": everything[::-1], "suspects": everything[:5], "cells": cells}
    document = {
        "schema": 1, "heat": {"there": True, "why": ""}, "box": [0, 0, 1, 1], "pictures": found, "neighbours": near,
        "lists": lists,
    }  # fmt: skip
    (folder / "explain.json").write_text(json.dumps(document))


def csv_rows(run: Run) -> list[list[str]]:
    with (run.folder / "predictions.csv").open(newline="") as f:
        return list(csv.reader(f))[1:]
