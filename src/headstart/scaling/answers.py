"""What a worker says when it is asked: plain data, so that no exception has to travel between processes."""

from __future__ import annotations

from typing import Any

from headstart import errors
from headstart.errors import DataError, HeadstartError, MachineError, UsageError

Answer = dict[str, Any]


def refusal(error: HeadstartError) -> Answer:
    """The answer of a worker that raised `error`."""
    kinds = (UsageError, DataError, MachineError)
    kind = next((kind.__name__ for kind in kinds if isinstance(error, kind)), "MachineError")
    return {"error": kind, "message": str(error)}


def checked(answer: Answer) -> Answer:
    """The answer; raises the worker's HeadstartError as its own kind."""
    if "error" in answer:
        raised: HeadstartError = getattr(errors, answer["error"], MachineError)(answer["message"])
        raise raised
    return answer
