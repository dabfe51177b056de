"""Reduced inputs for models that take whole images: dropped patches filled with the mean, or a smaller image.

`fill` overwrites the pixels of dropped patches with the mean that the model's normalization subtracts. The first
layer receives exact zeros there; this saves no compute. `downsampled_size` is used by the control `downsample`, which
shrinks the whole image until it has as many patches as the others keep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ltrp_bench.selectors.errors import InputError, UsageError


def patch_grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """(gh, gw) of an image of height x width pixels; incomplete patches at the border are counted."""
    return -(-height // patch), -(-width // patch)


def fill(content: np.ndarray, keep: np.ndarray, patch: int, mean: Sequence[float]) -> np.ndarray:
    """Set the dropped patches of an image to the mean.

    Args:
        content: [H, W, 3] pixels in [0, 255] of any type, without padding.
        keep: [gh, gw] bool, True for kept patches, on the grid `patch_grid(H, W, patch)`.
        patch: side of a patch in pixels.
        mean: value of each channel in [0, 255] that the model's normalization subtracts.

    Returns:
        [H, W, 3] float32 copy.

    Raises:
        InputError: the selection has another grid.
    """
    height, width = content.shape[:2]
    grid = patch_grid(height, width, patch)
    if keep.shape != grid:
        raise InputError(
            f"a selection of {keep.shape[0]}x{keep.shape[1]} patches does not fit an image of {height}x{width} "
            f"pixels and patches of {patch} ({grid[0]}x{grid[1]})"
        )
    pixels = np.repeat(np.repeat(keep.astype(bool), patch, 0), patch, 1)[:height, :width]
    out = content.astype(np.float32)
    out[~pixels] = np.asarray(mean, np.float32)
    return out


def downsampled_size(height: int, width: int, keep_ratio: float) -> tuple[int, int]:
    """(h, w) of an image with the same aspect ratio and a share `keep_ratio` of the pixels; at least 1 x 1.

    Raises UsageError unless 0 < keep_ratio <= 1.
    """
    if not 0 < keep_ratio <= 1:
        raise UsageError(f"keep ratio must be in (0, 1], got {keep_ratio}")
    side = math.sqrt(keep_ratio)
    return max(1, round(height * side)), max(1, round(width * side))
