"""From an upright RGB picture to the square that a backbone sees: one rule for train, predict, serve and export."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, __version__

from headstart.errors import ClassifierError
from headstart.images.spent import spending

Fit = Literal["whole", "crop", "pad"]
Interpolation = Literal["bicubic", "bilinear"]
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# The value that becomes about 0 after the backbone's own scaling, so that borders say as little as possible.
_PAD_GREY = (127, 127, 127)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a square of `side` x `side` pixels.

    fit "whole" squeezes the whole picture, "crop" cuts the middle square of `crop_share` of the shorter side,
    "pad" keeps the proportions and fills up with grey. `interpolation`: what the backbone was trained with; always with
    antialiasing.
    """

    side: int = 224
    fit: Fit = "whole"
    crop_share: float = 0.875
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if type(self.side) is not int or not 8 <= self.side <= 4096:
            raise ValueError(f"side must be a whole number from 8 to 4096, not {self.side!r}")
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be one of {', '.join(get_args(Fit))}, not {self.fit!r}")
        if type(self.crop_share) not in (int, float) or not 0 < self.crop_share <= 1:
            raise ValueError(f"crop_share must be above 0 and at most 1, not {self.crop_share!r}")
        if self.interpolation not in get_args(Interpolation):
            choices = ", ".join(get_args(Interpolation))
            raise ValueError(f"interpolation must be one of {choices}, not {self.interpolation!r}")

    def to_json(self) -> dict[str, Any]:
        """What is written into a classifier; "bicubic" is not, as before there was a choice."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("interpolation", "bicubic")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocessing:
        """The inverse of `to_json`; unknown or missing keys and bad values raise ClassifierError."""
        wanted = {field.name for field in fields(cls)} - {"interpolation"}
        if not isinstance(values, dict) or set(values) - {"interpolation"} != wanted:
            raise ClassifierError(f"preprocessing must have exactly the keys {sorted(wanted)}")
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise ClassifierError(f"preprocessing: {error}") from None

    @property
    def key(self) -> str:
        """What goes into cache keys: the rule, and the decoder whose major versions may differ in pixels."""
        return f"{json.dumps(self.to_json(), sort_keys=True)} pillow{__version__.split('.')[0]} rule1"

    @property
    def at_least(self) -> int:
        """Pixels of the shorter side that decoding must keep for this rule."""
        return math.ceil(self.side / self.crop_share) if self.fit == "crop" else self.side


@spending("resize")
def to_square(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """`image` (PIL, RGB or L, upright) as uint8 `(side, side, 3)`; with antialiasing, deterministic."""
    side, resampling = preprocessing.side, _RESAMPLING[preprocessing.interpolation]
    if preprocessing.fit == "pad":
        square = _padded(image, side, resampling)
    else:
        box = _centre(image.size, preprocessing.crop_share) if preprocessing.fit == "crop" else None
        square = image.resize((side, side), resampling, box=box, reducing_gap=2.0)
    # Grey pictures become RGB only now: the same numbers for a third of the work.
    return np.asarray(square if square.mode == "RGB" else square.convert("RGB"))


def _centre(size: tuple[int, int], share: float) -> tuple[float, float, float, float]:
    width, height = size
    edge = min(width, height) * share
    left, top = (width - edge) / 2, (height - edge) / 2
    return left, top, left + edge, top + edge


def _padded(image: Image.Image, side: int, resampling: Image.Resampling) -> Image.Image:
    scale = side / max(image.size)
    width, height = (max(1, min(side, round(length * scale))) for length in image.size)
    square = Image.new(image.mode, (side, side), _PAD_GREY if image.mode == "RGB" else _PAD_GREY[0])
    small = image.resize((width, height), resampling, reducing_gap=2.0)
    square.paste(small, ((side - width) // 2, (side - height) // 2))
    return square
