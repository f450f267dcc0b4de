"""The profile: every second belongs to one part, whatever happens, and their sum is the wall time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import clock as clock_module
from headstart import profile
from headstart.cli.profile import PARTS, profile_lines
from headstart.clock import Clock, process_start
from headstart.profile import Profile, Recorder, Row, Seconds


class Time:
    """Both clocks, moved by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall, self.cpu = 100.0, 7.0
        patch.setattr(Seconds, "now", lambda: Seconds(self.wall, self.cpu))

    def go(self, wall: float, cpu: float = 0.0) -> None:
        self.wall, self.cpu = self.wall + wall, self.cpu + cpu


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def seconds(found: Profile) -> dict[tuple[str, str], float]:
    return {(row.phase, row.part): pytest.approx(row.seconds) for row in found.rows}


def test_start_phases_parts_and_what_lies_between(passing: Time) -> None:
    clock = Clock(Seconds(98.0, 0.0))
    passing.go(1)  # 3 s after the start the first phase begins
    with clock("scan"):
        passing.go(0.5, 0.25)
    passing.go(0.125)
    with clock("embed"):
        passing.go(2)
        with profile.part("prepare"):
            passing.go(4)
            with profile.part("deeper"):
                passing.go(8)
            passing.go(4)
        passing.go(2)
    with clock("race"):
        passing.go(10)
    with clock("refit"):
        passing.go(1)
    found = clock.profile()
    assert seconds(found) == {
        ("start", "start"): 3, ("scan", "scan"): 0.5, ("other", "other"): 0.125, ("embed", "cache"): 4,
        ("embed", "prepare"): 8, ("embed", "deeper"): 8, ("race", "train"): 10, ("refit", "train"): 1,
    }  # fmt: skip
    assert found.parts()["train"] == 11 and found.cores is None
    assert found.seconds == 34.625 == sum(row.seconds for row in found.rows)
    assert [row.core_seconds for row in found.rows] == [7, 0.25, 0, 0, 0, 0, 0, 0]


