"""A checkpoint is complete or it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from headstart.errors import MachineError
from headstart.finetune.checkpoint import MARK, POSITION, STATE, Checkpoints


def saved(folder: Path, *steps: int, fingerprint: str = "a") -> Checkpoints:
    checkpoints = Checkpoints(folder, fingerprint)
    for step in steps:
        checkpoints.save(
            step, {"weights": torch.full((2, 3), float(step))}, {"epoch": step, "random": {"state": 2**127}}
        )
    return checkpoints


def test_tensors_and_position_come_back(tmp_path):
    checkpoints = saved(tmp_path, 5)
    found = checkpoints.read(checkpoints.latest())
    assert torch.equal(found.tensors["weights"], torch.full((2, 3), 5.0))
    assert found.position["epoch"] == 5 and found.position["random"] == {"state": 2**127}


def test_strided_tensors_come_back_with_their_values(tmp_path):
    tensor = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    Checkpoints(tmp_path, "a").save(1, {"w": tensor}, {})
    assert torch.equal(Checkpoints(tmp_path, "a").read(1).tensors["w"], tensor)


def test_the_newest_two_are_kept(tmp_path):
    checkpoints = saved(tmp_path, 9, 10, 100)
    assert checkpoints.latest() == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000010", "step-000000100"]


def test_nothing_there(tmp_path):
    assert Checkpoints(tmp_path / "none", "a").latest() == -1
    with pytest.raises(MachineError, match="every worker sees"):
        Checkpoints(tmp_path, "a").read(3)


@pytest.mark.parametrize("file", [STATE, POSITION, MARK])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_half_written_one_is_not_taken(tmp_path, file, damage):
    """The one before it is."""
    checkpoints = saved(tmp_path, 3, 6)
    path = tmp_path / "step-000000006" / file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-5] if damage == "cut" else content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    assert checkpoints.latest() == 3
    saved(tmp_path, 6)
    assert checkpoints.latest() == 6


def test_one_of_another_training_is_not_taken_and_makes_room(tmp_path):
    saved(tmp_path, 3, 6)
    other = Checkpoints(tmp_path, "b")
    assert other.latest() == -1
    saved(tmp_path, 3, fingerprint="b")
    assert other.latest() == 3 and Checkpoints(tmp_path, "a").latest() == -1


def test_what_a_killed_writer_left_is_swept(tmp_path):
    (tmp_path / ".tmp-dead").mkdir(parents=True)
    (tmp_path / ".tmp-dead" / STATE).write_bytes(b"half")
    checkpoints = saved(tmp_path, 4)
    assert checkpoints.latest() == 4 and [path.name for path in tmp_path.iterdir()] == ["step-000000004"]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="cannot be written"):
        saved(tmp_path / "file", 1)


def test_only_safetensors_and_json(tmp_path):
    saved(tmp_path, 1)
    names = {path.name for path in (tmp_path / "step-000000001").iterdir()}
    assert names == {"state.safetensors", "position.json", "COMPLETE"}
    assert json.loads((tmp_path / "step-000000001" / MARK).read_text("utf-8")).keys() == {STATE, POSITION}
