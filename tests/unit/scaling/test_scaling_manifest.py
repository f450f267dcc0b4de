"""From what the user named to rows, a chunk at a time."""

from __future__ import annotations

import os

import pyarrow
import pyarrow.parquet
import pytest

from fake_embedders import fake_pictures
from headstart.errors import DataError
from headstart.scaling.manifest import open_manifest, write_manifest
from headstart.scaling.reading import read_uri
from headstart.scaling.sources import listed


def test_rows_come_back_across_chunks(tmp_path):
    rows = [(f"/p/{i}", None if i % 5 == 0 else str(i % 3), f"g{i}" if i % 2 else None) for i in range(25)]
    made = write_manifest(tmp_path, iter(rows), 8)
    manifest = open_manifest(tmp_path)
    assert (manifest.count, manifest.sha256, manifest.classes) == (25, made.sha256, ("0", "1", "2"))
    assert [(c.number, c.first, c.count) for c in manifest.chunks()] == [(0, 0, 8), (1, 8, 8), (2, 16, 8), (3, 24, 1)]
    got = manifest.rows(5, 15)
    assert list(zip(got.uris, got.labels, got.groups, strict=True)) == rows[5:20]
    assert len(manifest.rows(24, 99)) == 1
    table = pyarrow.parquet.read_table(tmp_path / "manifest.parquet")
    assert table.column("id").to_pylist() == list(range(25))


def test_chunk_ids_depend_on_what_rows_say(tmp_path):
    def ids(name, rows):
        return [chunk.id for chunk in write_manifest(tmp_path / name, rows, 2).chunks()]

    rows = [("a", "x", None), ("b", "y", None), ("c", "x", None)]
    first = ids("one", rows)
    assert first == ids("two", rows)
    changed = ids("three", [rows[0], ("b", None, "y"), rows[2]])
    assert first[0] != changed[0] and first[1] == changed[1]


def test_nothing_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        write_manifest(tmp_path, [], 8)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_csv_and_parquet_say_the_same(tmp_path):
    (tmp_path / "list.csv").write_text("path;label;group\nsub/a.jpg;cat;1\ns3://bucket/b.jpg;dog;\n/abs/c.jpg;;2\n")
    table = {"uri": ["sub/a.jpg", "s3://bucket/b.jpg", "/abs/c.jpg"], "label": ["cat", "dog", None]}
    table["group"] = ["1", None, "2"]
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "list.parquet")
    expected = [
        (str(tmp_path / "sub/a.jpg"), "cat", "1"),
        ("s3://bucket/b.jpg", "dog", None),
        ("/abs/c.jpg", None, "2"),
    ]
    for name in ("list.csv", "list.parquet"):
        found = listed(tmp_path / name)
        assert list(found.rows()) == expected
        assert found.about >= 3


def test_without_a_place_the_columns_are_named(tmp_path):
    (tmp_path / "list.csv").write_text("name,label\nx,y\n")
    with pytest.raises(DataError, match=r'no column "uri" or "path".*name, label'):
        list(listed(tmp_path / "list.csv").rows())


def test_pictures_of_test_are_left_out_and_it_is_said(tmp_path):
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            fake_pictures(tmp_path / part / label, 2)
    found = listed(tmp_path)
    assert len(list(found.rows())) == 4
    assert any("4 pictures of test/" in note for note in found.notes)
    (tmp_path / "list.csv").write_text("path,label,split\na,x,train\nb,x,test\n")
    assert len(list(listed(tmp_path / "list.csv").rows())) == 1


def test_a_folder_without_classes_has_no_labels(tmp_path):
    fake_pictures(tmp_path / "flat", 3)
    assert [label for _, label, _ in listed(tmp_path / "flat").rows()] == [None] * 3


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="file names are Unicode there")
def test_a_name_that_is_no_unicode(tmp_path):
    for label in (b"a", b"b"):
        folder = os.fsencode(tmp_path) + b"/in/" + label
        os.makedirs(folder)
        with open(folder + b"/\xff.jpg", "wb") as file:
            file.write(b"content of " + label)
    manifest = write_manifest(tmp_path / "emb", listed(tmp_path / "in").rows(), 8)
    assert [read_uri(uri) for uri in manifest.rows(0, 8).uris] == [b"content of a", b"content of b"]
