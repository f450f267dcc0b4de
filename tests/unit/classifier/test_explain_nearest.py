"""The index of training pictures: what is found, what is not, and the two files it lies in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headstart.classifier.nearest import NAMES, VECTORS, build_index, load_index, nearest, pack_index, principal
from headstart.errors import ClassifierError


def made(n=60, d=90, seed=0):
    """Three clouds of points in d dimensions, and their index."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 3, (3, d))
    X = (centres[np.arange(n) % 3] + rng.normal(0, 1, (n, d))).astype(np.float16)
    names = [f"{i}.jpg" for i in range(n)], ["abc"[i % 3] for i in range(n)]
    return X, build_index(X, (X.mean(0), X.std(0) + 1e-3), names, seed)


def written(folder, index):
    for name, content in pack_index(index).items():
        (folder / name).write_bytes(content)
    return folder


def test_the_nearest_are_alike_and_never_the_picture_itself():
    X, index = made()
    own = np.arange(len(X))
    rows, cosines = nearest(index, index.place(X), 3, own)
    assert rows.shape == cosines.shape == (60, 3)
    assert not (rows == own[:, None]).any()
    assert (rows % 3 == own[:, None] % 3).all()
    assert (np.diff(cosines, axis=1) <= 0).all() and cosines.max() <= 1 and cosines.min() > 0
    everyone = nearest(index, index.place(X), 1)[0][:, 0]
    assert (everyone == own).all()  # nothing excluded: itself


def test_vectors_have_length_one_and_at_most_64_numbers():
    X, index = made()
    assert index.vectors.dtype == np.float16 and index.vectors.shape == (60, 60)
    assert made(n=200)[1].vectors.shape == (200, 64)
    np.testing.assert_allclose(np.linalg.norm(index.place(X), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(index.place(X), index.vectors.astype(np.float32), atol=1e-3)


def test_the_same_seed_gives_the_same_bytes():
    assert pack_index(made()[1]) == pack_index(made()[1])


def test_the_widest_directions_are_found():
    rng = np.random.default_rng(2)
    wide = np.linalg.qr(rng.normal(size=(50, 5)))[0]
    X = rng.normal(size=(300, 5)) * 10 @ wide.T + rng.normal(size=(300, 50))
    found = principal(X.astype(np.float32), 5, 0)
    assert np.linalg.svd(found.T @ wide)[1].min() > 0.99
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_pictures(n):
    X, index = made(n)
    rows, cosines = nearest(index, index.place(X), 3, np.arange(n))
    assert rows.shape == (n, min(3, n)) and ((rows >= 0).sum(axis=1) == n - 1).all()
    assert np.isfinite(cosines).all()


def test_a_picture_like_the_average_has_no_direction_and_no_nan():
    index = made()[1]
    assert not index.place(index.mean[None]).any()
    assert np.isfinite(nearest(index, index.place(index.mean[None]), 3)[1]).all()


def test_what_only_differs_within_classes_counts_less():
    """Two classes apart in one column; five other things, in ten columns each, differ in both classes alike."""
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 2
    nuisance = np.repeat(rng.normal(0, 1, (200, 5)), 10, axis=1) + rng.normal(0, 0.3, (200, 50))
    X = np.concatenate([labels[:, None] + rng.normal(0, 0.3, (200, 1)), nuisance], axis=1)
    names = [str(i) for i in range(200)], [str(k) for k in labels]

    def same(index):
        return (labels[nearest(index, index.place(X), 1, np.arange(200))[0][:, 0]] == labels).mean()

    plain = build_index(X, (X.mean(0), X.std(0)), (names[0], names[0]))  # every picture a class of its own
    assert same(build_index(X, (X.mean(0), X.std(0)), names)) > same(plain) + 0.1


def test_files_give_it_back_with_any_name(tmp_path):
    from dataclasses import replace

    ids = ("<script>alert(1)</script>.jpg", 'a"b\\c.jpg', "ž\u202e.png", *[f"{i}" for i in range(57)])
    index = replace(made()[1], ids=ids, root="/data/<b>")
    again = load_index(written(tmp_path, index))
    assert (again.ids, again.labels, again.root) == (index.ids, index.labels, index.root)
    np.testing.assert_array_equal(again.vectors, index.vectors)
    np.testing.assert_array_equal(again.projection, index.projection)


def test_damage_is_refused_in_one_line(tmp_path):
    index = made()[1]
    folder = written(tmp_path, index)
    good = {name: (folder / name).read_bytes() for name in (VECTORS, NAMES)}
    names = json.loads(good[NAMES])
    bad = [
        (VECTORS, b""), (VECTORS, good[VECTORS][:-7]), (VECTORS, b"\x80\x04K\x01."), (NAMES, b"{"), (NAMES, b"[]"),
        (NAMES, json.dumps({**names, "ids": names["ids"][1:]}).encode()),
        (NAMES, json.dumps({**names, "labels": [1] * 60}).encode()),
        (NAMES, json.dumps({**names, "root": 3}).encode()),
    ]  # fmt: skip
    for name, content in bad:
        (folder / name).write_bytes(content)
        with pytest.raises(ClassifierError, match="headstart fit") as caught:
            load_index(folder)
        assert "\n" not in str(caught.value)
        (folder / name).write_bytes(good[name])
    assert len(load_index(folder)) == 60
    (folder / NAMES).unlink()
    with pytest.raises(ClassifierError, match=r"nearest\.json cannot be read"):
        load_index(folder)
