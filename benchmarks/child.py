"""Run one process and measure it: wall seconds, CPU seconds, peak memory, foreign load meanwhile."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import quiet

PYTHON = sys.executable
HEADSTART = (PYTHON, "-m", "headstart")
NOT_PASSED_ON = ("CI", "HEADSTART_CACHE", "PYTHONDONTWRITEBYTECODE")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Finished:
    """`peak_mb`: the largest process of the tree (kernel's figure). `tree_mb`: the whole tree, sampled, shared pages
    counted once per process; `whole_mb`: each counted once (what the machine has to have), None where the system does
    not tell. `foreign`: share of all cores used by others while it ran."""

    code: int
    wall: float
    cpu: float
    peak_mb: float
    tree_mb: float
    foreign: float | None
    stdout: str
    stderr: str
    samples: tuple = ()  # (seconds since start, MB of the tree)
    whole_mb: float | None = None

    def figures(self):
        """What a record keeps."""
        kept = asdict(self)
        return {k: kept[k] for k in ("wall", "cpu", "peak_mb", "tree_mb", "whole_mb", "foreign")}


def environment(home, cache=None, **more):
    """The caller's environment with HOME and every cache in `home`, so that nothing is warm by accident.

    Python keeps what it compiled, as it does for everyone who does not forbid it.
    """
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k not in NOT_PASSED_ON and not k.startswith("XDG_")}
    moved = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    if cache is not None:
        moved["HEADSTART_CACHE"] = str(cache)
    return kept | moved | {k: str(v) for k, v in more.items()}


def run(command, env=None, timeout=1800.0, check=True):
    """Run `command` to its end. A code other than 0 stops the benchmark, unless `check` is False."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        busy, own, start = quiet.busy_seconds(), time.process_time(), time.monotonic()
        process = subprocess.Popen([str(c) for c in command], env=env, stdout=out, stderr=err, start_new_session=True)
        sampler = Sampler(process.pid, every=0.25)
        whole = Sampler(process.pid, every=1.0, measure=whole_mb)
        killer = threading.Timer(timeout, kill, [process])
        killer.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        samples, wholes = sampler.stop(), whole.stop()
        cpu = used.ru_utime + used.ru_stime
        foreign = None
        if busy is not None:
            others = quiet.busy_seconds() - busy - cpu - (time.process_time() - own)
            foreign = max(0.0, others / (wall * os.cpu_count()))
        texts = [_text(f) for f in (out, err)]
    if check and process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{texts[1][-2000:]}")
    peak = used.ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)
    tree = max([m for _, m in samples], default=0.0)
    largest = max([m for _, m in wholes], default=None)
    return Finished(process.returncode, wall, cpu, peak, tree, foreign, *texts, tuple(samples), largest)


def kill(process):
    """SIGKILL to the process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Sampler:
    """Memory of a process and its descendants, in MB, every so many seconds: [(seconds since start, MB)].

    Looking takes a hundredth of a core at most: after a look that took long the next one is later.
    """

    def __init__(self, pid, every, measure=None):
        self._pid, self._every, self._measure, self._samples = pid, every, measure or tree_mb, []
        self._end, self._start = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self):
        """End sampling and return what was seen."""
        self._end.set()
        self._thread.join()
        return self._samples

    def _watch(self):
        took = 0.0
        while not self._end.wait(max(self._every, 100 * took)):
            began = time.thread_time()
            if memory := self._measure(self._pid):
                self._samples.append((time.monotonic() - self._start, memory))
            took = time.thread_time() - began


def tree_mb(pid):
    """Resident memory now of `pid` and its descendants, MB; 0 when it is gone (or without /proc)."""
    return sum(int(text.split()[1]) * PAGE for text in of_tree(pid, "statm")) / 2**20


def whole_mb(pid):
    """Memory now of `pid` and its descendants together, MB, pages that they share counted once; 0 as above."""
    texts = of_tree(pid, "smaps_rollup")
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("Pss:")) / 2**10


def of_tree(pid, name):
    """The text of /proc/PID/`name` of a process and of each of its descendants, as far as they are still there."""
    queue = [str(pid)]
    while queue:
        folder = Path("/proc") / queue.pop()
        with contextlib.suppress(OSError):
            yield (folder / name).read_text()
            queue += [c for task in (folder / "task").iterdir() for c in (task / "children").read_text().split()]


def own_cpu():
    """CPU seconds of this process, threads included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")
