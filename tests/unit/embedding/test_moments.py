"""The shift: 0 for the network's own pictures, larger for changed ones, whatever their number; and its cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.backbone.backbone import Backbone, Depth
from headstart.backbone.graph_moments import Norm, moment_graph
from headstart.backbone.sources import find_source
from headstart.embedding import moments
from headstart.embedding.embed import Embeddings, EmbedFacts
from headstart.embedding.moments import (
    NO_NORMS,
    NO_PICTURES,
    PictureMoments,
    channel_moments,
    choose_rows,
    picture_moments,
    shifts,
)
from headstart.embedding.upkeep import clear_cache
from headstart.engine.stream import StreamTimes
from headstart.errors import MachineError
from headstart.images.preprocess import Preprocessing
from tiny import tiny_graph
from tiny_norms import SIDE, folded_graph, smooth_pictures, tensors_of, tiny_network

OWN = smooth_pictures(200)


@cache
def made() -> tuple[bytes, tuple[Norm, ...]]:
    network = tiny_network(OWN)
    return moment_graph(folded_graph(network), tensors_of(network))


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Backbone:
    """A backbone whose graph is the tiny one."""
    monkeypatch.setattr(moments, "backbone_moment_graph", lambda _: made())
    return Backbone(
        "tiny",
        "0" * 64,
        (Depth("last", 12),),
        Preprocessing(side=SIDE),
        tmp_path,
        "tiny-graph1",
        find_source("efficientnet_lite0"),
    )


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After this call an engine or a graph may not be made."""

    def forbid() -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("measured again")

        monkeypatch.setattr(moments, "OpenVinoEngine", refuse)
        monkeypatch.setattr(moments, "backbone_moment_graph", refuse)

    return forbid


def embedded(n: int, errors: dict[int, str] | None = None, hashes: list[bytes] | None = None) -> Embeddings:
    """What `embed` would say of n pictures, as far as it matters here."""
    facts = EmbedFacts(None, 0, n, StreamTimes(), ())
    empty = np.empty(0)
    reasons = tuple((errors or {}).get(i) for i in range(n))
    named = hashes or [i.to_bytes(32, "big") for i in range(n)]
    return Embeddings((), (), (empty, empty), named, empty, empty, reasons, facts)  # type: ignore[arg-type]


def shift_of(backbone: Backbone, pictures: np.ndarray) -> float:
    return float(shifts(picture_moments(list(pictures), backbone)).shifts.mean())


