"""How a model that takes whole images receives a selection: dropped patches filled with the mean, or fewer pixels.

`fill` overwrites pixels before the model's own normalisation by the very numbers it will subtract, so that dropped
patches are exactly zero behind it, before any layer. It says nothing about speed. `downsample` is the control that
spends the same number of patches on a smaller image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ltrp_bench.selectors.errors import InputError, UsageError


def patch_grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """(gh, gw) of an image's content; a patch that reaches beyond the border counts as one."""
    return -(-height // patch), -(-width // patch)


def fill(content: np.ndarray, keep: np.ndarray, patch: int, mean: Sequence[float]) -> np.ndarray:
    """The content with its dropped patches set to the mean.

    Args:
        content: [H, W, 3] pixels in [0, 255], any type, without padding.
        keep: [gh, gw] bool on `patch_grid(H, W, patch)`.
        patch: pixels along a patch's side.
        mean: of each channel, in [0, 255]: what the model's normalisation subtracts.

    Returns:
        [H, W, 3] float32 copy.

    Raises:
        InputError: the selection is of another grid.
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
    """(h, w) of an image of the same shape with `keep_ratio` of the pixels; at least one each."""
    if not 0 < keep_ratio <= 1:
        raise UsageError(f"keep ratio must be in (0, 1], got {keep_ratio}")
    side = math.sqrt(keep_ratio)
    return max(1, round(height * side)), max(1, round(width * side))
