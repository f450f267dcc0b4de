"""The end of the process, also when a thread hangs in native code: Python would wait for it for ever."""

from __future__ import annotations

import os
import sys
import threading
import time

PATIENCE = 2.0  # seconds; a batch takes a tenth of one


def leave_if_stuck() -> None:
    """End the process with code 0 when a thread is still at work after PATIENCE; else return.

    By then every request has been answered or given up: nothing is lost.
    """
    deadline = time.monotonic() + PATIENCE
    waited_for = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in waited_for:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in waited_for):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
