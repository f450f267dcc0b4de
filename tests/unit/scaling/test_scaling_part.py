"""A part is valid or not by itself, the same bytes whoever writes it, and gives back what went in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fake_embedders import begin, fake_pictures, hashing
from headstart.scaling.manifest import open_manifest
from headstart.scaling.part import DamagedPartError, check_part, part_path, read_part, write_part


@pytest.fixture
def written(tmp_path):
    """A folder with one part of 8 rows, of which row 3 is bad."""
    paths = fake_pictures(tmp_path / "in", 8, {3: b"bad"})
    spec = begin(tmp_path / "emb", paths, 8)
    manifest = open_manifest(tmp_path / "emb")
    chunk = manifest.chunks()[0]
    rows = manifest.rows(0, 8)
    columns, errors = hashing(spec)(rows.uris)
    path = part_path(tmp_path / "emb", chunk.id)
    write_part(path, chunk, rows, columns, errors, spec)
    return path, chunk, spec, rows, columns, errors


def test_what_goes_in_comes_out(written):
    path, _, _, rows, columns, errors = written
    part = read_part(path)
    assert part.ids.tolist() == list(range(8))
    assert (part.uris, part.labels, part.errors) == (rows.uris, rows.labels, errors)
    for name, column in columns.items():
        assert part.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(part.columns[name], column)
    only = read_part(path, ["vector.last"])
    assert list(only.columns) == ["vector.last"]


def test_a_bad_row_is_null_to_other_readers(written):
    import pyarrow.parquet as parquet

    table = parquet.read_table(written[0])
    assert table.column("vector.last").is_null().to_pylist() == [i == 3 for i in range(8)]
    assert table.column("key").is_null().to_pylist() == [i == 3 for i in range(8)]
    assert table.column("error").to_pylist()[3] == "damaged"
    assert len(table.column("vector.block0").to_pylist()[0]) == 3


def test_the_same_bytes_again(written, tmp_path):
    path, chunk, spec, rows, columns, errors = written
    again = tmp_path / "again.parquet"
    columns["vector.last"][3] = 7  # numbers of a bad row must not show
    write_part(again, chunk, rows, columns, errors, spec)
    assert again.read_bytes() == path.read_bytes()


def test_a_cut_file_and_a_flipped_bit_are_found(written, tmp_path):
    path, chunk, spec, *_ = written
    whole = path.read_bytes()
    check_part(path, chunk, spec, full=True)
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedPartError):
            check_part(path, chunk, spec)
    rng = np.random.default_rng(0)
    for at in rng.integers(4, len(whole) - 8, 40):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            tag = check_part(path, chunk, spec, full=True)
        except DamagedPartError:
            continue
        # The flip is in what no number depends on (a library's version in the footer): the content is the same.
        path.write_bytes(whole)
        assert tag == check_part(path, chunk, spec, full=True)


@pytest.mark.parametrize("fact", ["ok", "bad", "quarantined"])
def test_counts_that_are_not_those_of_the_rows_are_found(written, fact):
    """They stand in the footer beside the checksum, which is of the rows; a flipped bit makes 8 of 0."""
    path, chunk, spec, *_ = written
    tag = check_part(path, chunk, spec, full=True)
    count = getattr(tag, fact)
    content = path.read_bytes()
    told = f'"{fact}": {count}'.encode()
    assert told in content
    path.write_bytes(content.replace(told, f'"{fact}": {count ^ 8}'.encode()))
    with pytest.raises(DamagedPartError):
        check_part(path, chunk, spec, full=True)


def test_of_another_chunk_or_space_is_refused(written):
    path, chunk, spec, *_ = written
    for other, space in (
        (dataclasses.replace(chunk, id="000000-00000000"), spec),
        (chunk, dataclasses.replace(spec, weights_hash="x")),
        (dataclasses.replace(chunk, count=7), spec),
    ):
        with pytest.raises(DamagedPartError):
            check_part(path, other, space)
