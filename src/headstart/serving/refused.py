"""RefusedError: a request that is answered with an error; what the client reads is one JSON object."""

from __future__ import annotations

from typing import Any

from headstart.errors import HeadstartError


class RefusedError(HeadstartError):
    """`status` of HTTP, a `code` for programs, a message for people; never a path or a trace of this machine."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after

    @property
    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        return error_document(self.code, str(self))

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to this error."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return headers | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def error_document(code: str, message: str) -> dict[str, Any]:
    """The body of every error."""
    return {"error": {"code": code, "message": message}}


def busy() -> RefusedError:
    """The answer when no more can be taken at the moment."""
    return RefusedError(503, "busy", "the server is busy: try again in a second", retry_after=1)
