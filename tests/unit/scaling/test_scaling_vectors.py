"""Reading an embedded folder: rows come back as they were written, in blocks, shuffled, or a few at a time."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fake_embedders import fake_pictures, fake_spec
from headstart.errors import DataError
from headstart.outofcore import names_of, rows_of
from headstart.progress import Silent
from headstart.scaling import vectors as module
from headstart.scaling.ledger import Ledger
from headstart.scaling.manifest import write_manifest
from headstart.scaling.part import part_path, read_part
from headstart.scaling.reading import uri_of
from headstart.scaling.spec import write_spec
from headstart.scaling.vectors import UNUSED, Vectors, is_embedded
from headstart.scaling.worker import Worker

N, PER = 100, 8


def made(folder, pictures, labels, groups=None):
    groups = groups or [None] * len(pictures)
    rows = [(uri_of(p), label, group) for p, label, group in zip(pictures, labels, groups, strict=True)]
    manifest = write_manifest(folder, rows, PER)
    write_spec(folder, fake_spec(manifest))
    manifest.close()
    ledger, worker = Ledger(folder), Worker(folder, "fake_embedders:hashing")
    (folder / "parts").mkdir()
    for chunk in ledger.pending():
        worker.run(chunk.id)
    ledger.verify()
    return Vectors(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A hundred rows; 17 cannot be read, 5 has no label, every tenth picture is in group g."""
    place = tmp_path_factory.mktemp("vectors")
    pictures = fake_pictures(place / "in", N, {17: b"bad"})
    labels = [None if i == 5 else "abc"[i % 3] for i in range(N)]
    groups = ["g" if i % 10 == 0 else None for i in range(N)]
    return made(place / "emb", pictures, labels, groups)


def whole(vectors):
    parts = [read_part(part_path(vectors.folder, chunk.id)) for chunk in vectors.ledger.chunks]
    return {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns}


def test_facts(world):
    facts = world.facts()
    assert facts.labels.tolist() == [UNUSED if i == 5 else i % 3 for i in range(N)]
    assert np.flatnonzero(facts.bad).tolist() == [17]
    assert np.unique(facts.groups[::10]).size == 1 and (facts.groups[1:10] == 0).all()
    assert is_embedded(world.folder) and not is_embedded(world.folder / "parts")


def test_blocks_hold_every_used_row_once_and_in_order(world, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 20)
    folds = np.arange(N) % 5
    folds[[3, 4, 17]] = UNUSED
    labels, every = world.facts().labels, whole(world)
    blocks = list(world.blocks(labels, folds, [1]))
    rows = np.concatenate([b.rows for b in blocks])
    assert rows.tolist() == [i for i in range(N) if folds[i] != UNUSED]
    assert max(len(b) for b in blocks) < 20 + PER
    assert np.array_equal(np.concatenate([b.matrices[1] for b in blocks]), every["vector.last"][rows])
    assert {b.matrices[0].shape[1] for b in blocks} == {0}, "the other depth is not read"
    assert np.array_equal(np.concatenate([b.folds for b in blocks]), folds[rows])


