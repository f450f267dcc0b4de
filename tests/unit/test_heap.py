"""Freed memory goes back where the C library can be told; nothing breaks where it cannot."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from headstart import heap

# Ten thousand pieces of 60 kB, every fiftieth of which stays: freed memory between them is not at the heap's end.
PROGRAM = """
from headstart.heap import give_back
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) // 1024
pieces = [b"x" * 60_000 for _ in range(10_000)]
pieces = pieces[::50]
before = resident()
give_back()
print(before, resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim") if sys.platform == "linux" else True, reason="glibc")
def test_freed_memory_between_pieces_in_use_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 500 and after < before - 400


@pytest.mark.parametrize("library", [OSError("no such file"), object()])
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    asked: list[str] = []

    def load(name: str) -> object:
        asked.append(name)
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    heap.give_back()
    assert not heap.keep_memory() and len(asked) in (0, 2)  # not even asked where the system is not Linux
