"""The packages of the extra `[scale]`, imported when they are needed and not before."""

from __future__ import annotations

import importlib
from typing import Any

from headstart.errors import MachineError


def scale_package(name: str) -> Any:
    """The module `name` (pyarrow, fsspec, ray, or one inside them); MachineError with what to install without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MachineError(f"this needs {name.split('.')[0]} ({error}): pip install 'headstart[scale]'") from None
