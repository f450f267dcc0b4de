"""What the API's documents look like, for /openapi.json."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Heat(BaseModel):
    """Where most spoke for the class: `values` 0..255, row by row; `box` is the part of the picture they lie on."""

    rows: int
    columns: int
    values: list[int]
    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom; fractions of the picture")


class Neighbour(BaseModel):
    """A training picture that is like the one sent."""

    index: int = Field(description="for GET /v1/training-picture/{index}")
    name: str
    label: str
    similarity: float = Field(description="cosine, -1 to 1")
    picture: bool = Field(description="whether its file is still there")


class Prediction(BaseModel):
    """The answer for one picture. With `error` the class is null."""

    model_config = ConfigDict(populate_by_name=True)

    name: str | None = Field(description="the file's name, escaped; null when none was sent")
    label: str | None = Field(alias="class")
    probability: float | None = Field(description="calibrated, 0 to 1")
    top: list[tuple[str, float]] = Field(description="the likeliest classes, best first")
    error: str | None = Field(description="why the picture could not be read")
    unsure: bool | None = Field(None, description="probability below `unsure`; only when that was given")
    heat: Heat | None = Field(None, description="only with explain=1")
    nearest: list[Neighbour] | None = Field(None, description="only with explain=1")


class Predictions(BaseModel):
    """One row per picture, in the order they were sent."""

    predictions: list[Prediction]


class Explains(BaseModel):
    """What explain=1 adds."""

    heat: bool
    nearest: bool


class About(BaseModel):
    """The classifier that answers."""

    version: str
    headstart: str
    created: str
    classes: list[str]
    preprocessing: dict[str, Any]
    backbone: str | None
    decision: dict[str, Any]
    accuracy: dict[str, Any] | None
    test: dict[str, Any] | None
    coverage: list[dict[str, Any]]
    pictures: int | None = Field(description="training pictures")
    explains: Explains
    limits: dict[str, float]


class Health(BaseModel):
    """A word."""

    status: str


class ErrorText(BaseModel):
    """`code` for programs, `message` for people."""

    code: str
    message: str


class Error(BaseModel):
    """The body of every error."""

    error: ErrorText


_WHY = {
    400: "Malformed request, or no picture in it.",
    401: "The token is missing or wrong.",
    403: "Sent by another page.",
    404: "Not there.",
    408: "The body came too slowly.",
    413: "Too many bytes or pictures.",
    415: "Neither multipart/form-data nor a picture.",
    421: "Unknown Host header.",
    422: "No picture could be read; `predictions` says why, one by one.",
    503: "Busy: try again after Retry-After seconds.",
}
ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": Error, "description": why} for status, why in _WHY.items()}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
