"""Ctrl-C that is not lost: C code that clears an error it did not expect also clears KeyboardInterrupt.

A destructor, a weak reference's callback or a `hasattr` within a library is enough (CPython's PyObject_HasAttr clears
every exception before 3.13). What was asked for is counted here, and loops that may run for minutes ask.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = 0


def count_interrupts() -> None:
    """Count what Ctrl-C asks for from here on; where another handler is at work, or off the main thread, nothing."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _count)


def asked() -> int:
    """How often Ctrl-C was pressed since `count_interrupts`."""
    return _asked


def raise_if_asked(since: int) -> None:
    """KeyboardInterrupt if Ctrl-C was pressed after `asked()` gave `since`."""
    if _asked > since:
        raise KeyboardInterrupt


def _count(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked += 1
    signal.default_int_handler(number, frame)
