"""Manifests as spreadsheets, scripts and people write them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from trees import plant

from headstart.data.scan import scan
from headstart.errors import DataError, MachineError


@pytest.fixture
def folder(tmp_path):
    return plant(tmp_path, "p/1.jpg", "p/2.jpg", "p/3.jpg", "p/4, five.jpg", "p/Möwe.jpg")


def write(folder: Path, text: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        scan(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_plain_csv_with_split_and_group(folder):
    text = 'path,label,split,group\np/1.jpg,b,train,g1\np/2.jpg,a,,g1\n"p/4, five.jpg",a,test,\n'
    samples = scan(write(folder, text))
    assert samples.classes == ("a", "b") and samples.labels.tolist() == [1, 0, 0]
    assert samples.parts.tolist() == ["train", "train", "test"]
    assert samples.groups.tolist() == ["g1", "g1", ""]
    assert samples.sources[2] == folder / "p/4, five.jpg" and samples.names[2] == "p/4, five.jpg"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath,label\r\np/1.jpg,1\r\np/2.jpg,02\r\n\r\n",
        "label;path\n1;p/1.jpg\n02;p/2.jpg\n",
        "Path\tLabel\n p/1.jpg \t 1 \np/2.jpg\t02\n",
        "path,label\np\\1.jpg,1\np\\2.jpg,02",
        "path,label\np/1.jpg,1\np/2.jpg,02\n".encode("utf-16"),
    ],
)
def test_marks_delimiters_line_ends_and_numbers_as_text(folder, text):
    samples = scan(write(folder, text))
    assert samples.classes == ("02", "1") and samples.labels.tolist() == [1, 0] and samples.groups is None


def test_absolute_paths_and_accents(folder):
    samples = scan(write(folder, f"path,label\n{folder}/p/1.jpg,a\np/Möwe.jpg,b\n"))
    assert samples.sources == (folder / "p/1.jpg", folder / "p/Möwe.jpg")


def test_one_message_lists_rows_and_reasons(folder):
    rows = ["p/gone.jpg,a", ",a", "p/1.jpg,", "p/2.jpg,NaN", "p/3.jpg,b"]
    said = refusal(write(folder, "path,label\n" + "\n".join(rows)))
    assert "4 of 5 rows cannot be used" in said
    for part in ("row 2: file not found (p/gone.jpg)", "row 3: no path", "row 4: no label", "row 5: no label"):
        assert part in said


def test_few_bad_rows_are_left_out_and_noted(folder):
    samples = scan(write(folder, "path,label,split\np/1.jpg,a,train\np/2.jpg,b,train\np/3.jpg,a,holdout\n"))
    assert len(samples) == 2
    assert any("row 4: unknown split 'holdout'" in note for note in samples.notes)


def test_repeated_rows_and_contradictions(folder):
    text = "path,label\np/1.jpg,a\np/1.jpg,a\np/2.jpg,a\np/2.jpg,b\np/3.jpg,b\np/Möwe.jpg,a\n"
    samples = scan(write(folder, text))
    assert samples.names == ("p/1.jpg", "p/3.jpg", "p/Möwe.jpg")
    assert samples.ignored == {"repeated row": 1}
    assert any("row 5: already in row 4 with another label" in note for note in samples.notes)


def test_a_group_in_train_and_test_is_noted(folder):
    text = "path,label,split,group\np/1.jpg,a,train,g\np/2.jpg,b,train,h\np/3.jpg,a,test,g\n"
    assert any("both in train and in test" in note for note in scan(write(folder, text)).notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,label\n1,a\n", 'no column "path" (the first row has: image_id, label)'),
        ("path,species\np/1.jpg,a\n", 'no column "label"'),
        ("", 'no column "path" (the first row has: nothing)'),
        ("path,label\n", "no rows"),
        ("path,label\np/1.jpg,a\np/2.jpg,a\n", "only one class"),
        ('path,label\n"p/1.jpg' + "x" * 200_000, "not a readable CSV"),
    ],
)
def test_unusable_lists(folder, text, said):
    assert said in refusal(write(folder, text))


def test_parquet(folder):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pyarrow.table({"path": ["p/1.jpg", "p/2.jpg", "p/3.jpg"], "label": [1.0, 2.0, None], "group": [7, 7, 8]})
    parquet.write_table(table, folder / "list.parquet")
    samples = scan(folder / "list.parquet")
    assert samples.classes == ("1", "2") and samples.groups.tolist() == ["7", "7"]
    assert any("row 3: no label" in note for note in samples.notes)
    assert "not a readable Parquet file" in refusal(write(folder, b"PAR1 nonsense", "bad.parquet"))


def test_parquet_without_pyarrow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MachineError, match="pip install"):
        scan(write(folder, b"PAR1", "list.parquet"))
