"""Folders as people have them: what is a class, what is left aside, and what cannot be learned from."""

from __future__ import annotations

import os
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from trees import plant

from headstart.data.scan import scan
from headstart.errors import DataError


def refusal(data: Path) -> str:
    with pytest.raises(DataError) as caught:
        scan(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders_in_code_point_order_recursive(tmp_path):
    plant(tmp_path, "wren/2.PNG", "wren/deep/er/1.jpg", "Robin/b.webp", "Robin/a.jpeg", "10/x.gif", "9/x.bmp")
    samples = scan(tmp_path)
    assert samples.classes == ("10", "9", "Robin", "wren")
    assert samples.names == ("10/x.gif", "9/x.bmp", "Robin/a.jpeg", "Robin/b.webp", "wren/2.PNG", "wren/deep/er/1.jpg")
    assert samples.labels.tolist() == [0, 1, 2, 2, 3, 3]
    assert set(samples.parts) == {"train"} and samples.groups is None and samples.root == tmp_path
    assert samples.sources[5] == tmp_path / "wren/deep/er/1.jpg"
    assert [note for note in samples.notes if "sub-folders" in note]


def test_hidden_and_system_files_and_other_kinds_are_counted(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg", ".DS_Store", "a/Thumbs.db", "a/desktop.ini", "a/._1.jpg", "__MACOSX/a/1.jpg")
    plant(tmp_path, "a/.ipynb_checkpoints/1.jpg", "a/notes.txt", "b/README", "b/movie.mp4", "stray.jpg")
    samples = scan(tmp_path)
    assert samples.classes == ("a", "b") and len(samples) == 2
    assert samples.ignored == {
        ".mp4 file": 1,
        ".txt file": 1,
        "file without extension": 1,
        "hidden or system file": 6,
        "picture outside a class folder": 1,
    }


def test_split_folders(tmp_path):
    plant(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "Valid/a/1.jpg", "test/a/1.jpg", "test/b/1.jpg", "notes.txt")
    samples = scan(tmp_path)
    assert samples.classes == ("a", "b")
    assert samples.parts.tolist() == ["val", "test", "test", "train", "train"]
    assert any("class b is missing in val" in note for note in samples.notes)


def test_class_only_in_test_is_refused_but_may_be_judged(tmp_path):
    plant(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/c/1.jpg")
    assert "class c is only in test" in refusal(tmp_path)
    assert scan(tmp_path, to_learn=False).classes == ("a", "b", "c")


def test_class_only_in_val_is_learned(tmp_path):
    plant(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg")
    assert scan(tmp_path).classes == ("a", "b", "c")


def test_only_a_test_part_is_refused(tmp_path):
    assert "train pictures are needed" in refusal(plant(tmp_path, "test/a/1.jpg", "test/b/1.jpg"))


def test_classes_that_are_merely_named_train_and_test(tmp_path):
    samples = scan(plant(tmp_path, "train/1.jpg", "test/1.jpg"))
    assert samples.classes == ("test", "train") and set(samples.parts) == {"train"}
    assert any("taken as classes" in note for note in samples.notes)


def test_train_beside_another_folder_is_a_class(tmp_path):
    assert scan(plant(tmp_path, "train/a/1.jpg", "bus/1.jpg")).classes == ("bus", "train")


def test_unlabelled_test_pictures_are_left_out_and_said(tmp_path):
    samples = scan(plant(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/1.jpg", "test/2.jpg"))
    assert len(samples) == 2
    assert any("2 pictures in test" in note for note in samples.notes)


def test_empty_class_is_noted_and_left_out(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg", "c/readme.txt")
    (tmp_path / "d").mkdir()
    samples = scan(tmp_path)
    assert samples.classes == ("a", "b")
    assert any("no pictures in c, d" in note for note in samples.notes)


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system normalises by itself")
def test_twins_in_accents_are_one_class_twins_in_case_are_two(tmp_path):
    nfc, nfd = "M\u00f6we", unicodedata.normalize("NFD", "M\u00f6we")
    samples = scan(plant(tmp_path, f"{nfc}/1.jpg", f"{nfd}/2.jpg", "Cat/1.jpg", "cat/1.jpg"))
    assert samples.classes == ("Cat", "M\u00f6we", "cat")
    assert samples.labels.tolist().count(1) == 2
    assert any("one class" in note for note in samples.notes)
    assert any("upper and lower case" in note and "Cat, cat" in note for note in samples.notes)


def test_links_are_followed_loops_cut_dangling_counted(tmp_path):
    data = plant(tmp_path / "data", "a/1.jpg", "b/1.jpg")
    plant(tmp_path / "elsewhere", "x.jpg", "sub/y.jpg")
    (data / "a/file.jpg").symlink_to(tmp_path / "elsewhere/x.jpg")
    (data / "b/folder").symlink_to(tmp_path / "elsewhere")
    (data / "b/folder_again").symlink_to(tmp_path / "elsewhere")
    (data / "a/up").symlink_to(data)
    (data / "a/self").symlink_to(data / "a")
    (tmp_path / "elsewhere/sub/back").symlink_to(tmp_path / "elsewhere")
    (data / "a/gone.jpg").symlink_to("nowhere.jpg")
    (data / "a/loop.jpg").symlink_to("loop.jpg")
    samples = scan(data)
    assert samples.names == ("a/1.jpg", "a/file.jpg", "b/1.jpg", "b/folder/sub/y.jpg", "b/folder/x.jpg")
    assert samples.ignored == {"dangling link": 2, "link to a folder already walked": 4}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipe_named_jpg_is_listed_to_be_refused_later(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    assert "a/pipe.jpg" in scan(tmp_path).names


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_no_utf8_work_and_print(tmp_path):
    plant(tmp_path, "a/1.jpg", "b/1.jpg")
    folder = os.fsencode(tmp_path) + b"/c\xff"
    os.mkdir(folder)
    with open(folder + b"/new\nline\xe9.jpg", "wb") as file:
        file.write(b"content")
    samples = scan(tmp_path)
    assert samples.classes == ("a", "b", r"c\xff")
    assert samples.names[2] == r"c\xff/new\nline\xe9.jpg"
    assert samples.sources[2].read_bytes() == b"content"


def test_unreadable_folder_is_noted(tmp_path, monkeypatch):
    plant(tmp_path, "a/1.jpg", "b/1.jpg", "b/secret/2.jpg")
    real = os.scandir

    def scandir(path):
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("headstart.data.walk.os.scandir", scandir)
    samples = scan(tmp_path)
    assert len(samples) == 2 and samples.ignored == {"unreadable folder": 1}
    assert any("secret could not be read (permission denied)" in note for note in samples.notes)


def test_what_cannot_be_scanned_says_what_to_do(tmp_path):
    assert refusal(tmp_path / "nowhere").startswith("no such folder")
    (tmp_path / "empty").mkdir()
    assert "the folder is empty" in refusal(tmp_path / "empty")
    loose = refusal(plant(tmp_path / "loose", "1.jpg", "2.png"))
    assert "2 pictures but no class folders" in loose and "loose/robin/1.jpg" in loose and "CSV" in loose
    assert "only one class (a) with 2 pictures" in refusal(plant(tmp_path / "one", "a/1.jpg", "a/2.jpg"))
    assert "did you mean" in refusal(plant(tmp_path / "wrapped", "birds/a/1.jpg", "birds/b/1.jpg"))
    assert "no pictures found (left aside: 1 x .txt file" in refusal(plant(tmp_path / "text", "a/1.txt"))
    assert "unpack it first" in refusal(plant(tmp_path, "birds.zip") / "birds.zip")
    assert "neither a folder" in refusal(plant(tmp_path, "birds.jpg") / "birds.jpg")


def test_ten_thousand_pictures_cost_little_memory(tmp_path, monkeypatch):
    class Entry:
        def __init__(self, name):
            self.name, self.path = name, name

        def is_dir(self):
            return False

        is_symlink = is_dir

    class Listing(list):
        def __enter__(self):
            return iter(self)

        def __exit__(self, *args):
            return None

    plant(tmp_path, "a/1.jpg", "b/1.jpg")
    real = os.scandir
    many = Listing(Entry(f"picture_{i:07d}.jpg") for i in range(10_000))
    monkeypatch.setattr("headstart.data.walk.os.scandir", lambda p: many if Path(p).name == "a" else real(p))
    tracemalloc.start()
    samples = scan(tmp_path)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(samples) == 10_001 and np.bincount(samples.labels).tolist() == [10_000, 1]
    assert used / 10_001 < 900  # bytes: a million pictures stay below 1 GB
