"""What the flows of the race share: fifteen handwritten digits that the frozen head gets wrong now and then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hurry import hurry


@pytest.fixture(scope="session")
def few_digits(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders 3, 8 and 9 of five digits each."""
    folder = tmp_path_factory.mktemp("few") / "digits"
    for digit in ("3", "8", "9"):
        (folder / digit).mkdir(parents=True)
        for picture in sorted((digits / digit).iterdir())[:5]:
            shutil.copy(picture, folder / digit)
    return folder


@pytest.fixture(scope="session")
def few_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classes as `photos` with five pictures each, for pages whose every line is run."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    for place in sorted(photos.iterdir()):
        (folder / place.name).mkdir(parents=True)
        for picture in sorted(place.iterdir())[:5]:
            shutil.copy(picture, folder / place.name)
    return folder


@pytest.fixture(scope="session")
def shuffled_digits(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV in which the labels of `few_digits` are shuffled."""
    pictures = sorted(few_digits.rglob("*.png"))
    labels = np.random.default_rng(3).permutation([p.parent.name for p in pictures])
    table = tmp_path_factory.mktemp("shuffled") / "shuffled.csv"
    rows = [f"{picture},label {label}\n" for picture, label in zip(pictures, labels, strict=True)]
    table.write_text("path,label\n" + "".join(rows))
    return table


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of seconds; see `hurry`."""
    hurry(monkeypatch.setattr)


@pytest.fixture(scope="module")
def hurried_module() -> Iterator[None]:
    """The same for the fixtures of a module."""
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch.setattr)
        yield
