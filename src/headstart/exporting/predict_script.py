r"""Name the class of pictures with the model beside this file.

    pip install numpy "pillow>=13" onnxruntime         (openvino instead, where the model is model.xml)
    python predict.py IMAGE|FOLDER ...

Prints path, class and probability per picture, separated by tabs (unusual characters of a name are shown as \t, \n,
\xe9). A picture that is refused is named on stderr with the reason, and the exit code is then 3. `headstart export`
wrote this file and compared it with the classifier on your own pictures: see README.md.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

BATCH = 8
MOST_BYTES, MOST_PIXELS = 512 * 2**20, 100_000_000
PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
PICTURES |= {".mpo", ".heic", ".heif", ".avif"}  # the last three are listed to be refused, not to vanish silently
SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
TURNS = dict(enumerate(("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270"), start=2))
TURNS |= {7: "TRANSVERSE", 8: "ROTATE_90"}
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # on metadata that is not read here


class RefusedError(Exception):
    """Why one picture cannot be used."""


class Jpeg(JpegImagePlugin.JpegImageFile):
    """Without the search for a resolution in EXIF, which stumbles over damaged ones."""

    def _read_dpi_from_exif(self) -> None:
        pass


def main(names: Sequence[str]) -> int:
    """Print the answers; the exit code."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    if not names or names[0] in ("-h", "--help"):
        sys.stderr.write(__doc__ or "")
        return 0 if names else 2
    folder = Path(__file__).resolve().parent
    try:
        run, metadata = open_model(folder)
    except ImportError as error:
        sys.stderr.write(f"predict.py: {error}: pip install {error.name or 'onnxruntime'}\n")
        return 5
    classes, refused = json.loads(metadata["classes"]), 0
    for path, row in predict(run, json.loads(metadata["preprocessing"]), list(pictures(names))):
        if isinstance(row, str):
            sys.stderr.write(f"{printable(str(path))}: {row}\n")
            refused += 1
        else:
            best = int(row.argmax())
            sys.stdout.write(f"{printable(str(path))}\t{printable(classes[best])}\t{row[best]:.4f}\n")
            sys.stdout.flush()
    return 3 if refused else 0


def open_model(folder: Path) -> tuple[Callable[[Any], Any], dict[str, str]]:
    """A function from squares uint8 (n, side, side, 3) to probabilities (n, K), and the metadata of the model."""
    if (folder / "model.onnx").is_file():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        metadata = session.get_modelmeta().custom_metadata_map
        return lambda squares: session.run(["probabilities"], {"images": squares})[0], metadata
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no usage statistics
    import openvino

    model = openvino.Core().read_model(folder / "model.xml")
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = {key: model.get_rt_info(["headstart", key]).astype(str) for key in ("classes", "preprocessing")}
    return lambda squares: np.array(compiled([squares])[0]), facts


