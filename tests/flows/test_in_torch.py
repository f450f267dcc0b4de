"""A network that cannot be exported runs in torch: from `fit` to every use of what it saved, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from commands import Outcome, child, headstart, one_line

from headstart import api
from headstart.classifier.explain import explainer
from headstart.serving.model import Model
from headstart.serving.options import ServingLimits
from odd import known_here_and_in_children, weights_of

SAYS = "cannot be exported (its graph differs from torch: output block0"
PREDICT = """
import json, sys
from pathlib import Path
from headstart import api
classifier = api.load(sys.argv[1])
assert not {"torch", "timm", "sklearn"} & set(sys.modules), "reading needs neither"
pictures = sorted(Path(sys.argv[2]).rglob("*.png"))
together = classifier.predict_proba(pictures)
alone = [classifier.predict_proba([picture])[0].tolist() for picture in pictures]
assert "torch" in sys.modules and not {"onnx", "sklearn"} & set(sys.modules)
print(json.dumps([together.tolist(), alone]))
"""


class Odd(NamedTuple):
    """A finished run on a network with a loop that depends on the picture."""

    run: Path
    backbone: str
    done: Outcome

    @property
    def result(self) -> dict:
        return json.loads((self.run / "result.json").read_text())


@pytest.fixture(scope="module")
def odd(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        known_here_and_in_children(patch)
        backbone = f"test_settles@{weights_of('test_settles', folder)}"
        done = headstart("fit", few_digits, "--out", folder / "run", "--backbone", backbone)
        assert done.code == 0, done.err
        yield Odd(folder / "run", backbone, done)


@pytest.fixture(scope="module")
def deeper(odd: Odd, few_digits: Path, hurried_module: None) -> Path:
    """A run with extra layers on the same network."""
    run = odd.run.parent / "deeper"
    extra = ("--extra-layers", "8", "--budget", "400steps")
    done = headstart("fit", few_digits, "--out", run, "--backbone", odd.backbone, *extra)
    assert done.code == 0, done.err
    return run


def test_fit_says_so_in_one_line_and_keeps_no_graph(odd: Odd, cache: Path) -> None:
    lines = [line for line in odd.done.err.splitlines() if SAYS in line]
    assert len(lines) == 1 and "the classifier needs torch and timm to predict" in lines[0]
    assert sum("the new head stays" in line for line in odd.done.err.splitlines()) == 1, "the race that is left out"
    result = odd.result
    assert result["decision"]["train"] == "head" and result["engine"]["name"] == "torch"
    assert "differs from torch" in result["runs_in_torch"] and "runs in torch" in result["race"]["ended"]
    assert result["similarity"]["bn_shift"] is None and result["similarity"]["place"] == "middle"
    assert sorted(p.name for p in (odd.run / "classifier").iterdir()) == [
        "README.md",
        "classifier.json",
        "weights.safetensors",
    ]
    assert "there is no `model.onnx`" in (odd.run / "classifier" / "README.md").read_text()
    written = (odd.run / "classifier" / "classifier.json").read_text()
    document = json.loads(written)
    assert (document["format"], document["engine"], document["network"]["architecture"]) == (3, "torch", "test_settles")
    assert str(odd.run.parent) not in written


def test_alone_and_in_a_batch_in_predict_and_in_evaluate(odd: Odd, few_digits: Path) -> None:
    done = child(odd.run, few_digits, code=PREDICT)
    assert done.code == 0, done.err
    together, alone = map(np.array, json.loads(done.out))
    assert together.shape == (15, 3) and np.abs(together - alone).max() < 1e-5
    assert np.ptp(together, axis=0).max() > 0.05, "answers differ between pictures"
    chosen = [odd.result["data"]["class_names"][k] for k in together.argmax(axis=1)]
    predicted = headstart("predict", odd.run, few_digits, "--json").json["predictions"]
    assert [p["class"] for p in predicted] == chosen
    pictures = sorted(few_digits.rglob("*.png"))
    right = np.mean([picture.parent.name == name for picture, name in zip(pictures, chosen, strict=True)])
    assert headstart("evaluate", odd.run, few_digits, "--json").json["top1"] == pytest.approx(right)


def test_where_it_looked_is_told_and_served(odd: Odd, few_digits: Path) -> None:
    assert odd.result["explain"]["heat"] is True and odd.result["explain"]["pictures"] > 0
    classifier = api.load(odd.run)
    pixels = classifier.load_picture(next(few_digits.rglob("*.png"))).pixels[None]
    looked = explainer(classifier.artefact).look(pixels)
    assert np.abs(looked.probabilities - classifier.run(pixels)).max() < 1e-5
    assert looked.heat is not None and looked.heat.min() >= 0 and looked.heat.max() == 1
    served = Model.read(odd.run, ServingLimits())
    assert served.looks.heat and served.looks.nearest and len(served.version) == 12
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.run(pixels), classifier.run(pixels))


@pytest.mark.slow
def test_the_outcome_is_remembered_and_shown(odd: Odd, few_digits: Path, cache: Path, tmp_path: Path) -> None:
    (record,) = (cache / "graphs").glob("*test_settles*.torch.json")
    before = record.stat().st_mtime_ns
    done = headstart("fit", few_digits, "--out", tmp_path / "run", "--backbone", odd.backbone, "--train", "head")
    assert done.code == 0 and SAYS in done.err and "preparing" not in done.err, "it is not tried again"
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["embedding"]["computed"] == 0 and result["engine"]["name"] == "torch"
    assert record.stat().st_mtime_ns == before
    (row,) = headstart("backbones", "--measure", odd.backbone, "--json").json["backbones"]
    assert "differs from torch" in row["runs_in_torch"] and row["engine"] == "torch cpu fp32"
    assert row["images_per_second"] > 0


@pytest.mark.slow
def test_extra_layers_learn_from_its_vectors(deeper: Path, few_digits: Path) -> None:
    assert json.loads((deeper / "result.json").read_text())["decision"]["train"] == "extra"
    assert headstart("predict", deeper, few_digits, "--json").code == 0


@pytest.mark.parametrize("amount", ["norms", "last-1", "all", "scratch"])
def test_training_inside_it_is_refused_in_one_line(odd: Odd, few_digits: Path, tmp_path: Path, amount: str) -> None:
    done = headstart("fit", few_digits, "--out", tmp_path / "run", "--backbone", odd.backbone, "--train", amount)
    assert done.code == 2 and SAYS in one_line(done) and "--train head" in one_line(done)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_plan_says_what_is_left(odd: Odd, few_digits: Path) -> None:
    done = headstart("plan", few_digits, "--backbone", odd.backbone)
    assert done.code == 0 and "runs in torch: only a new head will be trained" in done.out


@pytest.mark.parametrize("to", ["onnx", "int8", "openvino"])
def test_export_is_refused_with_the_reason(odd: Odd, tmp_path: Path, to: str) -> None:
    done = headstart("export", odd.run, "--to", to, "--out", tmp_path / "out")
    assert done.code == 2 and "its graph differs from torch" in one_line(done) and not (tmp_path / "out").exists()


def test_it_is_no_backbone_for_others(odd: Odd, few_digits: Path, tmp_path: Path) -> None:
    done = headstart("fit", few_digits, "--out", tmp_path / "run", "--backbone", odd.run)
    assert done.code == 2 and "runs in torch and is frozen there" in one_line(done)
    assert headstart("backbones", "--measure", odd.run).code == 2


def test_damaged_weights_are_exit_4(odd: Odd, few_digits: Path, tmp_path: Path) -> None:
    shutil.copytree(odd.run / "classifier", tmp_path / "damaged")
    weights = tmp_path / "damaged" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-40] ^= 1
    weights.write_bytes(content)
    done = headstart("predict", tmp_path / "damaged", few_digits)
    assert done.code == 4 and "weights.safetensors" in one_line(done)


@pytest.mark.slow
def test_swapped_weights_are_exit_4(odd: Odd, deeper: Path, few_digits: Path, tmp_path: Path) -> None:
    shutil.copytree(odd.run / "classifier", tmp_path / "damaged")
    weights = tmp_path / "damaged" / "weights.safetensors"
    shutil.copy(deeper / "classifier" / "weights.safetensors", weights)
    done = headstart("predict", tmp_path / "damaged", few_digits)
    assert done.code == 4 and "weights.safetensors" in one_line(done)


@pytest.mark.slow
def test_what_timm_here_cannot_make_is_a_matter_of_the_machine(odd: Odd, few_digits: Path) -> None:
    """In a process that does not know the network."""
    code = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if type(f).__name__ != 'AfterTimm']; "
        "from headstart.cli.main import _run; sys.exit(_run(sys.argv[1:]))"
    )
    done = child("predict", odd.run, few_digits, code=code)
    assert done.code == 5 and "test_settles" in one_line(done) and "was made with torch" in one_line(done)
