"""Without time for a final training the network that a fold trained is saved: the very one that was judged."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import headstart
from hurry import hurry

from headstart import api, racing, rules, training
from headstart.howmuch import score
from headstart.howmuch.arm import FrozenAnswer
from headstart.howmuch.lane import RaceResult
from headstart.howmuch.verdict import Verdict, judge_race


@pytest.fixture(params=["as judged", "an epoch longer"])
def saved(
    request: pytest.FixtureRequest, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A run that took the last stage and had no time for all pictures; `held`: the rows of the fold that is saved."""
    table = tmp_path / "few.csv"
    few = [picture for place in sorted(digits.iterdir()) for picture in sorted(place.iterdir())[:4]]
    table.write_text("path,label\n" + "".join(f"{picture},{picture.parent.name}\n" for picture in few))
    real_race, real_unit = racing.race, training.Trainer.unit
    held: dict[str, Any] = {}
    planned: dict[str, int] = {}

    def gain(train: str, *_: object) -> rules.Rule:
        return rules.Rule("gain_elsewhere", (0.3, 0.2) if train == "last-1" else None, "a test")

    def short_of_time(*arguments: Any) -> RaceResult:
        found = real_race(*arguments)
        keeps = arguments[-1].kept
        runs = tuple(replace(r, refit_fits=False, kept=bool(r.units) and keeps(r.arm)) for r in found.runs)
        return replace(found, runs=runs)

    def unit(self: training.Trainer, *arguments: Any) -> Any:
        key, first = arguments[0].key, arguments[0].key not in held
        if request.param == "an epoch longer":  # the first fold by `longer`, the others from the beginning
            self.most_epochs = planned.setdefault("epochs", self.epochs) + 1
            self.epochs = planned["epochs"] if first else self.most_epochs
        result = real_unit(self, *arguments)
        held[key] = self.kept[key].held
        if request.param == "as judged" or not first:
            return result
        longer = self.longer(arguments[0])
        assert longer is not None and len(longer.logits) == self.most_epochs
        assert self.longer(arguments[0]) is None, "more would not pay"
        return longer

    def refit(*_: object) -> None:
        raise AssertionError("there is no time to train on everything")

    def taken(answer: FrozenAnswer, found: RaceResult, _pinned: str, seed: int) -> Verdict:
        return judge_race(answer, found, "last-1", seed)  # a few digits and epochs would not have chosen it

    hurry(monkeypatch.setattr, auto=("last-1",))
    monkeypatch.setattr(racing, "judge_race", taken)
    monkeypatch.setattr(score, "beaten", lambda *_: False)
    monkeypatch.setattr(rules, "keeps_folds", lambda _: rules.Rule("keeps_folds", True, "a test"))
    monkeypatch.setattr(rules, "gain_elsewhere", gain)
    monkeypatch.setattr(rules, "epochs_to_gain", lambda _: rules.Rule("epochs_to_gain", 1, "a test"))
    monkeypatch.setattr(racing, "race", short_of_time)
    monkeypatch.setattr(training.Trainer, "unit", unit)
    monkeypatch.setattr(training.Trainer, "refit", refit)
    run = tmp_path / "r"
    done = headstart("fit", table, "--out", run, "--budget", "5m", "--backbone", "efficientnet_lite0", "--json")
    assert done.code == 0, done.err
    return {"run": run, "result": done.json, "held": held}


def test_the_network_that_was_judged_is_the_one_that_is_saved(saved: dict[str, Any]) -> None:
    result, run = saved["result"], saved["run"]
    decision = result["decision"]
    assert (decision["train"], decision["on_all_pictures"]) == ("last-1", False)
    assert "Trained on all but one fold of the 40 pictures" in decision["why"]
    assert result["verified"] == 40
    facts = json.loads((run / "classifier" / "classifier.json").read_text())
    rows = saved["held"][f"last-1_lr{decision['learning_rate']:g}"]
    assert facts["provenance"]["trained_on"] == 40 - len(rows)
    with open(run / "predictions.csv", newline="") as file:
        said = list(csv.DictReader(file))
    classes = result["data"]["class_names"]
    found = api.load(run).predict_proba([said[i]["path"] for i in rows])
    for row, probabilities in zip(rows, found, strict=True):
        assert classes[int(np.argmax(probabilities))] == said[row]["predicted"]
        assert float(said[row]["probability"]) == pytest.approx(probabilities.max(), abs=1e-3)
