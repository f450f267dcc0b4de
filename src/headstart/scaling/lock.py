"""The lock of an embedded folder: one driver at a time, on any machine that sees the folder."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headstart.cache_folder import TEMPORARY, write_to_cache
from headstart.errors import MachineError

NAME = "lock"
GUARD = ".lock-guard"
BEAT = 5.0  # seconds between signs of life
SILENT = 60.0  # seconds without one after which a driver on another machine counts as dead


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder/lock` (pid, host, token). MachineError, one line, when another driver that lives holds it.

    The lock of a dead driver is taken over: on this machine its process is gone, on another its heartbeat has stopped.
    """
    file, token = folder / NAME, secrets.token_hex(8)
    _take(file, token)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(file, ended), name="headstart-lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with suppress(OSError):
            if _holder(file).get("token") == token:
                file.unlink()


def _take(file: Path, token: str) -> None:
    """Read and replace under a lock of the system, which a dying process lets go of."""
    from filelock import FileLock, Timeout

    me = {"pid": os.getpid(), "host": socket.gethostname(), "token": token, "born": _born(os.getpid())}
    guard = FileLock(file.with_name(GUARD))
    try:
        with guard.acquire(timeout=10):
            holder = _holder(file)
            if holder and _lives(file, holder):
                raise MachineError(
                    f"{file.parent} is being worked on by process {holder.get('pid')} on {holder.get('host')}: wait "
                    f"for it, or end it and run the same command again"
                )
            write_to_cache(file, json.dumps(me).encode())
    except Timeout:
        raise MachineError(f"{file.parent} is being opened by another process: try again") from None


def _holder(file: Path) -> dict[str, Any]:
    """What the lock says; empty when there is none or it is damaged."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lives(file: Path, holder: dict[str, Any]) -> bool:
    if holder.get("host") == socket.gethostname() and os.name != "nt":
        pid = holder.get("pid")
        if not isinstance(pid, int) or pid < 1:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _born(pid) == holder.get("born")  # else the number belongs to another process by now
    return _silence(file) < SILENT


def _silence(file: Path) -> float:
    """Seconds since the last sign of life, by the clock of the file system."""
    probe = file.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _born(pid: int) -> str | None:
    """When a process started, in ticks since boot; None where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _beat(file: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(file)
