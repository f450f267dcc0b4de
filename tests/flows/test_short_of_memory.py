"""Too little memory for training: smaller batches, then fewer candidates, then the first answer. Never a crash."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from commands import child, headstart
from hurry import FOLDER, arms

from headstart import api, finish
from headstart.finetune import cutcache, prefixcost

RACE = ("--budget", "28steps")


def no_memory(*_: object, **__: object) -> Any:
    raise MemoryError("out of memory")


def test_no_room_for_the_activations(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutcache, "build_cut_cache", no_memory)
    done = headstart("fit", few_digits, "--out", tmp_path / "r", "--train", "last-1", *RACE, "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["decision"]["train"] == "head"
    assert {c["why"] for c in arms(result) if c["status"] == "stopped"} == {"dropped: out of memory"}
    assert "out of memory" in result["decision"]["why"]
    assert headstart("predict", tmp_path / "r", next(few_digits.rglob("*.png"))).code == 0


@pytest.mark.slow
def test_room_for_the_later_cut_only(
    shuffled_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cutcache._allocate

    def small(n: int, shapes: dict[int, Any], *rest: Any) -> Any:
        return real(n, {cut: s for cut, s in shapes.items() if cut >= 6}, _without(rest[0]), *rest[1:])

    monkeypatch.setattr(cutcache, "_allocate", small)
    done = headstart("fit", shuffled_digits, "--out", tmp_path / "r", *RACE, "--json")
    assert done.code == 0, done.err
    by_amount = {(c["train"], c["status"]) for c in arms(done.json)}
    assert ("last-2", "stopped") in by_amount and ("last-2", "run") not in by_amount
    assert any(c["n"] for c in arms(done.json) if c["train"] == "last-1"), "what has room is still tried"


def _without(room: Any) -> Any:
    return type(room)({c: v for c, v in room.views.items() if c >= 6}, room.on_disk, room.dropped)


def test_not_even_room_to_measure(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefixcost, "measure_prefix", no_memory)
    done = headstart("fit", few_digits, "--out", tmp_path / "r", "--train", "last-1", *RACE, "--json")
    assert done.code == 0, done.err
    assert done.json["race"]["ended"] == "out of memory"
    assert done.json["decision"]["train"] == "head"
    assert done.json["interrupted"] is False
    assert "memory" in done.err


def test_no_memory_to_save_what_was_trained(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = finish.finish

    def tight(run: Any, material: Any, answer: Any, decision: Any) -> Any:
        return real(run, material, answer, decision) if answer.train == "head" else no_memory()

    monkeypatch.setattr(finish, "finish", tight)
    done = headstart("fit", few_digits, "--out", tmp_path / "r", "--train", "last-1", *RACE, "--json")
    assert done.code == 0, done.err
    assert done.json["decision"]["train"] == "head"
    assert "memory" in done.json["race"]["ended"]
    assert headstart("predict", tmp_path / "r", next(few_digits.rglob("*.png"))).code == 0


LIMITED = f"""
import resource, sys
sys.path.insert(0, {FOLDER!r})
import hurry, torch, headstart.finetune.loop, headstart.backbone.timm_body
from headstart import pipeline

def used():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))

race = pipeline.race_for_more
def limited(*arguments):
    size = used() + int(sys.argv.pop(1)) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    return race(*arguments)

pipeline.race_for_more = limited
sys.exit(hurry.main(sys.argv[2:]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
@pytest.mark.parametrize("megabytes", [*(pytest.param(few, marks=pytest.mark.slow) for few in (20, 60)), 300])
def test_an_address_space_limit(few_digits: Path, tmp_path: Path, megabytes: int) -> None:
    run = tmp_path / "r"
    done = child(megabytes, "fit", few_digits, "--out", run, "--train", "all", "--budget", "12steps", code=LIMITED)
    assert done.code == 0, done.err
    result = api.result(run)
    assert result["decision"]["train"] in ("head", "all")
    if megabytes < 100:
        assert result["decision"]["train"] == "head", "that is not enough for training anything"
    if result["decision"]["train"] == "head":
        assert "memory" in result["race"]["ended"] + result["decision"]["why"]
    assert headstart("predict", run, next(few_digits.rglob("*.png"))).code == 0
