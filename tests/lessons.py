"""What fine-tuning is tested on: squares of real pictures, and what the pretrained network gives for them at a cut."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from headstart.backbone.backbone import Backbone
from headstart.backbone.network import Network
from headstart.head.linear import LinearHead
from headstart.images.load import load_image


def squares(folder: Path, backbone: Backbone, classes: int, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, side, side, 3) and labels (n,), the classes in turn."""
    folders = sorted(f for f in folder.iterdir() if f.is_dir())[:classes]
    files = [sorted(f.iterdir())[i] for i in range(per_class) for f in folders]
    pixels = np.stack([load_image(file, backbone.preprocessing).pixels for file in files])
    return pixels, np.arange(len(files)) % classes


@dataclass
class Maps:
    """Activations of `pixels` in front of every cut, in fp32; each call of `batch` is counted by its size."""

    network: Network
    pixels: np.ndarray
    depths: tuple[int, ...] = (7,)
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.maps: list[np.ndarray] = [self.pixels]
        self.pooled: list[np.ndarray] = []
        with torch.inference_mode():
            x = self.network.scaled(torch.from_numpy(self.pixels))
            for stage in self.network.stages():
                x = stage(x)
                self.maps.append(np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()))
                self.pooled.append(x.mean((2, 3)).numpy())

    def reading(self, depths: tuple[int, ...]) -> Maps:
        """The same, for a head that reads other depths."""
        other = copy(self)
        other.depths, other.asked = depths, []
        return other

    @property
    def embeddings(self) -> np.ndarray:
        """The depths the head reads, side by side."""
        return np.concatenate([self.pooled[d] for d in self.depths], axis=1)

    def batch(self, cut: int, rows: np.ndarray, views_of_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert len(rows) == len(views_of_rows)
        self.asked.append(len(rows))
        below = [self.pooled[d] for d in self.depths if d < cut]
        vectors = np.concatenate(below, axis=1) if below else np.zeros((len(self.pixels), 0), np.float32)
        return self.maps[cut][rows], vectors[rows].astype(np.float16 if cut == 0 else np.float32)

    def views(self, cut: int) -> tuple[str, ...]:
        return ("untouched",)

    def head(self, classes: int, seed: int = 0, size: float = 0.02) -> LinearHead:
        """A random head that standardises as these pictures would have it."""
        X = self.embeddings.astype(np.float64)
        rng = np.random.default_rng(seed)
        weights = rng.normal(0, size, (classes, X.shape[1]))
        return LinearHead(weights, rng.normal(0, 0.1, classes), X.mean(0), X.std(0) + 0.05)
