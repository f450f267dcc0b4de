"""Open one picture safely: limits before decoding, one decoder chosen by content, upright RGB out."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from headstart.images.colour import array_to_plain, to_plain
from headstart.images.exif import LYING, turn_of
from headstart.images.printable import printable
from headstart.images.read import LIMITS, BadImageError, Limits, read_bytes
from headstart.images.sniff import Format, sniff
from headstart.images.spent import spending

__all__ = ["LIMITS", "BadImageError", "Limits", "OpenedImage", "Source", "open_image", "read_bytes"]

Source = Path | bytes | NDArray[Any]


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """Pillow looks for a resolution in EXIF while opening, and warns when that is damaged; we need none."""

    def _read_dpi_from_exif(self) -> None:
        pass


# The decoders are called directly, not through Image.open: that compares sizes with a module-wide Pillow setting and
# warns, which neither our own limit nor threads allow for. MPO (phones, 3-D cameras) is a JPEG with more behind it.
_DECODERS: dict[Format, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
# Pillow remarks on odd metadata that we do not read ("Metadata Warning, tag 271 had too many entries").
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class OpenedImage:
    """`plain`: PIL, mode RGB or L (grey), upright, perhaps smaller than the original.

    `width`, `height`: of the upright original. `note`: what had to be decided, or None.
    """

    plain: Image.Image
    width: int
    height: int
    note: str | None

    @property
    def image(self) -> Image.Image:
        """The picture in mode RGB."""
        return self.plain if self.plain.mode == "RGB" else self.plain.convert("RGB")


@spending("decode")
def open_image(source: Source, at_least: int, limits: Limits = LIMITS) -> OpenedImage:
    """Decode `source`; a large JPEG is decoded at a fraction of its size, never below 2 x `at_least` pixels a side.

    Raises BadImageError with a short `reason`: empty, truncated, too large, not an image, format not supported.
    """
    if isinstance(source, np.ndarray):
        image, note = array_to_plain(source)
        return OpenedImage(image, image.width, image.height, note)
    content = source if isinstance(source, bytes) else read_bytes(source, limits)
    try:
        return _decode(content, at_least, limits)
    except BadImageError as error:
        if isinstance(source, bytes):
            raise
        raise BadImageError(error.reason, printable(str(source))) from None


def _decode(content: bytes, at_least: int, limits: Limits) -> OpenedImage:
    if len(content) > limits.max_bytes:
        raise BadImageError(f"file too large ({len(content) / 1e6:.0f} MB, limit {limits.max_bytes / 1e6:.0f} MB)")
    kind = sniff(content)
    try:
        image = _DECODERS[kind](io.BytesIO(content))
        width, height = image.size
        _check_size(width, height, limits)
        moving = _is_animated(image, kind)
        if kind == "JPEG":
            image.draft("RGB", (2 * at_least, 2 * at_least))
        elif kind == "PNG":
            _check_png_data(content)
        image.load()
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever the damaged bytes lead them to
        raise BadImageError(_why_broken(error, kind)) from None
    plain, note = to_plain(image)
    # Pillow turns TIFF by itself while loading; its size is upright from the start.
    turn = None if kind == "TIFF" else turn_of(image.info)
    if turn is not None:
        plain = plain.transpose(turn)
        if turn in LYING:
            width, height = height, width
    notes = [note] if note else []
    if moving:
        notes.append("several pictures in one file: the first was taken")
    return OpenedImage(plain, width, height, "; ".join(notes) or None)


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width < 1 or height < 1:
        raise BadImageError(f"no pixels ({width} x {height})")
    if width * height > limits.max_pixels:
        raise BadImageError(f"too many pixels ({width} x {height}, limit {limits.max_pixels / 1e6:g} million)")


def _is_animated(image: ImageFile, kind: Format) -> bool:
    if kind in ("JPEG", "BMP"):
        return False
    if kind == "TIFF":
        # The plugin has read where the next directory starts; asking it for `n_frames` would read them all.
        return bool(getattr(image, "_TiffImageFile__next", 0))
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame does not spoil the first
        return True


def _check_png_data(content: bytes) -> None:
    """Checksums of the pixel chunks, which Pillow skips: damaged pixels would be learned as they are."""
    at = 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            raise BadImageError("truncated")
        if content[at + 4 : at + 8] == b"IDAT":
            if zlib.crc32(memoryview(content)[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
                raise BadImageError("damaged PNG (wrong checksum)")
        elif content[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4


def _why_broken(error: Exception, kind: Format) -> str:
    text = str(error).lower()
    if "truncated" in text or "not enough" in text or isinstance(error, EOFError):
        return "truncated"
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels"
    detail = printable(" ".join(str(error).split()))[:80] or type(error).__name__
    return f"damaged or unsupported {kind} ({detail})"
