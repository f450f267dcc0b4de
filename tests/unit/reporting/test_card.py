"""The model card: YAML that the hub reads, Markdown in which names are text, nothing invented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard
from made_runs import HOSTILE, blind, made_run, old, result

from headstart.artefact import read_classifier, write_classifier
from headstart.images.printable import printable
from headstart.reporting.card import model_card, write_card
from tiny import tiny_artefact


def front(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    return dict(yaml.safe_load(head))


def test_the_hub_reads_its_front_matter() -> None:
    card = ModelCard(model_card(result(), "pets"))
    assert card.data.pipeline_tag == "image-classification" and card.data.library_name == "headstart"
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert found[("train", "accuracy")] == 0.84 and found[("test", "accuracy")] == 0.9


def test_what_is_unknown_is_left_out() -> None:
    head = front(model_card(result(), "pets"))
    assert not {"license", "datasets", "base_model", "language"} & set(head)
    nothing = model_card(blind(result(per_class=1)), "pets")
    assert "model-index" not in front(nothing) and "nothing could be held out" in nothing
    assert "None" not in nothing and "None" not in model_card(old(result()), "pets")


def test_names_are_text() -> None:
    text = model_card(result(HOSTILE), "x: [y]\n---\nlicense: mit # <b>")
    head = front(text)
    assert "license" not in head and head["model-index"][0]["name"].startswith("x: [y]")
    body = text.split("---\n", 2)[2]
    assert "\\n" in body and "\u202e" not in body
    for line in body.splitlines():
        assert "<script>" not in line.replace("`<script>alert(1)</script>`", "") and "<b>" not in line.replace(
            "\\<b\\>", ""
        )
    assert f"`{printable(HOSTILE[1])}`" in body


def test_issues_are_told() -> None:
    assert "Known problems" in model_card(result(), "pets") and "2 labels are probably wrong" in model_card(
        result(), "pets"
    )
    assert "Known problems" not in model_card(result(findings=[]), "pets")


def test_a_classifier_with_a_card_is_read_and_replaced(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", pictures=0)
    write_classifier(run.classifier, tiny_artefact())
    path = write_card(run)
    assert path == run.classifier / "README.md" and path.read_text("utf-8").startswith("---\n")
    assert read_classifier(run.classifier).classes == tiny_artefact().classes
    write_classifier(run.classifier, tiny_artefact())  # takes the place of the folder, card and all
    assert not path.exists() and read_classifier(run.classifier).classes == tiny_artefact().classes
