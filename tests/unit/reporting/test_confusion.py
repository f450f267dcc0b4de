"""What was taken for what: nothing is lost, whatever the number of classes."""

from __future__ import annotations

from pathlib import Path

from made_runs import made_run, result

from headstart.reporting.confusion import confusion
from headstart.reporting.files import read_files


def test_the_matrix_counts_every_picture(tmp_path: Path) -> None:
    files = read_files(made_run(tmp_path / "run", result(), 0))
    found = confusion(files.predicted, ["cat", "dog", "elk"], {("cat", "dog"): "cell-1"})
    assert found is not None and found.matrix is not None and not found.part
    assert [[c.n for c in row.cells] for row in found.matrix.rows] == [[16, 4, 0], [0, 16, 4], [4, 0, 16]]
    assert found.wrong == 12 and found.pairs[0] == ("cat", "dog", 4, 20)
    cells = [c for row in found.matrix.rows for c in row.cells]
    assert [c.key for c in cells if c.key] == ["cell-1"]
    assert all((c.shade > 0) == (c.n > 0) for c in cells)


def test_many_classes_are_listed_in_pages_and_cropped_to_the_confused(tmp_path: Path) -> None:
    names = [f"c{i:03}" for i in range(60)]
    files = read_files(made_run(tmp_path / "run", result(names, 5), 0))
    found = confusion(files.predicted, names, {})
    assert found is not None and found.part and found.matrix is not None
    assert [len(page) for page in found.pages] == [25, 25, 10]
    assert sum(n for page in found.pages for t in page for _, n in t.others) == found.wrong == 60
    assert len(found.matrix.names) <= 25 and len(found.pairs) == 20


def test_no_predictions_no_matrix(tmp_path: Path) -> None:
    files = read_files(made_run(tmp_path / "run", pictures=0, rows=[]))
    assert confusion(files.predicted, ["cat"], {}) is None


def test_a_damaged_table_counts_as_none(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", pictures=0)
    for content in (
        b"",
        b"path,label\na,b\n",
        b"\xff\xfe\x00",
        b"path,label,predicted,probability,probability_of_label\na,b,c,x,y\n",
    ):
        (run.folder / "predictions.csv").write_bytes(content)
        assert read_files(run).predicted.ids == ()
