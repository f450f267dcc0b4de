"""Hostile, damaged and half-written classifier folders (cases 55, 56, 76 to 81 and 85 of the fault list)."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from safetensors.numpy import save

from headstart.artefact import (
    DOCUMENT,
    FORMAT,
    MODEL,
    WEIGHTS,
    class_list_hash,
    pack,
    read_classifier,
    write_classifier,
)
from headstart.artefact.document import seal
from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError, MachineError
from tiny import tiny_artefact, tiny_layered_head


@pytest.fixture(scope="module")
def artefact():
    return tiny_artefact()


@pytest.fixture
def folder(tmp_path, artefact):
    write_classifier(tmp_path / "classifier", artefact)
    return tmp_path / "classifier"


def refused(folder, *words):
    """Reading is refused quickly, in one line, with exit code 4, and the message holds `words`."""
    start = time.perf_counter()
    with pytest.raises(ClassifierError) as caught:
        read_classifier(folder)
    assert time.perf_counter() - start < 2
    message = str(caught.value)
    assert caught.value.exit_code == 4 and "\n" not in message and len(message) < 800
    for word in words:
        assert word in message
    return message


def document(folder):
    return json.loads((folder / DOCUMENT).read_bytes())


def plant(folder, content=None, **files):
    """Replace files and make every checksum right again: what someone with bad intentions would do."""
    content = document(folder) if content is None else content
    for name, data in {WEIGHTS: files.get("weights"), MODEL: files.get("model")}.items():
        if data is not None:
            (folder / name).write_bytes(data)
            content["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / DOCUMENT).write_bytes(seal(content))


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [DOCUMENT, WEIGHTS, MODEL])
class TestDamage:
    def test_missing(self, folder, name):
        (folder / name).unlink()
        refused(folder, str(folder / name), "missing")

    def test_cut_short(self, folder, name):
        data = (folder / name).read_bytes()
        for length in (0, 1, 9, len(data) // 2, len(data) - 1):
            (folder / name).write_bytes(data[:length])
            if data[:length].strip() != data.strip():  # the last byte of the JSON is a line end
                refused(folder, name)

    def test_any_flipped_bit(self, folder, name):
        data = (folder / name).read_bytes()
        generator = random.Random(0)
        for _ in range(60):
            position, bit = generator.randrange(len(data)), generator.randrange(8)
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            (folder / name).write_bytes(flipped)
            try:
                read_classifier(folder)
            except ClassifierError as error:
                assert "classifier" in str(error)
            else:  # white space of the JSON is the only thing that may change
                assert name == DOCUMENT and json.loads(flipped) == json.loads(data)

    def test_grown(self, folder, name):
        with (folder / name).open("ab") as file:
            file.write(b"more")
        refused(folder, name)

    def test_a_folder_or_a_pipe_in_its_place(self, folder, name):
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder, name)
        (folder / name).rmdir()
        os.mkfifo(folder / name)  # opening it would wait for ever
        refused(folder, name, "not a regular file")

    def test_a_loop_of_links(self, folder, name):
        (folder / name).unlink()
        (folder / name).symlink_to(folder / name)
        refused(folder, name)

    def test_huge_and_empty(self, folder, name):
        """A sparse file of 3 GB is refused before it is read."""
        os.truncate(folder / name, 3 * 2**30)
        refused(folder, name, "bytes")


# --- the document ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content.update(temperature=3.0),
        lambda content: content["decision"].update(why="because I say so"),
        lambda content: content["preprocessing"].update(fit="crop"),
        lambda content: content.update(created="yesterday"),
    ],
)
def test_an_edit_by_hand_is_refused_and_named_so(folder, edit):
    content = document(folder)
    edit(content)
    (folder / DOCUMENT).write_text(json.dumps(content))
    refused(folder, DOCUMENT, "edited by hand")


@pytest.mark.parametrize("edit", [list.reverse, lambda names: names.__setitem__(0, "lion"), list.pop])
def test_an_edited_class_list_is_refused_and_named_so(folder, edit):
    content = document(folder)
    edit(content["classes"])
    (folder / DOCUMENT).write_text(json.dumps(content))
    refused(folder, DOCUMENT, "class list was edited by hand")


def test_a_class_list_edited_with_its_checksum_does_not_fit_its_hash(folder):
    content = document(folder)
    content["classes"].reverse()
    plant(folder, content)
    refused(folder, DOCUMENT, "class list that does not match its hash")


def test_a_class_list_edited_with_every_hash_does_not_fit_the_model(folder):
    content = document(folder)
    content["classes"].reverse()
    content["classes_sha256"] = class_list_hash(content["classes"])
    plant(folder, content)
    refused(folder, MODEL, "another class list")


def test_a_preprocessing_edited_with_every_hash_does_not_fit_the_model(folder):
    content = document(folder)
    content["preprocessing"]["fit"] = "crop"
    plant(folder, content)
    refused(folder, MODEL, "another preprocessing")


def test_indentation_may_change(folder, artefact):
    (folder / DOCUMENT).write_text(json.dumps(document(folder), indent=7, sort_keys=True))
    assert read_classifier(folder).classes == artefact.classes


def test_a_newer_format_asks_for_an_upgrade(folder):
    content = document(folder)
    content.update(format=FORMAT + 1, headstart="3.1.0", something_new={"a": 1})
    (folder / DOCUMENT).write_bytes(seal(content))
    refused(folder, "made by a newer headstart", "3.1.0", "upgrade")


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None, [1]])
def test_a_senseless_format_is_refused(folder, version):
    content = document(folder)
    content["format"] = version
    (folder / DOCUMENT).write_bytes(seal(content))
    refused(folder, DOCUMENT, "not a headstart classifier")


@pytest.mark.parametrize(
    "trick",
    [
        b'{"format": 1, "format": 1}',
        b'{"format": 1, "decision": {"a": 1, "a": 2}}',
        b'{"format": NaN}',
        b'{"format": 1, "temperature": -Infinity}',
        b'{"format": 1, "temperature": 1e400}',
        b'{"format": 1' + b"0" * 100_000 + b"}",
        b'{"format": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"a":' * 500_000 + b"1" + b"}" * 500_000,
        b"[1, 2]",
        b'"format"',
        b"",
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"format": 1}',
        b'{"format": 1} {"format": 1}',
        b"<!doctype html>",
        b"\x80\x04\x95.",
        b'{"format": 1}',
    ],
    ids=lambda trick: repr(trick[:30]),
)
def test_json_tricks(folder, trick):
    (folder / DOCUMENT).write_bytes(trick)
    refused(folder, DOCUMENT)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.update(surprise=1),
        lambda c: c.pop("decision"),
        lambda c: c.update(decision=[1]),
        lambda c: c.update(provenance="me"),
        lambda c: c.update(backbone=None),
        lambda c: c.update(preprocessing=[]),
        lambda c: c.update(depths="last"),
        lambda c: c.update(depths=[1]),
        lambda c: c.update(depths=[]),
        lambda c: c.update(temperature="2"),
        lambda c: c.update(temperature=-1.0),
        lambda c: c.update(temperature=True),
        lambda c: c.update(headstart=5),
        lambda c: c.update(files=[]),
        lambda c: c["files"].update({"../../etc/passwd": {"bytes": 1, "sha256": ""}}),
        lambda c: c["files"].pop(MODEL),
        lambda c: c["files"].update({MODEL: {"bytes": 1e3, "sha256": ["x"]}}),
        lambda c: c["files"][MODEL].update(sha256=5),
        lambda c: c.update({"\n" * 1000 + "x" * 10_000: 1}),
    ],
)
def test_a_sealed_document_with_wrong_content_is_refused(folder, edit):
    content = document(folder)
    edit(content)
    (folder / DOCUMENT).write_bytes(seal(content))
    refused(folder, "classifier")


@pytest.mark.parametrize("classes", [[], ["a"], [1, 2, 3], ["a", "a", "b"], "abc", {"a": 1}, ["", "a", "b"], [["a"]]])
def test_a_sealed_document_with_wrong_classes_is_refused(folder, classes):
    content = document(folder)
    content.update(classes=classes, classes_sha256=class_list_hash(list(classes)))
    (folder / DOCUMENT).write_bytes(seal(content))
    refused(folder)


@pytest.mark.parametrize("preprocessing", [{}, {"side": 32}, {"side": -1, "fit": "whole", "crop_share": 1.0},
                                           {"side": 32, "fit": "stretch", "crop_share": 1.0},
                                           {"side": 32, "fit": "whole", "crop_share": 0.9, "extra": 1}])  # fmt: skip
def test_unknown_preprocessing_is_refused_with_the_file_named(folder, artefact, preprocessing):
    content = document(folder)
    content["preprocessing"] = preprocessing
    plant(folder, content, model=with_metadata(artefact, preprocessing=json.dumps(preprocessing)))
    with pytest.raises(ClassifierError, match=r"classifier\.json: preprocessing"):
        Classifier.load(folder)


def with_metadata(artefact, **changes):
    model = onnx.load_from_string(artefact.model)
    for entry in model.metadata_props:
        entry.value = changes.get(entry.key, entry.value)
    return model.SerializeToString()


def test_a_model_for_another_side_is_refused_before_it_predicts(folder, artefact):
    content = document(folder)
    content["preprocessing"]["side"] = 64
    plant(folder, content, model=with_metadata(artefact, preprocessing=json.dumps(content["preprocessing"])))
    with pytest.raises(ClassifierError, match="of 32 pixels"):
        Classifier.load(folder).predict(np.zeros((40, 40, 3), np.uint8))


def test_a_model_that_does_not_run_is_refused_in_one_line(folder, artefact):
    model = onnx.load_from_string(artefact.model)
    next(node for node in model.graph.node if node.op_type == "Conv").op_type = "Nonsense"
    plant(folder, model=model.SerializeToString())
    with pytest.raises(ClassifierError, match="does not run") as caught:
        Classifier.load(folder).predict(np.zeros((40, 40, 3), np.uint8))
    assert "\n" not in str(caught.value)


# --- the head -------------------------------------------------------------------------------------------------------


def header(entries, tail=b""):
    text = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return struct.pack("<Q", len(text)) + text + tail


TENSOR = {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}
NAMES = ("weights", "bias", "mean", "scale")


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\x00" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{" * 100,
        header({}),
        header({name: TENSOR for name in NAMES}, b"\x00" * 24),  # overlapping
        header({name: {**TENSOR, "shape": [2**62, 4]} for name in NAMES}, b"\x00" * 24),
        header({name: {**TENSOR, "shape": [-3]} for name in NAMES}, b"\x00" * 24),
        header({name: {**TENSOR, "data_offsets": [0, 2**60]} for name in NAMES}, b"\x00" * 24),
        header({name: {**TENSOR, "data_offsets": [24, 0]} for name in NAMES}, b"\x00" * 24),
        header({name: {**TENSOR, "dtype": "I8"} for name in NAMES}, b"\x00" * 24),
        header({name: 5 for name in NAMES}),
        header({name: {} for name in NAMES}),
        header({name: {**TENSOR, "dtype": ["F64"]} for name in NAMES}),
        header({f"t{i}": TENSOR for i in range(100_000)}, b"\x00" * 24),
        header(b'{"weights": {}, "weights": {}}'),
        header(b'{"weights": {"dtype": NaN}}'),
        header(b"{" + b'"a":{' * 10_000),
        header(b"[]"),
        header(b"\xff{}"),
    ],
)
def test_hostile_safetensors(folder, hostile):
    plant(folder, weights=hostile)
    refused(folder, WEIGHTS)


@pytest.mark.parametrize(
    "edit",
    [
        lambda head: head.update(extra=np.zeros(3)),
        lambda head: head.pop("bias"),
        lambda head: head.update(weights=head["weights"].T.copy()),
        lambda head: head.update(bias=np.zeros(4)),
        lambda head: head.update(mean=np.zeros((1, head["mean"].size))),
        lambda head: head.update(weights=np.full_like(head["weights"], np.nan)),
        lambda head: head.update(bias=np.array([0, np.inf, 0])),
        lambda head: head.update(scale=np.zeros_like(head["scale"])),
        lambda head: head.update(bias=np.zeros(3, np.float16)),
        lambda head: head.update(bias=np.zeros(3, np.int64)),
        lambda head: head.update(weights=np.zeros((3, 0)), mean=np.zeros(0), scale=np.zeros(0)),
    ],
)
def test_a_head_that_cannot_be_right(folder, artefact, edit):
    head = dict(artefact.head)
    edit(head)
    plant(folder, weights=save({name: np.ascontiguousarray(tensor) for name, tensor in head.items()}))
    refused(folder, "classifier")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda head: head.pop("hidden0.weights"), (WEIGHTS, "should hold the tensors")),
        (lambda head: head.update({"hidden7.bias": np.zeros(3)}), (WEIGHTS, "should hold the tensors")),
        (lambda head: head.update({"hidden0.bias": head["hidden0.bias"][1:]}), ("hidden0.weights has shape",)),
        (lambda head: head.update({"hidden1.weights": head["hidden1.weights"][:, 1:]}), ("hidden1.weights has shape",)),
        (lambda head: head.update({"hidden1.weights": head["hidden1.weights"] * np.inf}), ("NaN or infinity",)),
        (lambda head: head.update({"hidden1.bias": np.zeros(4, np.int32)}), (WEIGHTS, "neither float32")),
        (lambda head: [head.pop(name) for name in list(head) if "hidden" in name], (WEIGHTS, "not of format 2")),
    ],
)
def test_extra_layers_that_cannot_be_right(tmp_path, edit, words):
    layered = tiny_artefact(head=tiny_layered_head(widths=(6, 4)))
    write_classifier(tmp_path / "classifier", layered)
    head = dict(layered.head)
    edit(head)
    plant(tmp_path / "classifier", weights=save({name: np.ascontiguousarray(head[name]) for name in head}))
    refused(tmp_path / "classifier", *words)


def test_extra_layers_in_a_file_of_the_first_format_are_refused(tmp_path):
    write_classifier(tmp_path / "classifier", tiny_artefact(head=tiny_layered_head()))
    plant(tmp_path / "classifier", {**document(tmp_path / "classifier"), "format": 1})
    refused(tmp_path / "classifier", WEIGHTS, "not of format 1")


class Canary:
    """Unpickling an instance makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("which", ["weights", "model"])