def predict(
    run: Callable[[Any], Any], rule: dict[str, Any], paths: Sequence[Path]
) -> Iterator[tuple[Path, np.ndarray[Any, Any] | str]]:
    """Per picture, in order: its path, and its probabilities (K,) or the reason why it is refused."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), BATCH):
            some = paths[start : start + BATCH]
            squares = list(pool.map(lambda path: load(path, rule), some))
            good = [square for square in squares if not isinstance(square, str)]
            rows = iter(run(np.stack(good)) if good else ())
            for path, square in zip(some, squares, strict=True):
                yield path, square if isinstance(square, str) else next(rows)


def load(path: Path, rule: dict[str, Any]) -> np.ndarray[Any, Any] | str:
    """The square uint8 (side, side, 3) that the model sees, or why there is none."""
    at_least = math.ceil(rule["side"] / rule["crop_share"]) if rule["fit"] == "crop" else rule["side"]
    try:
        if not path.is_file():
            raise RefusedError("not a regular file" if path.exists() else "file not found")
        if path.stat().st_size > MOST_BYTES:
            raise RefusedError("file too large")
        return to_square(decode(path.read_bytes(), at_least), rule)
    except (OSError, ValueError, RefusedError) as error:
        return str(getattr(error, "strerror", None) or error)
    except MemoryError:
        return "not enough memory to decode it"


def decode(content: bytes, at_least: int) -> Image.Image:
    """The picture upright, in mode RGB or L. A large JPEG is decoded smaller, at least 2 x `at_least` pixels a side."""
    decoder = decoder_of(content)
    try:
        image = decoder(io.BytesIO(content))
        if not 1 <= image.width * image.height <= MOST_PIXELS:
            raise RefusedError(f"too many or no pixels ({image.width} x {image.height})")
        if decoder is Jpeg:
            image.draft("RGB", (2 * at_least, 2 * at_least))
        elif decoder is PngImagePlugin.PngImageFile:
            check_png(content)
        image.load()
    except (RefusedError, MemoryError):
        raise
    except Exception as error:
        raise RefusedError(
            f"damaged or unsupported ({' '.join(str(error).split())[:80] or type(error).__name__})"
        ) from None
    upright = eight_bit(image)
    if decoder is not TiffImagePlugin.TiffImageFile and (turn := TURNS.get(orientation(image.info))):
        upright = upright.transpose(Image.Transpose[turn])  # Pillow turns TIFF by itself
    return upright


def decoder_of(content: bytes) -> Any:
    """The one decoder for what the first bytes say, whatever the name says."""
    if content.startswith(b"\xff\xd8\xff"):
        return Jpeg
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if content.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile
    if content.startswith(b"BM") and len(content) > 26:
        return BmpImagePlugin.BmpImageFile
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImagePlugin.TiffImageFile
    raise RefusedError("not a JPEG, PNG, WebP, GIF, BMP or TIFF picture" if content else "empty file")


def check_png(content: bytes) -> None:
    """The checksums of the pixels, which Pillow skips."""
    at = 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            raise RefusedError("truncated")
        kind, checksum = content[at + 4 : at + 8], int.from_bytes(content[end : end + 4], "big")
        if kind == b"IDAT" and zlib.crc32(memoryview(content)[at + 4 : end]) != checksum:
            raise RefusedError("damaged PNG (wrong checksum)")
        if kind == b"IEND":
            return
        at = end + 4


def eight_bit(image: Image.Image) -> Image.Image:
    """Mode RGB, or L where all is grey: transparency on white, 16-bit values scaled by the depth that holds them."""
    mode, clear = image.mode, "transparency" in image.info
    if mode in ("RGB", "L") and not clear:
        return image
    if mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise RefusedError("32-bit grey values are not supported")
        depth = next(bits for bits in (8, 12, 14, 16) if values.max() < 2**bits)
        return Image.fromarray(np.round(np.arange(2**depth) * (255.0 / (2**depth - 1))).astype(np.uint8)[values])
    if mode == "F":
        raise RefusedError("floating-point pixels are not supported")
    if "a" in mode.lower() or clear:
        image = image.convert("LA") if mode == "La" else image
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("L" if mode == "1" else "RGB")


def orientation(info: dict[Any, Any]) -> int:
    """EXIF orientation 1 to 8; 1 when there is none or it is damaged."""
    block = info.get("exif")
    try:
        if block is None and "Raw profile type exif" in info:  # older ImageMagick, in PNG
            block = bytes.fromhex("".join(str(info["Raw profile type exif"]).split("\n")[3:]))
        block = block.removeprefix(b"Exif\0\0") if isinstance(block, bytes) else b""
        if block[:4] not in (b"II*\0", b"MM\0*"):
            return 1
        order: Literal["little", "big"] = "little" if block.startswith(b"II") else "big"

        def number(at: int, length: int) -> int:
            if at + length > len(block):
                raise ValueError
            return int.from_bytes(block[at : at + length], order)

        start = number(4, 4)
        for at in range(start + 2, start + 2 + 12 * number(start, 2), 12):
            if (number(at, 2), number(at + 2, 2), number(at + 4, 4)) == (0x0112, 3, 1):
                return number(at + 8, 2)
    except ValueError:
        pass
    return 1


def to_square(image: Image.Image, rule: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The picture resized as the network was trained: uint8 (side, side, 3)."""
    side, grey = rule["side"], (127, 127, 127)
    filter = Image.Resampling[rule.get("interpolation", "bicubic").upper()]
    if rule["fit"] == "pad":  # keep the proportions, fill up with grey
        scale = side / max(image.size)
        width, height = (max(1, min(side, round(length * scale))) for length in image.size)
        square = Image.new(image.mode, (side, side), grey if image.mode == "RGB" else grey[0])
        small = image.resize((width, height), filter, reducing_gap=2.0)
        square.paste(small, ((side - width) // 2, (side - height) // 2))
    else:  # crop: the middle square; whole: squeeze everything
        box = None
        if rule["fit"] == "crop":
            edge = min(image.size) * rule["crop_share"]
            left, top = (image.width - edge) / 2, (image.height - edge) / 2
            box = (left, top, left + edge, top + edge)
        square = image.resize((side, side), filter, box=box, reducing_gap=2.0)
    return np.asarray(square if square.mode == "RGB" else square.convert("RGB"))


def pictures(names: Sequence[str]) -> Iterator[Path]:
    """Files as they are named, and every picture below folders."""
    for name in names:
        if not Path(name).is_dir():
            yield Path(name)
            continue
        found: list[str] = []
        seen: set[str] = set()
        for place, folders, files in os.walk(name, followlinks=True):
            here = os.path.realpath(place)
            loop = here in seen  # a link back to a folder above
            seen.add(here)
            folders[:] = [] if loop else sorted(f for f in folders if f[0] != "." and f.lower() not in SYSTEM)
            paths = [] if loop else [Path(place) / file for file in files if file[0] != "."]
            found += [str(path) for path in paths if path.suffix.lower() in PICTURES and path.exists()]
        yield from map(Path, sorted(found))


def printable(text: str) -> str:
    """`text` with control characters, turned writing directions and bytes that are no UTF-8 escaped."""
    return UNSAFE.sub(escape, text)


def escape(match: re.Match[str]) -> str:
    r"""One character as \n, \u202e or, for a stray byte, \xff."""
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return match.group().encode("unicode_escape", "surrogatepass").decode("ascii")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
