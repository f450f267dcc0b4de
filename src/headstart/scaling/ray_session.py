"""A connection to Ray: the one that is asked for, the one of this machine, or one started for this command only."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from headstart.engine.cores import usable_cores
from headstart.errors import MachineError
from headstart.images.printable import printable
from headstart.scaling.extra import scale_package

_STORE = 80_000_000  # bytes of Ray's object store, near the least it takes: pictures and vectors do not go through it
_SCRATCH = "headstart-ray-"
_SHORT = "/tmp"  # noqa: S108 - Ray's sockets lie below it, and a socket's path may have 100 letters; mkdtemp is private


@contextmanager
def connected(on: str) -> Iterator[Any]:
    """The module ray, connected to what `on` says; what was started here is gone afterwards.

    `ray`: the Ray of RAY_ADDRESS, or the one that `ray start` announced on this machine; without one, Ray is started
    for this process on the loopback interface, with token authentication and without dashboard. `ray://HOST:PORT`: a
    cluster, through the Ray client. A Ray that this process is connected to already is used and left as it is.
    Raises MachineError, one line: no Ray installed, nothing answers, another token, another version.
    """
    if os.name == "nt":
        raise MachineError("Ray on Windows is not supported here: say --on local, or work in WSL")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import, and for what Ray starts
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # what it holds back comes from our own thread, at the end
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do by itself; else it warns
    ray = scale_package("ray")
    if ray.is_initialized():
        yield ray
        return
    asked = os.environ.get("RAY_ADDRESS", "")
    address = next((named for named in (on, asked) if named.startswith("ray://")), None) or _announced()
    with ExitStack() as stack:
        stack.enter_context(_own_signals())
        stack.enter_context(redirect_stdout(cast("TextIO", _WithoutRay(sys.stdout))))
        scratch = stack.enter_context(_own_ray()) if address is None else None
        stack.callback(ray.shutdown)
        _connect(ray, address, scratch)
        yield ray


def _connect(ray: Any, address: str | None, scratch: str | None) -> None:
    """Connect to `address`, or start Ray with its files in `scratch`."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            ray.init(
                "local",
                include_dashboard=False,
                num_cpus=usable_cores(),
                object_store_memory=_STORE,
                _temp_dir=scratch,
                **quiet,
            )
        elif address.startswith("ray://"):
            scale_package("grpc")
            _through_client(ray, address, quiet)
        else:
            ray.init(**quiet)  # finds the address as we did; told it, Ray would not look for this machine's token
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"Ray at {address}" if address else "Ray cannot be started"
        raise MachineError(f"{where}: {_reason(error)}") from None


def _through_client(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    """The cluster starts a process for every client; one that does not come up in time is asked for once more."""
    try:
        ray.init(address, **quiet)
    except ConnectionError as error:
        if "Initialization failure" not in str(error):
            raise
        ray.shutdown()
        ray.init(address, **quiet)


def _announced() -> str | None:
    """The address of the Ray that RAY_ADDRESS or `ray start` on this machine names, if any."""
    services = scale_package("ray._private.services")
    try:
        found: str | None = services.canonicalize_bootstrap_address(None)
    except ValueError as error:
        raise MachineError(f"RAY_ADDRESS: {error}") from None
    return found


@contextmanager
def _own_ray() -> Iterator[str]:
    """Prepare for a Ray of our own: loopback only, a token that no file holds, a folder (yielded) that goes with it."""
    # Ray's switch for systems on which it does not form clusters makes every one of its processes listen on 127.0.0.1.
    constants = scale_package("ray._private.ray_constants")
    wanted = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        del wanted["RAY_AUTH_TOKEN"]
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    added[constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    before, clusters = dict(os.environ), constants.ENABLE_RAY_CLUSTER
    _tidy()
    scratch = tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir=_SHORT)
    try:
        os.environ.update(added)
        constants.ENABLE_RAY_CLUSTER = False
        _read_again()
        yield scratch
    finally:
        for name in added:
            del os.environ[name]
            if name in before:
                os.environ[name] = before[name]
        constants.ENABLE_RAY_CLUSTER = clusters
        _read_again()
        shutil.rmtree(scratch, ignore_errors=True)


def _read_again() -> None:
    """Ray reads how to authenticate once, and has done so by now."""
    raylet = scale_package("ray._raylet")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _tidy() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(_SHORT).glob(f"{_SCRATCH}*"):
        try:
            os.kill(int(folder.name.removeprefix(_SCRATCH).partition("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)  # those of other users cannot be removed
        except (ValueError, OSError):
            continue


def _reason(error: Exception) -> str:
    """One line of what Ray says, and what to do about the usual faults."""
    text = " ".join(printable(str(error)).split())
    if "uthenticat" in f"{text} {error.__cause__} {error.__context__}":
        return (
            "it wants its token: set RAY_AUTH_MODE=token and put the token of the cluster into RAY_AUTH_TOKEN or "
            "~/.ray/auth_token (ray get-auth-token shows it), or set RAY_ADDRESS=local to start another Ray"
        )
    if isinstance(error, ConnectionError):
        return f"nothing answers there ({text[:160]}): is the cluster running, is the address right?"
    return f"{text[:300]}"


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put the handler of SIGTERM back that Ray replaces."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        yield
    finally:
        if main and before is not None:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, before)


class _WithoutRay:
    """Standard output without what Ray's own threads print there: it belongs to the command."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """Pass `text` on unless a thread of Ray says it."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._out.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)
