"""Odd, damaged and hostile pictures: a right answer or a short reason, never a hang, a crash or a swollen memory."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

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

from headstart.errors import MachineError
from headstart.images.load import BadImageError, Limits, load_image, read_bytes
from headstart.images.open import open_image
from headstart.images.preprocess import Preprocessing

SMALL = Preprocessing(side=32)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(open_image(content, 10_000).image).astype(int)


def reason(source) -> str:
    with pytest.raises(BadImageError) as caught:
        load_image(source, SMALL)
    assert "\n" not in str(caught.value)
    return caught.value.reason


# --- damaged -----------------------------------------------------------------------------------------------------


def test_zero_byte_file_is_called_empty_and_named(tmp_path):
    path = tmp_path / "nothing.jpg"
    path.touch()
    with pytest.raises(BadImageError, match=r"nothing\.jpg: empty file"):
        load_image(path, SMALL)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_truncated_picture_is_refused(format, share):
    content = encode(photo(400, 300), format)
    said = reason(content[: int(len(content) * share)])
    assert "truncated" in said or "damaged" in said


def test_truncated_large_jpeg_is_refused_in_draft_mode_too():
    content = encode(photo(2000, 1500), "JPEG")
    assert reason(content[: len(content) // 2]) == "truncated"


def test_a_few_bytes_are_truncated_not_unknown():
    assert reason(b"\xff\xd8") == "truncated"
    assert reason(b"\x89PN") == "truncated"


def test_png_with_wrong_checksum_is_refused_though_its_pixels_would_decode():
    rng = np.random.default_rng(0)
    content = bytearray(
        encode(Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)), "PNG", compress_level=0)
    )
    content[len(content) // 2] ^= 1  # stored, not packed: only the checksum can tell
    assert "checksum" in reason(bytes(content))


def test_png_with_garbage_instead_of_pixels_is_refused():
    assert "PNG" in reason(png(8, 8, b"not zlib at all"))


def test_zero_width_header_is_refused():
    reason(png(0, 8, b""))
    reason(jpeg_of_size(0, 16))


def test_garbage_behind_the_end_is_no_harm():
    content = encode(photo(), "JPEG")
    assert np.array_equal(pixels(content), pixels(content + b"\0" * 100 + b"more"))


def test_mutated_bytes_never_do_worse_than_a_reason():
    rng = random.Random(7)
    sources = [encode(photo(40, 30), f) for f in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    sources.append(encode(photo(40, 30), "TIFF", compression="tiff_lzw"))
    refused = 0
    for k in range(350):
        content = bytearray(sources[k % len(sources)])
        for _ in range(rng.randint(1, 12)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            load_image(bytes(content), SMALL, Limits(max_pixels=1_000_000))
        except BadImageError as error:
            refused += 1
            assert error.reason and "\n" not in error.reason
    assert refused > 30


# --- not pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "looks like HTML"),
        (b"\n  <html lang=en>", "looks like HTML"),
        (b'{"error": "not found"}', "looks like JSON"),
        (b"just some words", "looks like text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not supported"),
        (b"%PDF-1.7\n", "PDF is not supported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"8BPS\0\1", "PSD is not supported"),
        (b"SIMPLE  =                    T", "FITS is not supported"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "FPX"),
        (b"\xd7\xcd\xc6\x9a" + bytes(20), "WMF is not supported"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not supported: convert it to JPEG"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF is not supported: convert it to JPEG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
        (b"P6 1 1 255 abc", "PNM is not supported"),
        (bytes(500), "only zero bytes"),
        (bytes([1, 200, 3]) * 100, "unknown content"),
    ],
)
def test_what_is_no_picture_gets_a_reason_and_no_parser(content, said, monkeypatch):
    monkeypatch.setattr("headstart.images.open._DECODERS", {})
    assert said in reason(content)


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "really_png.jpg"
    path.write_bytes(encode(photo(), "PNG"))
    assert load_image(path, SMALL).width == 96


# --- bombs -------------------------------------------------------------------------------------------------------


def test_png_bomb_is_refused_in_little_memory(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bomb())
    assert path.stat().st_size < 200_000
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from headstart.images.load import load_image, BadImageError\n"
        "from headstart.images.preprocess import Preprocessing\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_image(Path(sys.argv[1]), Preprocessing())\n"
        "except BadImageError as error: print(error.reason)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    if sys.platform == "win32":
        pytest.skip("no resource module")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    said, grown = done.stdout.splitlines()
    assert "too many pixels (30000 x 30000" in said
    assert int(grown) < 50_000  # KB
    assert done.stderr == ""


def test_pixel_limit_holds_for_jpeg_though_draft_could_shrink_it():
    assert "too many pixels (60000 x 60000" in reason(jpeg_of_size(60_000, 60_000))


def test_size_between_pillows_warning_and_our_limit_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # 94 million pixels: Pillow would warn from 89 million on. The pixels are missing, so it is refused for that.
        assert "too many" not in reason(png(9700, 9700, b"", depth=1))


def test_limits_can_be_raised_and_lowered():
    content = encode(photo(100, 100), "PNG")
    assert load_image(content, SMALL, Limits(max_pixels=10_000)).width == 100
    with pytest.raises(BadImageError, match="too many pixels"):
        load_image(content, SMALL, Limits(max_pixels=9_999))
    with pytest.raises(BadImageError, match="file too large"):
        load_image(content, SMALL, Limits(max_bytes=100))


def test_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)  # sparse
    start = time.monotonic()
    with pytest.raises(BadImageError, match=r"file too large \(2000 MB"):
        read_bytes(path)
    assert time.monotonic() - start < 1


def test_png_with_a_bomb_of_text_is_refused_quickly():
    text = zlib.compress(bytes(100_000_000), 9)
    rows = zlib.compress(bytes(72))
    assert load_image(png(8, 8, rows), SMALL).width == 8
    start = time.monotonic()
    assert "too large" in reason(png(8, 8, rows, extra=chunk(b"zTXt", b"Comment\0\0" + text)))
    assert time.monotonic() - start < 2


# --- files that are no files -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipe_named_jpg_is_refused_without_waiting(tmp_path):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    said = []
    thread = threading.Thread(target=lambda: said.append(reason(path)), daemon=True)
    thread.start()
    thread.join(5)
    assert said == ["not a regular file (a pipe)"]


def test_socket_folder_and_missing_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        assert reason(tmp_path / "s.jpg") == "not a regular file (a socket)"
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "not a regular file (a folder)"
    assert reason(tmp_path / "gone.jpg") == "file not found"
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert reason(tmp_path / "loop.jpg") == "a loop of links"
    assert reason(tmp_path / "a\0b.jpg") == "not a usable file name"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_says_permission_denied(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(encode(photo(), "JPEG"))
    path.chmod(0)
    assert reason(path) == "permission denied"


def test_permission_error_is_named(tmp_path, monkeypatch):
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"x")
    monkeypatch.setattr("headstart.images.read.os.open", _raise(PermissionError(13, "Permission denied")))
    assert reason(path) == "permission denied"


def test_one_read_error_costs_one_picture_a_vanished_disk_stops(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    monkeypatch.setattr("headstart.images.read.time.sleep", lambda seconds: None)
    monkeypatch.setattr("headstart.images.read.os.open", _raise(OSError(5, "Input/output error")))
    assert reason(path) == "read error"
    monkeypatch.setattr("headstart.images.read.os.scandir", _raise(OSError(5, "Input/output error")))
    with pytest.raises(MachineError, match="any more"):
        load_image(path, SMALL)


def _raise(error):
    def call(*args, **kwargs):
        raise error

    return call


def test_name_that_is_no_utf8_works_and_prints(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9\n.png"
    with open(path, "wb") as file:
        file.write(b"nothing")
    with pytest.raises(BadImageError) as caught:
        load_image(Path(os.fsdecode(path)), SMALL)
    assert r"caf\xe9\n.png" in str(caught.value)
    str(caught.value).encode("utf-8")


# --- turns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_turns_give_the_upright_picture(orientation, order):
    upright = photo(96, 64)
    for format, options, worst in (("PNG", {}, 0), ("JPEG", {"quality": 95, "subsampling": 0}, 12)):
        content = encode(stored(upright, orientation), format, exif=exif(orientation, order), **options)
        opened = open_image(content, 10_000)
        assert (opened.width, opened.height) == (96, 64)
        assert np.abs(np.asarray(opened.image).astype(int) - np.asarray(upright).astype(int)).max() <= worst


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_turned_tiff_and_webp_are_upright_once(orientation):
    upright = photo(96, 64)
    tiff = encode(stored(upright, orientation), "TIFF", tiffinfo={274: orientation})
    webp = encode(stored(upright, orientation), "WEBP", lossless=True, exif=exif(orientation))
    for content in (tiff, webp):
        opened = open_image(content, 10_000)
        assert (opened.width, opened.height) == (96, 64)
        assert np.array_equal(np.asarray(opened.image), np.asarray(upright))


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif(0),
        exif(99),
        exif(6)[:-8],
        endless_exif(),
        b"Exif\0\0II*\0\x08\0\0\0\x01\0" + b"\x12\x01\x02\0\xff\xff\xff\xff" + bytes(65_000)[:64_000],
    ],
)
def test_damaged_exif_is_ignored_quickly_and_without_a_warning(block):
    upright = photo()
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = pixels(encode(upright, "JPEG", exif=block, quality=95, subsampling=0))
    assert np.abs(got - np.asarray(upright)).max() <= 12
    assert time.monotonic() - start < 1


# --- colours -----------------------------------------------------------------------------------------------------


def test_cmyk_and_ycck_jpegs_have_the_right_colours():
    for red, green, blue in [(255, 0, 0), (0, 128, 255), (240, 240, 10), (20, 20, 20)]:
        plain = Image.new("RGB", (32, 32), (red, green, blue))
        cmyk = Image.merge("CMYK", [*Image.fromarray(255 - np.asarray(plain)).split(), Image.new("L", (32, 32), 0)])
        for content in (encode(cmyk, "JPEG", quality=95), ycck_jpeg(plain)):
            assert np.abs(pixels(content)[16, 16] - [red, green, blue]).max() <= 6


def test_sixteen_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).round()
    for content in (sixteen_bit(ramp, "PNG"), sixteen_bit(ramp, "TIFF"), big_endian_tiff(ramp)):
        got = pixels(content)
        assert np.abs(got[..., 0] - ramp / 257).max() <= 0.51
        assert (got == got[..., :1]).all()


@pytest.mark.parametrize(("bits", "top"), [(12, 4095), (14, 12_000), (8, 200)])
def test_fewer_bits_in_a_sixteen_bit_file_use_the_whole_range_and_say_so(bits, top):
    ramp = np.linspace(0, top, 64 * 64).reshape(64, 64).round()
    picture = load_image(sixteen_bit(ramp, "PNG"), Preprocessing(side=64))
    assert abs(int(picture.pixels.max()) - round(255 * top / (2**bits - 1))) <= 1
    assert f"{bits}-bit" in picture.note


def test_float_and_32_bit_tiff_are_refused_with_the_reason():
    assert "floating-point" in reason(encode(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"))
    assert "32-bit" in reason(encode(Image.fromarray(np.full((9, 9), 1_000_000, np.int32)), "TIFF"))


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    assert (pixels(encode(clear, "PNG")) == 255).all()
    assert np.abs(pixels(encode(half, "PNG")) - 127).max() <= 1
    assert (pixels(encode(clear, "WEBP", lossless=True)) == 255).all()


def test_palette_and_its_transparency():
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50] + [0] * 750)
    assert (pixels(encode(palette, "PNG")) == [200, 100, 50]).all()
    assert (pixels(encode(palette, "PNG", transparency=1)) == 255).all()
    assert (pixels(encode(palette, "GIF", transparency=1)) == 255).all()


def test_trns_of_rgb_and_grey_pngs():
    picture = Image.new("RGB", (8, 8), (10, 20, 30))
    picture.putpixel((0, 0), (1, 2, 3))
    got = pixels(encode(picture, "PNG", transparency=(1, 2, 3)))
    assert (got[0, 0] == 255).all() and (got[1, 1] == [10, 20, 30]).all()
    assert (pixels(encode(Image.new("L", (8, 8), 7), "PNG", transparency=7)) == 255).all()


def test_bilevel_and_grey_have_three_equal_channels():
    grey = photo().convert("L")
    for image in (grey, grey.convert("1")):
        got = pixels(encode(image, "PNG"))
        assert (got == got[..., :1]).all()
        assert np.array_equal(got[..., 0], np.asarray(image.convert("L")))


# --- shapes and kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (816, 33), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("fit", ["whole", "crop", "pad"])
def test_odd_shapes_become_squares(size, fit):
    picture = load_image(encode(photo(*size), "PNG"), Preprocessing(side=48, fit=fit))
    assert picture.pixels.shape == (48, 48, 3) and picture.pixels.dtype == np.uint8
    assert (picture.width, picture.height) == size
    assert picture.thumbnail.shape == (32, 32)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_of_several_frames_and_it_is_said(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if format == "WEBP" else {}
    picture = load_image(encode(frames[0], format, save_all=True, append_images=frames[1:], **options), SMALL)
    assert (picture.pixels == [255, 0, 0]).all()
    assert "the first was taken" in picture.note


def test_phone_jpeg_with_a_second_picture_behind_it():
    content = encode(photo(), "MPO", save_all=True, append_images=[photo(seed=1)])
    assert np.array_equal(pixels(content), pixels(encode(photo(), "JPEG")))


def test_progressive_jpeg_and_broken_colour_profile():
    plain = pixels(encode(photo(), "JPEG"))
    assert np.array_equal(pixels(encode(photo(), "JPEG", progressive=True)), plain)
    assert np.array_equal(pixels(encode(photo(), "JPEG", icc_profile=b"broken" * 1000)), plain)
