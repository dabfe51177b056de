"""Images of `shapes`, generated once per process and kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from ltrp_bench.tasks.data.shapes.world import SIZE

Target = TypeVar("Target")


class DrawnImages(Generic[Target]):
    """Images and their targets, drawn on first access (27 kB per image of three channels).

    Args:
        count: number of images.
        draw: index -> [96, 96, channels] uint8 and the target.
        channels: planes of an image.
    """

    def __init__(self, count: int, draw: Callable[[int], tuple[np.ndarray, Target]], channels: int = 3) -> None:
        self._draw = draw
        self._pixels = np.zeros((count, SIZE, SIZE, channels), np.uint8)
        self._targets: dict[int, Target] = {}

    def __getitem__(self, index: int) -> tuple[np.ndarray, Target]:
        if index not in self._targets:
            self._pixels[index], self._targets[index] = self._draw(index)
        return self._pixels[index], self._targets[index]
