"""Another backbone is used when it is clearly better and affordable; a failing one never costs the first answer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from headstart import choosing
from headstart.errors import MachineError
from headstart.howmuch.probe import probe
from headstart.progress import Silent
from headstart.training import Ground

N = 120
LABELS = np.arange(N) % 2
FOLDS = np.arange(N)[None] // 2 % 4


def vectors(strength: float, seed: int) -> list[np.ndarray]:
    """Two depths whose features tell the classes apart as well as `strength` says."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(N, 4)) + strength * LABELS[:, None]).astype(np.float16) for _ in range(2)]


class Pictures(SimpleNamespace):
    def __len__(self) -> int:
        return N


def ground_of(found_vectors: list[np.ndarray]) -> Ground:
    depths = [SimpleNamespace(name=name, dim=4) for name in ("block0", "last")]
    samples = Pictures(sources=list(range(N)), classes=("a", "b"), groups=None)
    material = SimpleNamespace(samples=samples, learn=np.arange(N), labels=LABELS, groups=np.arange(N))
    found = probe(found_vectors, ("block0", "last"), LABELS, 2, FOLDS)
    split = SimpleNamespace(folds=FOLDS, count=4)
    return Ground(material, SimpleNamespace(name="first", depths=depths), split, found, 0)  # type: ignore[arg-type]


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch):
    """One more installed backbone, which sees what the test says."""
    seen = {"vectors": vectors(0.4, 1)}
    listed = [{"name": "first", "installed": True}, {"name": "other", "installed": True}]
    monkeypatch.setattr(choosing, "available", lambda: [*listed, {"name": "absent", "installed": False}])
    monkeypatch.setattr(choosing, "_affordable", lambda *_: ("", SimpleNamespace(name="other")))
    monkeypatch.setattr(choosing, "_seen_with", lambda *_: seen["vectors"])
    monkeypatch.setattr(choosing, "_moved", lambda ground, best, rows, progress: best)
    return seen


def test_a_clearly_better_backbone_is_used(other):
    other["vectors"] = vectors(3.0, 2)
    ground, (tried,) = choosing.choose_backbone(ground_of(vectors(0.4, 1)), 300.0, Silent())
    assert ground.backbone.name == "other" and tried.p_better >= 0.9 and tried.top1 > tried.first_top1


def test_a_tie_stays_with_the_first(other):
    first = ground_of(vectors(0.4, 1))
    ground, (tried,) = choosing.choose_backbone(first, 300.0, Silent())
    assert ground is first and tried.status == "run" and "the faster one stays" in tried.why


def test_a_backbone_that_cannot_be_prepared_is_passed_over(other, monkeypatch):
    def broken(*_):
        raise MachineError("backbone other could not be prepared")

    monkeypatch.setattr(choosing, "_affordable", broken)
    first = ground_of(vectors(0.4, 1))
    ground, (tried,) = choosing.choose_backbone(first, 300.0, Silent())
    assert ground is first and tried.status == "not tried" and "could not be prepared" in tried.why


@pytest.mark.parametrize(("left", "used"), [(300.0, "other"), (1e-9, "first")])
def test_every_picture_must_be_affordable_too(other, monkeypatch, left, used):
    """Judged on some of the pictures, the others have to be seen as well before it can be used."""
    monkeypatch.setattr(choosing, "SUBSET", 60)
    other["vectors"] = [m[choosing._subset(ground_of(vectors(0.4, 1)))] for m in vectors(3.0, 2)]
    first = ground_of(vectors(0.4, 1))
    object.__setattr__(first.material, "matrices", lambda rows: vectors(0.4, 1))
    ground, (tried,) = choosing.choose_backbone(first, left, Silent())
    assert ground.backbone.name == used
    assert ("every picture would take" in tried.why) == (used == "first")


@pytest.mark.parametrize(("strength", "larger"), [(0.4, "not tried"), (3.0, "run")])
def test_a_larger_one_is_tried_only_after_one_that_was_ahead(other, monkeypatch, strength, larger):
    listed = [{"name": name, "installed": True} for name in ("first", "other", "larger")]
    monkeypatch.setattr(choosing, "available", lambda: listed)
    monkeypatch.setattr(choosing, "_affordable", lambda ground, name, rows, room: ("", SimpleNamespace(name=name)))
    other["vectors"] = vectors(strength, 1 if strength < 1 else 2)
    _, (tried, last) = choosing.choose_backbone(ground_of(vectors(0.4, 1)), 300.0, Silent())
    assert (tried.status, last.status) == ("run", larger)
    assert ("other was not ahead" in last.why) == (larger == "not tried")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    """A prepared backbone that embeds ten pictures a second; the test says which pictures the cache knows."""
    embedded: list[int] = []
    facts = SimpleNamespace(engine=SimpleNamespace(images_per_second=10.0))

    def embed(sources, *_):
        embedded.extend(sources)
        return SimpleNamespace(facts=facts if sources else SimpleNamespace(engine=None))

    whole = SimpleNamespace(is_whole=lambda: True)
    monkeypatch.setattr(choosing, "find_source", lambda name: name)
    monkeypatch.setattr(choosing, "graph_file", lambda *_: whole)
    monkeypatch.setattr(choosing, "open_backbone", lambda *_: SimpleNamespace(name="other"))
    monkeypatch.setattr(choosing, "graph_of", lambda _: "graph")
    monkeypatch.setattr(choosing, "embed", embed)
    return embedded


@pytest.mark.parametrize(
    ("known", "room", "tried"), [(0, 12.0, True), (0, 5.0, False), (32, 5.0, False), (N, 3.0, True)]
)
def test_only_what_the_cache_does_not_know_takes_time(measured, monkeypatch, known, room, tried):
    """Also when the first pictures are known from an earlier, shorter look: their speed says nothing then."""
    monkeypatch.setattr(choosing, "not_cached", lambda sources, *_: list(range(known, len(sources))))
    why, backbone = choosing._affordable(ground_of(vectors(0.4, 1)), "other", np.arange(N), room)
    assert (backbone is not None) == tried and ("would take" in why) != tried
    assert measured == list(range(known, min(known + choosing.FEW, N)))


def test_its_heads_take_as_long_as_the_first_ones_did():
    ground = ground_of(vectors(0.4, 1))
    took = sum(ground.found.seconds.values())
    assert choosing._heads_take(ground, np.arange(N), ground.found) == took > 0
    assert choosing._heads_take(ground, np.arange(N // 2), None) == pytest.approx(took)  # both on the subset


def test_no_room_is_left_when_the_heads_alone_take_too_long(other, monkeypatch):
    rooms: list[float] = []

    def affordable(ground, name, rows, room):
        rooms.append(room)
        return "too long", None

    monkeypatch.setattr(choosing, "_affordable", affordable)
    monkeypatch.setattr(choosing, "_heads_take", lambda *_: 50.0)
    first = ground_of(vectors(0.4, 1))
    ground, (tried,) = choosing.choose_backbone(first, 300.0, Silent())
    assert ground is first and tried.status == "not tried" and rooms[0] < 0