def test_its_own_pictures_are_not_shifted_and_changed_ones_are(backbone: Backbone) -> None:
    own = shift_of(backbone, OWN)
    assert own < 1e-3
    pale = shift_of(backbone, (127 + (OWN - 127.0) * 0.3).astype(np.uint8))
    bright = shift_of(backbone, (OWN // 2) + 120)
    paler = shift_of(backbone, (127 + (OWN - 127.0) * 0.1).astype(np.uint8))
    assert pale > 0.2 and bright > 0.2 and paler > pale


def plain(found: PictureMoments, rows: np.ndarray) -> list[float]:
    """The definition, without the correction for few pictures."""
    values = []
    for norm, means, squares in zip(found.norms, found.means, found.squares, strict=True):
        m = means[rows].astype(float).mean(0)
        s = np.sqrt(squares[rows].astype(float).mean(0) - m**2)
        values.append(float(np.median((m / norm.unit) ** 2 + (s / norm.unit - 1) ** 2)))
    return values


def test_the_shift_is_the_median_of_squared_differences(backbone: Backbone) -> None:
    """For so many pictures that no correction matters."""
    found = picture_moments(list((OWN // 2) + 90), backbone)
    np.testing.assert_allclose(shifts(found).shifts, plain(found, np.arange(len(OWN))), rtol=0.02)


def test_few_pictures_look_hardly_farther_away_than_many(backbone: Backbone) -> None:
    """The true shift is 0: what is left of it is bias."""
    found = picture_moments(list(OWN), backbone)
    rng = np.random.default_rng(0)
    draws = [rng.choice(len(OWN), 6, replace=False) for _ in range(100)]
    corrected = np.mean([shifts(found, rows).shifts for rows in draws])
    assert corrected < 0.6 * np.mean([plain(found, rows) for rows in draws])


def test_the_second_time_comes_from_the_cache(backbone: Backbone, tmp_path: Path, idle: Callable[[], None]) -> None:
    sources, rows = list(OWN[:20]), np.arange(20)
    cold = channel_moments(embedded(20), sources, rows, backbone, tmp_path)
    assert cold.pictures == 20 and cold.layers == ("stage0.conv", "stage1.conv") and cold.missing is None
    idle()
    # not the sources are looked at, and the order of the rows does not matter
    warm = channel_moments(embedded(20), [], rows[::-1], backbone, tmp_path)
    assert warm.layers == cold.layers and warm.pictures == 20
    np.testing.assert_array_equal(warm.shifts, cold.shifts)
    with pytest.raises(AssertionError, match="measured again"):
        channel_moments(embedded(20), sources, rows[1:], backbone, tmp_path)
    assert clear_cache(tmp_path) > 0 and not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"layers": ["a"], "shifts": [], "pictures": 3, "missing": null}']
)
def test_a_damaged_cache_file_is_measured_again(backbone: Backbone, tmp_path: Path, content: bytes) -> None:
    def run() -> moments.Moments:
        return channel_moments(embedded(3), list(OWN[:3]), np.arange(3), backbone, tmp_path)

    wanted = run()
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(content)
    np.testing.assert_array_equal(run().shifts, wanted.shifts)
    assert json.loads(file.read_bytes())["pictures"] == 3


def test_a_cache_that_cannot_be_written_is_done_without(backbone: Backbone, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    found = channel_moments(embedded(3), list(OWN[:3]), np.arange(3), backbone, blocked)
    assert found.pictures == 3
    assert channel_moments(embedded(3), list(OWN[:3]), np.arange(3), backbone, None).pictures == 3


def test_one_picture_is_enough_for_a_figure(backbone: Backbone) -> None:
    found = channel_moments(embedded(1), list(OWN[:1]), np.arange(1), backbone, None)
    assert found.pictures == 1 and np.isfinite(found.shifts).all()


def test_unreadable_pictures_are_left_out(backbone: Backbone, tmp_path: Path) -> None:
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    Image.fromarray(OWN[0]).save(good)
    broken.write_bytes(b"no picture")
    sources = [broken, good, tmp_path / "gone.png"]
    rows = np.arange(3)
    known = channel_moments(embedded(3, {0: "not an image", 2: "no such file"}), sources, rows, backbone, None)
    assert known.pictures == 1
    # gone since the embedding: measured on the rest, and not kept as if it were the whole
    since = channel_moments(embedded(3), sources, rows, backbone, tmp_path / "cache")
    np.testing.assert_array_equal(since.shifts, known.shifts)
    assert since.pictures == 1 and not list(tmp_path.rglob("*.json"))
    none = channel_moments(embedded(2), [broken, broken], np.arange(2), backbone, tmp_path / "cache")
    assert (none.layers, none.pictures, none.missing) == ((), 0, NO_PICTURES)
    assert channel_moments(embedded(1, {0: "bad"}), [broken], np.arange(1), backbone, None).missing == NO_PICTURES


def test_the_choice_of_pictures_depends_on_their_pixels_only() -> None:
    hashes = [bytes([7 * i % 251]) * 32 for i in range(200)]
    hashes[5] = hashes[6]
    found = embedded(200, {0: "bad"}, hashes)
    chosen = choose_rows(found, np.arange(200))
    assert len(chosen) == 96 and 0 not in chosen and not {5, 6} <= set(chosen)
    assert chosen == choose_rows(found, np.arange(200), 96)
    turned = embedded(200, {199: "bad"}, hashes[::-1])
    assert [hashes[::-1][i] for i in choose_rows(turned, np.arange(200))] == [hashes[i] for i in chosen]
    assert set(choose_rows(found, np.arange(50, 60))) == set(range(50, 60))


def test_without_batchnorm_it_says_so_and_remembers(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idle: Callable[[], None]
) -> None:
    monkeypatch.setattr(moments, "backbone_moment_graph", lambda _: moment_graph(tiny_graph(), {}))
    for _ in range(2):
        found = channel_moments(embedded(3), list(OWN[:3]), np.arange(3), backbone, tmp_path)
        assert (found.layers, found.pictures, found.missing) == ((), 0, NO_NORMS)
        idle()


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left"), RuntimeError("No space left\nat 0x1"), ImportError()]
)
def test_what_fails_is_a_reason_and_no_crash(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(moments, "OpenVinoEngine", fail)
    found = channel_moments(embedded(1), list(OWN[:1]), np.arange(1), backbone, tmp_path)
    assert not found.layers and found.missing is not None and "\n" not in found.missing
    assert ("No space" if str(failure) else "ImportError") in found.missing
    assert not list(tmp_path.rglob("*.json"))  # it may work next time


def test_a_graph_that_cannot_be_made_ends_the_run(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Backbone) -> None:
        raise MachineError("the graph is damaged")

    monkeypatch.setattr(moments, "backbone_moment_graph", refuse)
    with pytest.raises(MachineError):
        channel_moments(embedded(1), list(OWN[:1]), np.arange(1), backbone, None)
