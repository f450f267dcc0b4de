"""The bytes behind a URI: a path of this machine, or what fsspec and its plug-ins can open."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from headstart.errors import MachineError
from headstart.images.printable import printable
from headstart.images.read import LIMITS, BadImageError, read_bytes
from headstart.scaling.extra import scale_package

_RETRIES = 3
_PAUSE = 0.2  # seconds; longer before every further try


def uri_of(path: Path) -> str:
    """How a path of this machine stands in a manifest: absolute; percent-encoded where it is no Unicode."""
    text = str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(text))
    return text


def path_of(uri: str) -> Path:
    """The path of this machine that `uri_of` wrote."""
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))
    return Path(uri)


def is_remote(uri: str) -> bool:
    """Whether `uri` names another place than a path of this machine (`s3://…`, `gs://…`, `memory://…`)."""
    return "://" in uri and not uri.startswith("file://")


def read_uri(uri: str) -> bytes:
    """Content of a picture; BadImageError (missing, unreadable, too large), MachineError when the place is gone.

    A remote place is asked three times: an outage must end the run, not mark every picture as bad.
    """
    if not is_remote(uri):
        return read_bytes(path_of(uri))
    fsspec = scale_package("fsspec")
    for attempt in range(_RETRIES):
        time.sleep(_PAUSE * attempt)
        try:
            return _read(fsspec, uri)
        except BadImageError:
            raise
        except FileNotFoundError:
            raise BadImageError("file not found", printable(uri)) from None
        except PermissionError:
            raise BadImageError("permission denied", printable(uri)) from None
        except IsADirectoryError:
            raise BadImageError("a folder", printable(uri)) from None
        except (ImportError, ValueError) as error:  # no plug-in for this kind of place
            raise MachineError(f"{printable(uri)} cannot be opened: {printable(str(error))}") from None
        except Exception as error:  # every plug-in has errors of its own
            last = error
    raise MachineError(
        f"cannot read {printable(uri)} ({printable(' '.join(str(last).split()))[:120]}): is the network there? Run the "
        "same command again, what was computed is kept"
    )


def _read(fsspec: Any, uri: str) -> bytes:
    with fsspec.open(uri, "rb") as file:
        content = bytes(file.read(LIMITS.max_bytes + 1))
    if len(content) > LIMITS.max_bytes:
        raise BadImageError(f"file too large (limit {LIMITS.max_bytes / 1e6:.0f} MB)", printable(uri))
    if not content:
        raise BadImageError("empty", printable(uri))
    return content