def test_shuffled_batches_hold_the_same_rows_in_another_order(world, monkeypatch):
    monkeypatch.setattr(module, "BUFFER", 40 * 16)
    folds, every = np.zeros(N, np.int64), whole(world)
    orders = []
    for seed in (1, 1, 2):
        batches = list(world.shuffled(np.arange(N) % 3, folds, [0, 1], 16, np.random.default_rng(seed)))
        rows = np.concatenate([b.rows for b in batches])
        assert sorted(rows.tolist()) == list(range(N))
        for b in batches:
            assert np.array_equal(
                b.wide([0, 1]), np.concatenate([every["vector.block0"], every["vector.last"]], 1)[b.rows]
            )
            assert 8 <= len(b) <= 24 and np.array_equal(b.labels, b.rows % 3)
        orders.append(rows.tolist())
    assert orders[0] == orders[1] != orders[2]
    assert len(set(np.array(orders[0][:16]) // PER)) > 2, "a batch mixes parts"


def test_what_is_held_at_a_time_comes_from_all_over_the_folder(world, monkeypatch):
    """Rows sorted by class: every buffer has its share of each class, not what a few random parts hold."""
    monkeypatch.setattr(module, "BUFFER", 26 * 16)
    labels = np.arange(N) // 50
    batches = list(world.shuffled(labels, np.zeros(N, np.int64), [0, 1], 1000, np.random.default_rng(0)))
    assert 3 <= len(batches) <= 5, "one batch per buffer"
    assert all(abs((batch.labels == 0).mean() - 0.5) < 0.22 for batch in batches), "random parts would often be 0.5 off"
    assert max(len(batch) for batch in batches) <= 26 + PER


def test_a_few_rows_with_everything(world):
    rows = np.array([0, 17, 18, 99])
    few, every = world.few(rows), whole(world)
    assert all(np.array_equal(few.columns[name], every[name][rows]) for name in every)
    assert few.errors == [None, "damaged", None, None] and few.groups == ["g", "", "", ""]
    assert world.reasons(np.array([17]))[0][1] == "damaged" and few.uris[3].endswith("00099.jpg")


def test_an_unfinished_folder_is_refused_and_a_damaged_part_named(world, tmp_path):
    pictures = fake_pictures(tmp_path / "in", 20)
    vectors = made(tmp_path / "emb", pictures, ["a", "b"] * 10)
    part = part_path(vectors.folder, vectors.ledger.chunks[1].id)
    part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(DataError, match="makes it again"):
        vectors.facts()
    (vectors.folder / "_SUCCESS.json").unlink()
    with pytest.raises(DataError, match="goes on with it"):
        Vectors(vectors.folder)


def test_what_is_learned_from(tmp_path):
    """Conflicts, bad and unlabelled rows are left out; equal pixels and groups share a fold."""
    n = 120
    pictures = fake_pictures(tmp_path / "in", n, {7: b"bad"})
    labels = [None if i == 11 else "ab"[i % 2] for i in range(n)]
    vectors = made(tmp_path / "emb", pictures, labels, [f"g{i // 6}" if i < 60 else None for i in range(n)])
    for chunk in vectors.ledger.chunks:  # hashes of pixels, as a real engine would give them
        digests = [hashlib.sha256(b"%d" % (i % 100)).digest() for i in range(chunk.first, chunk.first + chunk.count)]
        rewritten(vectors, chunk, np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32))
    vectors.ledger.verify()
    rows = rows_of(vectors, 0, Silent())
    assert (rows.folds[[7, 11]] == UNUSED).all() and rows.conflicts == 0 and rows.copies > 0
    for group in range(10):
        folds = rows.folds[group * 6 : group * 6 + 6]
        assert len(set(folds[folds != UNUSED].tolist())) == 1
    for i in set(range(20)) - {7, 11}:
        assert rows.folds[i] == rows.folds[i + 100], "the same picture once more, in no group"
    assert len(np.unique(rows.folds[60:100])) == 5
    assert len(rows.few.rows) == n - 2


def rewritten(vectors, chunk, hashes):
    from headstart.scaling.part import write_part

    path = part_path(vectors.folder, chunk.id)
    part = read_part(path)
    write_part(
        path, chunk, vectors.ledger.manifest.rows(chunk.first, chunk.count), {**part.columns, "pixel_hash": hashes},
        part.errors, vectors.ledger.spec,
    )  # fmt: skip


def test_names_are_what_differs():
    assert names_of(["/a/b/x/1.png", "/a/b/y/1.png"]) == ("x/1.png", "y/1.png")
    assert names_of(["s3://store/x/1.png", "s3://store/2.png"]) == ("x/1.png", "2.png")
    assert names_of(["/a/b/1.png"]) == ("1.png",) and names_of(["/a/b", "/a/bc"]) == ("b", "bc")
