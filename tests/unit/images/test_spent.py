"""Decoding is told from resizing, thread by thread."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from headstart.images.load import BadImageError, load_image, load_square
from headstart.images.preprocess import Preprocessing
from headstart.images.spent import Spent, spending, spent


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.parametrize("load", [load_image, load_square])
def test_opening_and_resizing_are_told_apart_and_within_what_the_thread_used(jpeg: bytes, load) -> None:
    before, start = spent(), time.thread_time()
    for _ in range(5):
        load(jpeg, Preprocessing())
    used, after = time.thread_time() - start, spent()
    decode, resize = after.decode - before.decode, after.resize - before.resize
    assert 0 < resize < decode, "noise at quality 95 is dear to decompress"
    assert 0.3 * used < decode + resize <= used


def test_every_thread_counts_its_own(jpeg: bytes) -> None:
    found: list[Spent] = []

    def work() -> None:
        assert spent() == Spent(0.0, 0.0)
        load_square(jpeg, Preprocessing())
        found.append(spent())

    before = spent()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spent() == before
    assert len(found) == 3 and all(one.decode > 0 and one.resize > 0 for one in found)


def test_what_fails_is_counted_too() -> None:
    before = spent()
    with pytest.raises(BadImageError):
        load_square(b"\xff\xd8\xff\xe0" + bytes(3000), Preprocessing())
    assert spent().decode > before.decode
    with pytest.raises(ZeroDivisionError), spending("resize"):
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        raise ZeroDivisionError
    assert spent().resize >= before.resize + 0.01
