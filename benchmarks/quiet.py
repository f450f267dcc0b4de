"""Is anything else running? A wall time beside foreign load is no measurement: look before, say what was seen."""

import os
import time
from pathlib import Path

LIMIT = 0.05  # share of all cores


def busy_seconds():
    """Core-seconds that all processes (and the hypervisor) have used since the start. None without /proc."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def foreign_share(seconds=2.0):
    """Share of all cores that others use during the next `seconds` (this process sleeps)."""
    before, start = busy_seconds(), time.monotonic()
    time.sleep(seconds)
    if before is None:
        return 0.0
    return (busy_seconds() - before) / ((time.monotonic() - start) * os.cpu_count())


def wait_until_quiet(record, patience=300.0):
    """Wait until foreign load is at most 5 %: at most `patience` seconds, and 20 once that was in vain.

    The record then says so. Returns the share that was seen last.
    """
    noisy = "the machine was not quiet before every run: foreign load stayed above 5 % however long was waited"
    deadline = time.monotonic() + (20.0 if noisy in record.content["notes"] else patience)
    while (share := foreign_share()) > LIMIT:
        if time.monotonic() > deadline:
            record.note(noisy)
            break
        print(f"foreign load {share:.0%}: waiting", flush=True)
        time.sleep(5)
    return share
