"""What the first bytes of a file say it is; decides which single decoder may see it, and the reason when none may."""

from __future__ import annotations

import re
from typing import Literal

from headstart.images.read import BadImageError

Format = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS/PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS/PostScript"),
    (b"8BPS", "PSD"),
    (b"SIMPLE  =", "FITS"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "FPX or an office document"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\1\0", "ICO"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "NumPy"),
    (b"v/1\x01", "OpenEXR"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1aE\xdf\xa3", "video"),
)
_BOXES = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"heim": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
_BOXES |= {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "CR3 raw"}
_CONVERTIBLE = {"HEIC", "AVIF", "CR3 raw", "JPEG 2000", "JPEG XL"}


def sniff(content: bytes) -> Format:
    """The format by content, whatever the name says; BadImageError for everything that is not on the list."""
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if content.startswith(b"BM") and len(content) > 26:
        return "BMP"
    if content.startswith(_TIFF):
        return "TIFF"
    raise BadImageError(_why_not(content))


def _why_not(content: bytes) -> str:
    if not content:
        return "empty file"
    head = content[:1024]
    if head[4:8] == b"ftyp":
        return _unsupported(_BOXES.get(head[8:12], "video"))
    if head[40:44] == b" EMF" and head.startswith(b"\1\0\0\0"):
        return _unsupported("EMF")
    if head[128:132] == b"DICM":
        return _unsupported("DICOM")
    for start, name in _STARTS:
        if head.startswith(start):
            return _unsupported(name)
    if re.match(rb"P[1-7fF]\s", head):
        return _unsupported("PNM")
    if not any(head):
        return "not an image (only zero bytes)"
    if any(start.startswith(head) for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"BM")):
        return "truncated"
    return _looks_like(head)


def _unsupported(name: str) -> str:
    return f"{name} is not supported" + (": convert it to JPEG or PNG" if name in _CONVERTIBLE else "")


def _looks_like(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "not an image (looks like text)"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text:
        return "SVG is not supported: convert it to PNG"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text:
        return "not an image (looks like HTML)"
    if text.startswith(b"<?xml"):
        return "not an image (looks like XML)"
    if text.startswith(b"version https://git-lfs"):
        return "not an image (a Git LFS pointer: run git lfs pull)"
    if re.match(rb'(\{\s*["}]|\[\s*[\[{"\d\]])', text):
        return "not an image (looks like JSON)"
    if not re.search(rb"[\x00-\x08\x0e-\x1f]", head):
        try:
            head[:-4].decode("utf-8")
        except UnicodeDecodeError:
            return "not an image (unknown content)"
        return "not an image (looks like text)"
    return "not an image (unknown content)"