def test_giving_memory_back_belongs_to_the_phase_that_ends(passing: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in its own seconds; not to what lies between phases."""
    monkeypatch.setattr(clock_module, "give_back", lambda: passing.go(0.25))
    clock = Clock(Seconds(100.0, 7.0))
    with clock("scan"):
        passing.go(0.5)
    with pytest.raises(ValueError, match="no pictures"), clock("race"):
        raise ValueError("no pictures")
    assert seconds(clock.profile()) == {("scan", "scan"): 0.75, ("race", "train"): 0.25}


def test_a_pass_is_shared_out_in_wall_seconds_and_leaves_its_phase(passing: Time) -> None:
    clock = Clock()
    with clock("embed"):
        passing.go(1, 1)
        passing.go(10, 16)
        recorder = profile.current()
        assert recorder
        recorder.share_out(10.0, 2, {"decode": 4.0, "resize": 2.0, "compute": 10.0})
        passing.go(0.5)
    found = clock.profile()
    expected = {"cache": 1.5, "decode": 2, "resize": 1, "compute": 5, "wait": 2}
    assert found.parts() == pytest.approx(expected)
    assert found.cores == 2
    assert {row.part: row.core_seconds for row in found.rows} == pytest.approx(
        {"cache": 1, "decode": 4, "resize": 2, "compute": 10, "wait": 0}
    )


def test_more_cores_used_than_there_are_still_adds_up(passing: Time) -> None:
    clock = Clock()
    with clock("embed"):
        passing.go(3, 9)
        recorder = profile.current()
        assert recorder
        recorder.share_out(3.0, 2, {"decode": 3.0, "compute": 6.0})
    assert clock.profile().parts() == pytest.approx({"decode": 1, "compute": 2})


def test_a_pass_within_a_part_belongs_to_its_phase(passing: Time) -> None:
    clock = Clock()
    with clock("finish"), profile.part("prove"):
        passing.go(2, 2)
        recorder = profile.current()
        assert recorder
        recorder.share_out(1.0, 1, {"compute": 1.0})
    assert seconds(clock.profile()) == {("finish", "prove"): 1, ("finish", "compute"): 1}


def test_an_interrupted_phase_is_counted_and_what_follows_is_not_its(passing: Time) -> None:
    clock = Clock()
    with pytest.raises(KeyboardInterrupt), clock("race"), profile.part("prepare"):
        passing.go(5)
        raise KeyboardInterrupt
    passing.go(1)
    assert clock.profile().parts() == {"prepare": 5, "other": 1}
    assert profile.current() is None


def test_outside_of_phases_there_is_no_recorder_and_parts_do_nothing() -> None:
    with profile.part("prepare"):
        assert profile.current() is None
    clock = Clock()
    with profile.part("prepare"), clock("scan"):
        assert profile.current() is not None
    assert profile.current() is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["phase", "part", "leave", "pass"]), st.floats(0, 50), st.floats(0, 100), st.floats(0, 60)
    ),
    max_size=30,
)


@given(STEPS, st.integers(1, 8))
def test_whatever_happens_the_parts_add_up(steps: list[tuple[str, float, float, float]], cores: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        passing = Time(patch)
        recorder = Recorder(Seconds.now())
        entered = []
        for kind, wall, cpu, told in steps:
            passing.go(wall, cpu)
            if kind in ("phase", "part"):
                entered.append(recorder.inside("phase" if kind == "phase" else None, f"part {wall:.0f}"))
                entered[-1].__enter__()
            elif kind == "leave" and entered:
                entered.pop().__exit__(None, None, None)
            elif kind == "pass":
                recorder.share_out(told, cores, {"decode": 0.5 * cpu, "compute": 0.25 * cpu})
        while entered:
            entered.pop().__exit__(None, None, None)
        found = recorder.profile()
        assert found.seconds == pytest.approx(sum(wall for _, wall, _, _ in steps))
        assert sum(row.seconds for row in found.rows) == pytest.approx(found.seconds)
        assert all(row.seconds >= 0 for row in found.rows)


# --- when a process began -------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel says so on Linux only")
def test_the_start_of_a_process_is_what_the_kernel_says() -> None:
    code = "import time; time.sleep(0.3); from headstart.clock import process_start; print(process_start().wall)"
    before = time.perf_counter()  # one clock for all processes of the machine
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        after = time.perf_counter()
        began = float(process.communicate(timeout=60)[0])
    assert before - 0.02 <= began <= after + 0.02


def stat(began: object) -> bytes:
    """What the kernel writes about a process with brackets in its name; `began` in ticks since the machine started."""
    return b"1 (a) b)) S " + b"0 " * 18 + f"{began} 0 0\n".encode()


@pytest.mark.parametrize("content", [b"", b"1 (python) S", stat("soon"), stat(0), stat(10**15)])
def test_without_a_believable_answer_it_is_the_import(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stat").write_bytes(content)
    assert process_start(tmp_path / "stat") == clock_module._IMPORTED
    assert process_start(tmp_path / "none") == clock_module._IMPORTED


# --- what the console shows -----------------------------------------------------------------------------------------


def test_the_table_names_every_part_and_what_phases_consist_of() -> None:
    rows = (
        Row("start", "start", 1.0, 1.0),
        Row("embed", "cache", 0.001, 0.0),
        Row("embed", "decode", 1.0, 2.0),
        Row("embed", "compute", 5.0, 10.0),
        Row("finish", "compute", 1.0, 2.0),
        Row("new", "unheard of", 2.0, 2.0),
    )
    lines = profile_lines(Profile(10.0, 2, rows).to_json())
    assert lines[0] == "Where 10.00 s went. What ran side by side on 2 cores is shared out."
    told = {line.split()[0]: line for line in lines[2 : lines.index("", 2)]}
    assert "6.00 s  60.0 %  the network" in told["compute"]
    assert list(told) == ["start", "decode", "compute", "unheard"], "in the order of the story, the unknown last"
    phases = lines[lines.index("", 2) + 1 :]
    assert phases == [
        "  start           1.00 s",
        "  embed           6.00 s: compute 5.00, decode 1.00",
        "  finish          1.00 s: compute 1.00",
        "  new             2.00 s: unheard of 2.00",
    ]
    assert set(profile.OWN.values()) <= set(PARTS)


def test_a_run_without_a_profile_says_so() -> None:
    assert profile_lines(None) == ["No profile: this run was finished without --profile."]