def test_a_pickle_under_another_name_is_never_run(folder, tmp_path, which):
    canary = tmp_path / "canary"
    plant(folder, **{which: pickle.dumps(Canary(canary))})
    refused(folder, {"weights": WEIGHTS, "model": MODEL}[which])
    assert not canary.exists()


# --- the model ------------------------------------------------------------------------------------------------------


def test_external_data_is_never_followed(folder, artefact, tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\x01" * 4096)
    model = onnx.load_from_string(artefact.model)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret.bin")
    plant(folder, model=model.SerializeToString())
    refused(folder, MODEL, "other files")


def test_a_model_with_other_inputs_is_refused(folder, artefact):
    model = onnx.load_from_string(artefact.model)
    model.graph.output[0].name = "logits"
    plant(folder, model=model.SerializeToString())
    refused(folder, MODEL, "inputs and outputs")


def test_every_byte_string_of_a_model_is_refused_or_read(folder, artefact):
    """Mutations with right checksums: refused in one line, never another exception."""
    generator = random.Random(1)
    for _ in range(150):
        data = bytearray(artefact.model)
        for _ in range(generator.randrange(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        plant(folder, model=bytes(data))
        try:
            read_classifier(folder)
        except ClassifierError as error:
            assert "\n" not in str(error)


# --- writing --------------------------------------------------------------------------------------------------------


def only_the_classifier(parent):
    return sorted(path.name for path in parent.iterdir()) == ["classifier"]


@pytest.mark.parametrize("call", ["fsync", "mkdir", "rename"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_full_disk_keeps_the_old_classifier(folder, artefact, monkeypatch, call, at):
    monkeypatch.setattr("headstart.artefact.write.RENAME_PATIENCE", 0.0)
    target = {"fsync": os, "mkdir": Path, "rename": Path}[call]
    real, count = getattr(target, call), 0

    def full(*args, **options):
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **options)

    monkeypatch.setattr(target, call, full)
    try:
        write_classifier(folder, dataclasses.replace(artefact, created="later"))
    except MachineError as error:
        assert error.exit_code == 5 and "No space left" in str(error) and str(folder) in str(error)
        monkeypatch.undo()
        assert read_classifier(folder).created == artefact.created
    else:
        monkeypatch.undo()
        assert count < at and read_classifier(folder).created == "later"
    assert only_the_classifier(folder.parent)


def test_a_really_full_disk(tmp_path, artefact):
    """RLIMIT_FSIZE stands in for it: the kernel refuses to write beyond it."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from tiny import tiny_artefact
        from headstart.artefact import write_classifier
        from headstart.errors import MachineError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        made = tiny_artefact()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            write_classifier(Path(sys.argv[1]), made)
        except MachineError as error:
            print("refused:", error)
    """
    write_classifier(tmp_path / "classifier", artefact)
    tests = Path(__file__).parents[1]
    arguments = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "classifier", tests]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused:") and "File too large" in done.stdout
    assert read_classifier(tmp_path / "classifier").created == artefact.created
    assert only_the_classifier(tmp_path)


def test_kill_at_every_step(tmp_path, artefact):
    """Die without any clean-up at every system call that matters; the old or the new classifier is always whole."""
    code = """
        import os, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        import dataclasses
        from headstart.artefact import read_classifier, write_classifier
        folder = Path(sys.argv[1])
        new = dataclasses.replace(read_classifier(folder), created="later")
        steps = 0
        def dying(target, name):
            real = getattr(target, name)
            def step(*args, **options):
                global steps
                steps += 1
                if steps == at:
                    os._exit(77)
                return real(*args, **options)
            setattr(target, name, step)
        dying(os, "fsync"), dying(Path, "rename"), dying(Path, "mkdir"), dying(os, "rmdir")
        for at in range(1, 40):
            steps = 0
            if (pid := os.fork()) == 0:
                write_classifier(folder, new)
                os._exit(0)
            died = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 77
            found = read_classifier(folder)
            print(at, died, found.created)
            if not died:
                break
            at = 0
            write_classifier(folder, dataclasses.replace(new, created="old"))
            assert read_classifier(folder).created == "old"
    """
    write_classifier(tmp_path / "classifier", dataclasses.replace(artefact, created="old"))
    tests = Path(__file__).parents[1]
    arguments = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "classifier", tests]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) > 7 and rows[-1][1] == "False"  # it died at each step, then one run got through
    versions = [row[2] for row in rows]
    assert set(versions) == {"old", "later"} and versions == sorted(versions, reverse=True)  # old, …, old, later, …


def test_what_kills_left_behind_is_cleaned_later(folder, artefact):
    for kind in ("tmp", "old"):
        left = folder.with_name(f".{kind}-classifier-000000000000")
        shutil.copytree(folder, left)
        os.utime(left, (time.time() - 7200,) * 2)
    write_classifier(folder, artefact)
    assert only_the_classifier(folder.parent)


def test_the_files_are_as_packed(folder, artefact):
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == pack(artefact)
