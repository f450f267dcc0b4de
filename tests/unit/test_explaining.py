"""RUN/explain/: which pictures are shown, what is said about them, and that the folder is whole or not there."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from headstart import explaining
from headstart.artefact import write_classifier
from headstart.classifier.nearest import load_index
from headstart.clock import Clock
from headstart.errors import MachineError
from headstart.explaining import explain, explained, pick
from headstart.finish import Finished
from headstart.images.load import load_image
from headstart.predictions import softmax
from headstart.run import Run
from tiny import CLASSES, PREPROCESSING, tiny_artefact, tiny_features, tiny_head, tiny_layered_head

N, TEMPERATURE = 40, 2.0
DEPTHS = ("block1", "last")
ODD = "<script>alert(1)</script> ž.png"


class World:
    """Forty small pictures, two of them of extreme shape; a saved tiny classifier, and what `fit` knows then."""

    def __init__(self, folder, head=None, frozen=True, judged=True):
        rng = np.random.default_rng(0)
        self.data, self.run = folder / "data", Run(folder / "run")
        self.data.mkdir()
        self.run.folder.mkdir()
        names = [f"{i:02}.png" for i in range(N - 1)] + [ODD.replace("/", "∕")]
        sizes = [(int(w), int(h)) for w, h in rng.integers(30, 300, (N, 2))]
        sizes[3], sizes[4] = (2000, 2), (1, 700)
        for name, size in zip(names, sizes, strict=True):
            small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            small.resize(size).save(self.data / name)
        self.sources, self.labels = [self.data / name for name in names], np.arange(N) % 3
        squares = np.stack([load_image(source, PREPROCESSING).pixels for source in self.sources])
        found = tiny_features(squares)
        self.matrix = np.concatenate([found[depth] for depth in DEPTHS], axis=1).astype(np.float16)
        self.logits = rng.normal(0, 2, (N, 3))
        self.probabilities = softmax(self.logits, TEMPERATURE)
        head = head or tiny_head(DEPTHS)
        write_classifier(self.run.classifier, tiny_artefact(DEPTHS, head=head, temperature=TEMPERATURE))
        self.ground = SimpleNamespace(
            material=SimpleNamespace(
                samples=SimpleNamespace(classes=CLASSES, names=tuple(names), root=self.data),
                embeddings=SimpleNamespace(
                    matrix=lambda depths, rows: self.matrix[rows], sizes=np.array(sizes, np.int32)
                ),
                learn=np.arange(N),
                labels=self.labels,
                names=tuple(names),
            ),
            sources=self.sources,
            seed=0,
        )
        answer = SimpleNamespace(frozen=frozen, depths=(1, 2), head=head, logits=self.logits, judged=np.full(N, judged))
        self.saved = SimpleNamespace(answer=answer, finished=Finished(TEMPERATURE, N))

    def explain(self, seconds=30.0):
        facts = explain(self.run, self.ground, self.saved, Clock(), seconds)
        return facts, self.document()

    def document(self):
        return json.loads((self.run.folder / "explain" / "explain.json").read_text("utf-8"))

    def files(self):
        return sorted(path.name for path in self.run.folder.iterdir())


@pytest.fixture(scope="module")
def explained_world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("explained"))
    facts, document = world.explain()
    return world, facts, document


def test_every_picture_is_told_as_predictions_csv_tells_it(explained_world):
    world, facts, document = explained_world
    names = list(world.ground.material.names)
    assert facts["pictures"] == len(document["pictures"]) > 10 and facts["heat"] and facts["seconds"] > 0
    assert len({p["id"] for p in document["pictures"]}) == len(document["pictures"])
    for picture in document["pictures"]:
        row = names.index(picture["id"])
        own = world.probabilities[row]
        assert picture["label"] == CLASSES[world.labels[row]] and picture["predicted"] == CLASSES[own.argmax()]
        assert picture["probability"] == pytest.approx(own.max(), abs=1e-6)
        assert picture["probability_of_label"] == pytest.approx(own[world.labels[row]], abs=1e-6)
        assert picture["box"] == [0, 0, 1, 1]


def test_thumbnails_and_heat_maps_are_there(explained_world):
    world, _, document = explained_world
    folder = world.run.folder / "explain"
    for entry in document["pictures"] + document["neighbours"]:
        with Image.open(folder / entry["thumb"]) as thumb:
            assert thumb.format == "JPEG" and thumb.size == (entry["width"], entry["height"])
            assert max(thumb.size) <= 128
    for picture in document["pictures"]:
        heat = picture["heat"]
        assert len(heat["values"]) == heat["rows"] * heat["columns"]
        assert min(heat["values"]) >= 0 and max(heat["values"]) == 255
    listed = {entry["thumb"] for entry in document["pictures"] + document["neighbours"]}
    assert listed == {path.name for path in folder.glob("*.jpg")}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000


def test_heat_is_for_the_class_that_was_predicted_out_of_fold(explained_world):
    from headstart.artefact import read_classifier
    from headstart.classifier.explain import explainer

    world, _, document = explained_world
    look = explainer(read_classifier(world.run.classifier))
    names = list(world.ground.material.names)
    for picture in document["pictures"][:8]:
        square = load_image(world.sources[names.index(picture["id"])], PREPROCESSING).pixels[None]
        wanted = look.look(square, np.array([CLASSES.index(picture["predicted"])])).heat[0]
        assert np.abs(np.array(picture["heat"]["values"]) - 255 * wanted.ravel()).max() <= 1


def test_neighbours_are_other_training_pictures_nearest_first(explained_world):
    world, _, document = explained_world
    index = load_index(world.run.folder / "explain")
    places = dict(zip(index.ids, index.vectors.astype(np.float64), strict=True))
    assert list(index.ids) == list(world.ground.material.names) and index.root == str(world.data)
    for picture in document["pictures"]:
        assert len(picture["nearest"]) == 3
        found = [document["neighbours"][near["picture"]] for near in picture["nearest"]]
        assert picture["id"] not in {near["id"] for near in found}
        likeness = {name: place @ places[picture["id"]] for name, place in places.items() if name != picture["id"]}
        best = sorted(likeness.values(), reverse=True)[:3]
        assert [near["similarity"] for near in picture["nearest"]] == pytest.approx(best, abs=2e-3)


def test_names_stay_as_they_are_and_nothing_else_is_left_in_the_run(explained_world):
    world, _, document = explained_world
    assert world.ground.material.names[-1] in {entry["id"] for entry in document["pictures"] + document["neighbours"]}
    assert world.files() == ["classifier", "explain"]


@pytest.mark.parametrize(("head", "frozen"), [(None, False), (tiny_layered_head(DEPTHS), True)])
def test_fine_tuned_networks_and_extra_layers(tmp_path, head, frozen):
    world = World(tmp_path, head, frozen)
    facts, document = world.explain()
    assert facts["heat"] and all(picture["heat"] and len(picture["nearest"]) == 3 for picture in document["pictures"])
    assert len(load_index(world.run.folder / "explain")) == N


def test_a_fine_tuned_network_without_time_indexes_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "_affordable", lambda order, seen: [])
    world = World(tmp_path, frozen=False)
    world.saved.answer.judged[20:] = False
    _, document = world.explain()
    assert set(load_index(world.run.folder / "explain").ids) == {p["id"] for p in document["pictures"]}


def test_what_a_fine_tuned_network_can_be_shown_in_the_time_left():
    def seen(left, rate, features=()):
        return SimpleNamespace(left=left, rate=rate, features=dict.fromkeys(features))

    order = list(range(5000))
    assert len(explaining._affordable(order, seen(100, 100))) == 2000
    assert len(explaining._affordable(order, seen(10, 100))) == 500
    assert explaining._affordable(order, seen(0.5, 100)) == [] == explaining._affordable(order, seen(-5, 100))
    assert explaining._affordable([1, 2, 3], seen(10, 100, [2])) == [1, 3]


def test_pictures_that_vanished_or_broke_are_told_without_a_thumbnail(tmp_path):
    world = World(tmp_path)
    _, before = world.explain()
    gone, broken = (list(world.ground.material.names).index(p["id"]) for p in before["pictures"][:2])
    world.sources[gone].unlink()
    world.sources[broken].write_bytes(b"no picture")
    facts, document = world.explain()
    assert facts["pictures"] == len(before["pictures"])
    for picture in document["pictures"][:2]:
        assert picture["thumb"] is picture["heat"] is picture["width"] is None
        assert len(picture["nearest"]) == 3 and picture["probability"] > 0
    assert all(p["thumb"] and p["heat"] for p in document["pictures"][2:])
    everywhere = document["pictures"] + document["neighbours"]
    assert {e["id"] for e in everywhere if e["thumb"] is None} <= {p["id"] for p in before["pictures"][:2]}


def test_vanished_pictures_of_a_fine_tuned_network_have_no_neighbours(tmp_path):
    world = World(tmp_path, frozen=False)
    for source in world.sources:
        source.unlink()
    facts, document = world.explain()
    assert not facts["heat"] and "could be read" in facts["why"]
    assert document["neighbours"] == [] and all(p["nearest"] == [] for p in document["pictures"])
    assert len(load_index(world.run.folder / "explain")) == 0


def test_nothing_held_out_means_no_lists(tmp_path):
    world = World(tmp_path, judged=False)
    facts, document = world.explain()
    assert facts["pictures"] == 0 and "held out" in facts["why"]
    assert document["pictures"] == document["neighbours"] == [] and document["lists"] == {}
    assert len(load_index(world.run.folder / "explain")) == N


def test_when_the_time_is_up_nothing_more_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "LEAST_SECONDS", -1.0)
    monkeypatch.setattr(explaining, "GLANCE_SECONDS", -1.0)
    facts, document = World(tmp_path).explain(-1.0)
    assert not facts["heat"] and all(p["thumb"] is None and len(p["nearest"]) == 3 for p in document["pictures"])


def test_an_interrupted_write_leaves_no_half(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.explain()
    before = world.document()
    real, calls = explaining.write_file, []

    def interrupted(path, content):
        calls.append(path.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(explaining, "write_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.explain()
    assert world.files() == ["classifier", "explain"] and world.document() == before
    calls.clear()
    assert explained(world.run, world.ground, world.saved, Clock(), 30.0) == (None, True)
    assert world.files() == ["classifier"]  # an explanation of an older classifier does not stay


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    world = World(tmp_path)
    (world.run.folder / ".explain-new-1").mkdir()
    (world.run.folder / ".explain-new-1" / "p000.jpg").write_bytes(b"half")
    world.explain()
    assert world.files() == ["classifier", "explain"]


def test_what_goes_wrong_costs_only_the_explanation(tmp_path, monkeypatch):
    world, clock = World(tmp_path), Clock()
    world.explain()

    def full(*_):
        raise MachineError("cannot write: the disk is full\nfree some space")

    monkeypatch.setattr(explaining, "write_file", full)
    facts, interrupted = explained(world.run, world.ground, world.saved, clock, 30.0)
    assert not interrupted and facts["pictures"] == 0 and facts["why"].startswith("cannot write: the disk is full free")
    assert world.files() == ["classifier"]


def test_after_ctrl_c_nothing_is_explained(tmp_path):
    world = World(tmp_path)
    assert explained(world.run, world.ground, world.saved, Clock(), 30.0, interrupted=True) == (None, True)
    assert world.files() == ["classifier"]


class TestPick:
    def drawn(self, n, k, seed=0):
        rng = np.random.default_rng(seed)
        return rng.normal(0, 3, (n, k)), rng.integers(0, k, n)

    @pytest.mark.parametrize(("n", "k"), [(1, 2), (30, 2), (500, 3), (3000, 1000)])
    def test_lists_are_in_order_and_bounded(self, n, k):
        logits, labels = self.drawn(n, k)
        p, picked = softmax(logits, 1.5), pick(logits, labels, 1.5)
        assert len(picked.rows) == len(set(picked.rows)) <= 150
        rows = {name: np.array(picked.rows)[picked.lists[name]] for name in ("mistakes", "unsure", "suspects")}
        assert all(len(found) <= 24 for found in rows.values())
        wrong = p.argmax(axis=1) != labels
        assert wrong[rows["mistakes"]].all() and len(rows["mistakes"]) == min(24, wrong.sum())
        assert (np.diff(p[rows["mistakes"]].max(axis=1)) <= 0).all()
        assert (np.diff(p[rows["unsure"]].max(axis=1)) >= 0).all()
        assert p[rows["unsure"]].max(axis=1).min() == p.max(axis=1).min()

    def test_cells_hold_what_the_confusion_matrix_says(self):
        logits, labels = self.drawn(500, 6)
        picked, chosen = pick(logits, labels), logits.argmax(axis=1)
        cells = picked.lists["cells"]
        assert len(cells) == 24 and [c["n"] for c in cells] == sorted((c["n"] for c in cells), reverse=True)
        for cell in cells:
            rows = np.array(picked.rows)[cell["pictures"]]
            assert (labels[rows] == cell["label"]).all() and (chosen[rows] == cell["predicted"]).all()
            assert cell["n"] == ((labels == cell["label"]) & (chosen == cell["predicted"])).sum()
            assert 1 <= len(rows) <= 6 and cell["label"] != cell["predicted"]
        assert len(picked.rows) == 150

    def test_without_mistakes_only_the_unsure_are_shown(self):
        logits, _ = self.drawn(100, 3)
        picked = pick(logits, logits.argmax(axis=1))
        assert picked.lists["mistakes"] == picked.lists["cells"] == [] and len(picked.lists["unsure"]) == 24


def test_the_thumbnails_of_noisy_pictures_stay_small(tmp_path):
    world = World(tmp_path)
    rng = np.random.default_rng(1)
    for source in world.sources:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)).save(file, "PNG")
        source.write_bytes(file.getvalue())
    world.explain()
    assert sum(path.stat().st_size for path in (world.run.folder / "explain").glob("*.jpg")) <= 2_400_000
