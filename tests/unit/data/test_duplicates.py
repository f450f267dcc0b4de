"""Equal pixels decide, likeness groups: conflicts, leaks, true near-duplicates found, look-alikes left apart."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from headstart.data.duplicates import find_duplicates, merged_groups
from headstart.images.load import load_image
from headstart.images.preprocess import Preprocessing


def hashes(*codes: int) -> list[bytes]:
    return [bytes([code]) * 32 if code else b"" for code in codes]


def find(labels, parts, pixel_hashes, thumbnails=None, vectors=None):
    n = len(labels)
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 256, (n, 32, 32)).astype(np.uint8) if thumbnails is None else thumbnails
    vectors = rng.normal(size=(n, 16)).astype(np.float16) if vectors is None else vectors
    return find_duplicates(np.array(labels), np.array(parts), pixel_hashes, thumbnails, vectors)


def test_conflicts_and_leaks_come_from_equal_pixels():
    parts = ["train", "train", "train", "val", "test", "test", "test", "train"]
    found = find([0, 1, 0, 0, 0, 1, 1, 0], parts, hashes(1, 1, 2, 3, 3, 4, 4, 5))
    assert found.exact == ((0, 1), (3, 4), (5, 6))
    assert found.conflicts == (0, 1) and found.leaks == (4,)
    assert found.near == () and found.large == ()


def test_pictures_that_could_not_be_opened_are_no_duplicates():
    flat = np.zeros((4, 32, 32), np.uint8)
    found = find([0, 1, 0, 1], ["train"] * 4, hashes(0, 0, 1, 2), flat, np.zeros((4, 8)))
    assert found.exact == () and found.conflicts == () and found.near == ()


def photo(seed: int, size=(240, 180)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(30, 200, (9, 12, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def altered():
    """30 pictures, and 6 copies of each of the first five: what mail, messengers and photo editors do."""
    originals = [photo(seed) for seed in range(30)]
    sources, origin = [encoded(image, "PNG") for image in originals], list(range(30))
    for k, image in enumerate(originals[:5]):
        copies = [
            encoded(image, "JPEG", quality=60),
            encoded(image, "WEBP", quality=60),
            encoded(image.resize((120, 90), Image.Resampling.BICUBIC), "PNG"),
            encoded(image.resize((480, 360), Image.Resampling.BICUBIC), "JPEG"),
            encoded(ImageEnhance.Brightness(image).enhance(0.85), "PNG"),
            encoded(ImageEnhance.Contrast(image).enhance(1.15), "PNG"),
        ]
        sources += copies
        origin += [k] * len(copies)
    pictures = [load_image(source, Preprocessing(side=64)) for source in sources]
    # A poor stand-in for features, on purpose: thumbnails alone must do for such copies.
    vectors = np.random.default_rng(1).normal(size=(len(sources), 32)).astype(np.float16)
    return [p.pixel_hash for p in pictures], np.stack([p.thumbnail for p in pictures]), vectors, np.array(origin)


def test_altered_copies_are_found_and_different_pictures_are_not(altered):
    pixel_hashes, thumbnails, vectors, origin = altered
    n = len(origin)
    found = find_duplicates(np.zeros(n, int), np.full(n, "train"), pixel_hashes, thumbnails, vectors)
    assert sorted(found.near) == sorted(tuple(np.flatnonzero(origin == k).tolist()) for k in range(5))
    assert found.exact == () and found.conflicts == () and found.large == ()


def test_a_common_look_is_no_near_duplicate():
    # Like solar cells: one strong common structure, little of their own.
    rng = np.random.default_rng(0)
    common = np.kron(rng.integers(40, 220, (8, 8)), np.ones((4, 4)))
    own = np.kron(rng.normal(0, 9, (200, 16, 16)), np.ones((2, 2)))
    thumbnails = np.clip(common + own, 0, 255).astype(np.uint8)
    found = find([0] * 200, ["train"] * 200, [bytes([k]) * 32 for k in range(1, 201)], thumbnails)
    assert found.near == () and found.large == ()


def test_features_decide_in_doubt():
    rng = np.random.default_rng(0)
    thumbnails = np.kron(rng.integers(0, 256, (40, 8, 8)), np.ones((4, 4))).astype(float)
    thumbnails[1] = thumbnails[0] + rng.normal(0, 8, (32, 32))  # correlation about 0.994
    thumbnails = np.clip(thumbnails, 0, 255).astype(np.uint8)
    vectors = rng.normal(size=(40, 64))
    apart = find([0] * 40, ["train"] * 40, [bytes([k]) * 32 for k in range(1, 41)], thumbnails, vectors)
    vectors[1] = vectors[0] + rng.normal(0, 0.05, 64)
    together = find([0] * 40, ["train"] * 40, [bytes([k]) * 32 for k in range(1, 41)], thumbnails, vectors)
    assert apart.near == () and together.near == ((0, 1),)


def test_flat_pictures_are_not_alike():
    thumbnails = np.full((50, 32, 32), 128, np.uint8)
    thumbnails[:, 0, 0] += np.arange(50, dtype=np.uint8)
    found = find([0] * 50, ["train"] * 50, [bytes([k]) * 32 for k in range(1, 51)], thumbnails, np.zeros((50, 4)))
    assert found.near == () and found.large == ()


def test_a_large_group_is_reported_not_merged():
    rng = np.random.default_rng(0)
    base = np.kron(rng.integers(0, 200, (8, 8)), np.ones((4, 4)))
    thumbnails = np.concatenate([base + rng.normal(0, 1, (60, 32, 32)), rng.integers(0, 256, (40, 32, 32))])
    found = find(
        [0] * 100,
        ["train"] * 100,
        [bytes([k]) * 32 for k in range(1, 101)],
        np.clip(thumbnails, 0, 255).astype(np.uint8),
    )
    assert found.large == (tuple(range(60)),) and found.near == ()
    assert len(np.unique(merged_groups(100, None, found))) == 100


def test_thousands_alike_take_seconds_and_little_memory():
    rng = np.random.default_rng(0)
    base = np.kron(rng.integers(0, 200, (8, 8)), np.ones((4, 4)))
    thumbnails = np.clip(base + rng.integers(0, 3, (5000, 1, 1)), 0, 255).astype(np.uint8)
    codes = [k.to_bytes(32, "big") for k in range(1, 5001)]
    found = find([0] * 5000, ["train"] * 5000, codes, thumbnails, np.zeros((5000, 4), np.float16))
    assert [len(group) for group in found.large] == [5000]


def test_given_groups_and_duplicates_are_one_set_of_groups():
    found = find([0] * 6, ["train"] * 6, hashes(1, 1, 2, 3, 3, 4))
    groups = merged_groups(6, np.array(["", "g", "g", "", "", ""]), found)
    assert groups.tolist() == [0, 0, 0, 1, 1, 2]
