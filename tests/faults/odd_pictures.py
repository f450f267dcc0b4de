"""Makes the odd, damaged and hostile pictures that the fault tests open. Nothing is stored."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encode(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """A smooth RGB picture without symmetry, so that every turn of it is another picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """`upright` as a camera stores it with EXIF `orientation`, written out with numpy on purpose (not with Pillow)."""
    a = np.asarray(upright)
    turned = {
        1: a,
        2: a[:, ::-1],
        3: a[::-1, ::-1],
        4: a[::-1],
        5: a.transpose(1, 0, 2),
        6: np.rot90(a, 1),
        7: a[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(a, -1),
    }
    return Image.fromarray(np.ascontiguousarray(turned[orientation]))


def exif(orientation: int, order: str = "<") -> bytes:
    """A minimal EXIF block with one tag."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def endless_exif() -> bytes:
    """A directory that says it holds 65,535 entries and then points to itself."""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535) + struct.pack("<HHII", 0x8769, 4, 1, 8) * 3 + b"\x08\0\0\0"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png_bomb(side: int = 30_000) -> bytes:
    """side x side pixels of zeros, 1 bit each, in about 100 KB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, rows, depth=1)


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose header claims `width` x `height`."""
    content = bytearray(encode(photo(16, 16), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def ycck_jpeg(image: Image.Image) -> bytes:
    """A CMYK JPEG whose Adobe mark says that its four channels are YCCK: a photo editor's favourite."""
    # Adobe stores CMYK inverted, and libjpeg gets C as 255 - R of the YCbCr part: so R there is C = 255 - red.
    ycc = np.asarray(Image.fromarray(255 - np.asarray(image)).convert("YCbCr"))
    black = np.full((*ycc.shape[:2], 1), 255, np.uint8)
    # Pillow inverts CMYK once more while writing.
    planes = 255 - np.concatenate([ycc, black], axis=2)
    content = bytearray(encode(Image.fromarray(planes, "CMYK"), "JPEG", quality=95, subsampling=0))
    at = content.index(b"Adobe")
    content[at + 11] = 2
    return bytes(content)


def sixteen_bit(values: np.ndarray, format: str) -> bytes:
    return encode(Image.fromarray(values.astype(np.uint16)), format)


def big_endian_tiff(values: np.ndarray) -> bytes:
    """A 16-bit grey TIFF in the byte order of old scanners (mode I;16B)."""
    height, width = values.shape
    data = values.astype(">u2").tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, len(data))]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + struct.pack(">H", len(tags)) + entries + b"\0\0\0\0"
