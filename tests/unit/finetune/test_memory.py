"""Freed memory stays with the process, so the next step does not ask for it again."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from headstart.heap import keep_memory

# 10 allocations of 64 MB: page faults when each is given back to the system and asked for anew, none when kept
FAULTS = """
import resource, sys
import numpy as np
from headstart.heap import keep_memory
kept = sys.argv[1] == "keep" and keep_memory()
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**23)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(what: str) -> tuple[bool, int]:
    done = subprocess.run([sys.executable, "-c", FAULTS, what], capture_output=True, text=True, check=True)
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_kept_memory_is_not_asked_for_again() -> None:
    kept, few = faults("keep")
    _, many = faults("leave")
    assert kept
    # with huge pages 64 MB are 32 faults, without 16,384
    assert few < 0.2 * many


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert keep_memory() is False


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keep_memory() is False
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # without mallopt, as musl's
    assert keep_memory() is False
