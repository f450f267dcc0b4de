"""The classifier folder: what goes in comes out, and what must not come out does not."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import save

from headstart.artefact import DOCUMENT, MODEL, WEIGHTS, pack, read_classifier, unpack, write_classifier
from headstart.artefact.onnx_file import inspect_onnx
from headstart.artefact.record import HEAD_TENSORS
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError, HeadstartError, MachineError
from tiny import CLASSES, tiny_artefact, tiny_layered_head


@pytest.fixture(scope="module")
def artefact():
    return tiny_artefact()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def same(a, b):
    plain = [field.name for field in dataclasses.fields(a) if field.name != "head"]
    assert all(getattr(a, name) == getattr(b, name) for name in plain)
    assert a.head.keys() == b.head.keys()
    assert all(
        np.array_equal(a.head[name], b.head[name]) and a.head[name].dtype == b.head[name].dtype for name in a.head
    )
    return True


def test_what_is_written_is_read(tmp_path, artefact):
    write_classifier(tmp_path / "run" / "classifier", artefact)
    assert same(read_classifier(tmp_path / "run" / "classifier"), artefact)
    assert sorted(path.name for path in (tmp_path / "run" / "classifier").iterdir()) == [DOCUMENT, MODEL, WEIGHTS]
    assert leftovers(tmp_path / "run") == []


@pytest.mark.parametrize("widths", [(6,), (6, 4), (5,) * 8])
def test_a_head_with_extra_layers_is_written_and_read(tmp_path, widths):
    layered = tiny_artefact(head=tiny_layered_head(widths=widths))
    write_classifier(tmp_path / "c", layered)
    found = read_classifier(tmp_path / "c")
    assert same(found, layered) and len(found.head) == 4 + 2 * len(widths)
    assert json.loads((tmp_path / "c" / DOCUMENT).read_bytes())["format"] == 2
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert Classifier.load(tmp_path / "c").run(pixels).shape == (2, len(CLASSES))


def test_the_files_of_a_linear_head_are_what_they_always_were():
    """Format 1 and four tensors: versions before extra layers keep reading linear heads."""
    artefact = tiny_artefact()
    files = pack(artefact)
    assert files[WEIGHTS] == save({name: np.asarray(artefact.head[name]) for name in HEAD_TENSORS})
    assert json.loads(files[DOCUMENT])["format"] == 1
    assert inspect_onnx(artefact.model).metadata["format"] == "1"


@pytest.mark.parametrize("name", ["Žluťoučký kůň", "a\nb", "\udcff", "<script>", "日本", '"', " "])
def test_any_class_name_survives(tmp_path, artefact, name):
    renamed = dataclasses.replace(tiny_artefact(classes=("x", name, "z")))
    write_classifier(tmp_path / "c", renamed)
    assert read_classifier(tmp_path / "c").classes == ("x", name, "z")


def test_the_files_travel_in_memory(artefact):
    files = pack(artefact)
    assert same(unpack(files, "a pickle"), artefact)
    files[MODEL] = files[MODEL][:-1]
    with pytest.raises(ClassifierError, match="a pickle"):
        unpack(files, "a pickle")


def test_a_new_classifier_replaces_the_old_one_completely(tmp_path, artefact):
    folder = tmp_path / "c"
    write_classifier(folder, artefact)
    (folder / "stray.txt").write_text("left by hand")
    write_classifier(folder, dataclasses.replace(artefact, created="later"))
    assert read_classifier(folder).created == "later"
    assert not (folder / "stray.txt").exists() and leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"classes": ("one",)},
        {"classes": ("a", "a", "b")},
        {"depths": ()},
        {"created": 5},
    ],
)
def test_a_senseless_classifier_is_never_written(artefact, change):
    with pytest.raises(ValueError):
        dataclasses.replace(artefact, **change)


@pytest.mark.parametrize("name", ["weights", "bias", "mean", "scale"])
@pytest.mark.parametrize("spoil", ["nan", "shape", "dtype", "missing"])
def test_a_senseless_head_is_never_written(artefact, name, spoil):
    head = dict(artefact.head)
    tensor = head.pop(name)
    if spoil == "nan":
        head[name] = np.where(np.arange(tensor.size).reshape(tensor.shape) == 0, np.nan, tensor)
    elif spoil == "shape":
        head[name] = tensor[:-1]
    elif spoil == "dtype":
        head[name] = tensor.astype(np.float16)
    with pytest.raises(ValueError, match="head"):
        dataclasses.replace(artefact, head=head)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda head: head.pop("hidden0.bias"), "should hold the tensors"),
        (lambda head: head.pop("hidden0.weights") is head.pop("hidden0.bias"), "numbered from 0"),
        (lambda head: head.update({"hidden2.bias": np.zeros(4)}), "should hold the tensors"),
        (lambda head: head.update({f"hidden{i}.{p}": np.zeros(4) for i in range(9) for p in ("weights", "bias")}), "9"),
        (lambda head: head.update({"hidden1.bias": head["hidden1.bias"][:-1]}), "hidden1.weights has shape"),
        (lambda head: head.update({"hidden1.weights": head["hidden1.weights"].T.copy()}), "hidden1.weights has shape"),
        (lambda head: head.update({"hidden0.weights": head["hidden0.weights"][:, 1:]}), "hidden0.weights has shape"),
        (lambda head: head.update({"hidden0.bias": head["hidden0.bias"][None]}), "hidden0.bias has shape"),
        (lambda head: head.update({"weights": head["weights"][:, 1:]}), "weights has shape"),
        (lambda head: head.update({"hidden0.weights": head["hidden0.weights"] * np.nan}), "NaN"),
        (lambda head: head.update({"hidden1.bias": head["hidden1.bias"].astype(np.float16)}), "neither float32"),
        (
            lambda head: head.update({"hidden1.bias": np.zeros(0), "hidden1.weights": np.zeros((0, 6)),
                                      "weights": np.zeros((3, 0))}),
            "has shape",
        ),
    ],
)  # fmt: skip
def test_senseless_extra_layers_are_never_written(spoil, complaint):
    artefact = tiny_artefact(head=tiny_layered_head(widths=(6, 4)))
    head = dict(artefact.head)
    spoil(head)
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(artefact, head=head)


def test_a_failing_check_keeps_the_old_classifier(tmp_path, artefact):
    folder = tmp_path / "c"
    write_classifier(folder, artefact)

    def refuse(fresh):
        assert read_classifier(fresh).created == "later"  # the check sees a complete folder
        raise HeadstartError("it predicts something else")

    with pytest.raises(HeadstartError, match="something else"):
        write_classifier(folder, dataclasses.replace(artefact, created="later"), check=refuse)
    assert same(read_classifier(folder), artefact) and leftovers(tmp_path) == []


def test_an_interrupted_swap_is_read_through_and_mended(tmp_path, artefact):
    folder = tmp_path / "c"
    write_classifier(folder, artefact)
    folder.rename(tmp_path / ".old-c-0123456789ab")  # what a kill between the two renames leaves
    (tmp_path / ".tmp-c-0123456789ab").mkdir()
    assert same(read_classifier(folder), artefact)

    def refuse(_):
        raise HeadstartError("no")

    with pytest.raises(HeadstartError):
        write_classifier(folder, artefact, check=refuse)
    assert same(read_classifier(folder), artefact) and (folder / DOCUMENT).exists()


def test_only_old_leftovers_are_removed(tmp_path, artefact):
    young, old = tmp_path / ".tmp-c-young", tmp_path / ".tmp-c-old"
    other = tmp_path / ".tmp-other-old"
    for leftover in (young, old, other):
        leftover.mkdir()
        (leftover / MODEL).write_bytes(b"half")
    for leftover in (old, other):
        os.utime(leftover, (time.time() - 1e5,) * 2)
    write_classifier(tmp_path / "c", artefact)
    assert young.exists() and other.exists() and not old.exists()


def test_a_run_with_a_pattern_in_its_name_touches_no_other(tmp_path, artefact):
    neighbour = tmp_path / ".old-ca-1"
    write_classifier(neighbour, artefact)
    with pytest.raises(ClassifierError):
        read_classifier(tmp_path / "c[a]")
    write_classifier(tmp_path / "c[a]", artefact)
    assert neighbour.exists()


def test_readers_never_see_a_half_swapped_classifier(tmp_path, artefact):
    folder = tmp_path / "c"
    other = dataclasses.replace(tiny_artefact(classes=("x", "y", "z")), created="x")
    write_classifier(folder, artefact)
    stop, seen, failures = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            try:
                seen.add(read_classifier(folder).classes)
            except Exception as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(40):
            write_classifier(folder, (other, artefact)[turn % 2])
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert failures == []
    assert seen == {artefact.classes, other.classes}


def test_two_writers_leave_one_whole_classifier(tmp_path, artefact):
    folder = tmp_path / "c"
    failures = []

    def write(turns):
        try:
            for turn in range(turns):
                write_classifier(folder, dataclasses.replace(artefact, created=str(turn)))
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(15,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert read_classifier(folder).classes == artefact.classes
    assert leftovers(tmp_path) == []


def test_the_folder_may_be_a_link(tmp_path, artefact):
    (tmp_path / "real").mkdir()
    write_classifier(tmp_path / "real" / "c", artefact)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "c", target_is_directory=True)
    write_classifier(tmp_path / "link", dataclasses.replace(artefact, created="later"))
    assert (tmp_path / "link").is_symlink()
    assert read_classifier(tmp_path / "real" / "c").created == "later"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs permissions that bind")
def test_no_permission_is_exit_5(tmp_path, artefact):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(MachineError, match="Permission denied"):
        write_classifier(tmp_path / "locked" / "c", artefact)


def test_a_file_in_the_way_is_replaced_only_by_a_whole_folder(tmp_path, artefact):
    write_classifier(tmp_path / "c", artefact)
    shutil.rmtree(tmp_path / "c")
    (tmp_path / "c").write_text("not a folder")
    write_classifier(tmp_path / "c", artefact)
    assert same(read_classifier(tmp_path / "c"), artefact)
