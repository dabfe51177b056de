"""The eight flips and quarter turns of the square, which leave the categories of `shapes` unchanged."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.tasks.data.shapes.world import SIZE


def random_turn(rng: np.random.Generator) -> tuple[int, bool]:
    """Number of quarter turns in 0 .. 3, and True to mirror."""
    return int(rng.integers(4)), bool(rng.integers(2))


def turned(pixels: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """[H, W, ...] after so many quarter turns, then perhaps mirrored left to right."""
    out = np.rot90(pixels, turns)
    return out[:, ::-1] if mirror else out


def turned_box(box: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """Box [4] (x, y, width, height) in pixels on the image that `turned` makes of its own; float32."""
    x, y, w, h = (float(v) for v in box)
    for _ in range(turns):
        x, y, w, h = y, SIZE - x - w, h, w
    return np.array([SIZE - x - w if mirror else x, y, w, h], np.float32)


def image_tensor(pixels: np.ndarray) -> Tensor:
    """[H, W, C] -> [C, H, W], a copy."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
