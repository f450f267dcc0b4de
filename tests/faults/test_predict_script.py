"""Odd pictures: the exported predict.py sees what headstart sees, and refuses what headstart refuses."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest
from odd_pictures import (
    big_endian_tiff,
    chunk,
    encode,
    endless_exif,
    exif,
    jpeg_of_size,
    photo,
    png,
    png_bomb,
    sixteen_bit,
    stored,
    ycck_jpeg,
)
from PIL import Image

from headstart.data.listing import list_pictures
from headstart.exporting import predict_script
from headstart.images.load import BadImageError, load_image
from headstart.images.preprocess import Preprocessing
from headstart.images.printable import printable

RULES = [
    Preprocessing(32),
    Preprocessing(32, "crop", 0.875, "bilinear"),
    Preprocessing(48, "crop", 0.96),
    Preprocessing(32, "pad"),
]


def odd() -> dict[str, bytes]:
    """Pictures that decide something, by name."""
    rng = np.random.default_rng(0)
    grey = np.linspace(0, 4095, 60 * 40).reshape(40, 60)
    clear = photo().convert("RGBA")
    clear.putalpha(Image.fromarray(np.linspace(0, 255, 96 * 64).reshape(64, 96).astype(np.uint8)))
    frames = [photo(seed=k) for k in range(3)]
    found = {
        **{f"turn{k}.jpg": encode(stored(photo(), k), "JPEG", exif=exif(k, "<>"[k % 2])) for k in range(1, 9)},
        **{f"turn{k}.png": encode(stored(photo(), k), "PNG", exif=exif(k)) for k in (3, 6)},
        "turn.tif": encode(stored(photo(), 6), "TIFF", exif=exif(6)[6:]),
        "turn9.jpg": encode(photo(), "JPEG", exif=exif(9)),
        "endless.jpg": encode(photo(), "JPEG", exif=endless_exif()),
        "large.jpg": encode(photo(900, 700), "JPEG"),
        "long.jpg": encode(photo(2000, 90), "JPEG"),
        "grey.jpg": encode(photo(900, 700).convert("L"), "JPEG"),
        "cmyk.jpg": encode(photo().convert("CMYK"), "JPEG"),
        "ycck.jpg": ycck_jpeg(photo()),
        "clear.png": encode(clear, "PNG"),
        "clear.webp": encode(clear, "WEBP", lossless=True),
        "greyclear.png": encode(clear.convert("LA"), "PNG"),
        "palette.png": encode(photo().quantize(16), "PNG"),
        "paletteclear.png": encode(photo().quantize(16), "PNG", transparency=3),
        "colourkey.png": encode(photo(), "PNG", transparency=photo().getpixel((5, 5))),
        "bits.png": encode(photo().convert("1"), "PNG"),
        "moving.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "moving.webp": encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "moving.png": encode(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "pages.tif": encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "deep12.png": sixteen_bit(grey, "PNG"),
        "deep16.tif": sixteen_bit(grey * 16, "TIFF"),
        "deep8.png": sixteen_bit(grey / 16, "PNG"),
        "big.tif": big_endian_tiff(grey.astype(np.uint16)),
        "float.tif": encode(Image.fromarray(rng.random((8, 8), dtype=np.float32)), "TIFF"),
        "int32.tif": encode(Image.fromarray(np.full((8, 8), 70000, np.int32)), "TIFF"),
        "plain.bmp": encode(photo(), "BMP"),
        "dot.png": encode(photo(1, 1), "PNG"),
        "really_png.jpg": encode(photo(), "PNG"),
        "cut.jpg": encode(photo(400, 300), "JPEG")[:4000],
        "cut.png": encode(photo(400, 300), "PNG")[:4000],
        "empty.jpg": b"",
        "page.jpg": b"<!doctype html><html></html>",
        "bomb.png": png_bomb(),
        "huge.jpg": jpeg_of_size(60_000, 60_000),
        "nothing.png": png(0, 8, b""),
        "checksum.png": png(8, 8, zlib.compress(bytes(72)))[:-20] + b"\0" * 20,
        "text.png": png(8, 8, zlib.compress(bytes(72)), extra=chunk(b"tEXt", b"Comment\0hello")),
        "heic.heic": b"\0\0\0\x18ftypheic\0\0\0\0",
    }
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("odd")
    for name, content in odd().items():
        (place / name).write_bytes(content)
    return place


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_same_square_or_refused_by_both(folder, rule):
    refused = set()
    for path in sorted(folder.iterdir()):
        found = predict_script.load(path, rule.to_json())
        try:
            expected = load_image(path, rule).pixels
        except BadImageError:
            refused.add(path.name)
            assert isinstance(found, str) and "\n" not in found, path.name
            continue
        assert not isinstance(found, str), f"{path.name}: {found}"
        assert np.array_equal(found, expected), path.name
    assert {"float.tif", "int32.tif", "empty.jpg", "bomb.png", "huge.jpg", "cut.jpg", "checksum.png"} <= refused
    assert len(refused) < 20


def test_folders_are_walked_the_same_way(tmp_path):
    for name in ("b/two.JPG", "a/x/one.png", "a/x.y/one.tif", ".hidden/no.png", "a/.no.png", "notes.txt", "z.heic",
                 "@eaDir/t.jpg", "a-b/q.gif"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    if os.name == "posix":
        (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    named = [str(tmp_path), str(tmp_path / "notes.txt")]
    found = list(predict_script.pictures(named))
    assert found == list_pictures([tmp_path, tmp_path / "notes.txt"]) and len(found) == 6


@pytest.mark.parametrize("text", ["a\tb\nc", "caf\udce9", "\u202egnp.exe", "ž 中 👍🏽", "\x1b[31m", "back\\slash"])
def test_names_are_shown_the_same_way(text):
    assert predict_script.printable(text) == printable(text)
