"""Preparation of images for a selector: resized to its input size and normalized by its mean and std."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import Selector
from ltrp_bench.selectors.normalization import normalize


def prepare_images(
    images: Sequence[np.ndarray], selector: Selector, grid: tuple[int, int], device: torch.device | str = "cpu"
) -> Tensor:
    """Resize (antialiased bilinear) and normalize images as a selector expects them.

    Args:
        images: [H, W, 3] uint8 RGB, all of one size.
        selector: gives input size, patch size, mean and std.
        grid: (gh, gw) patches; a selector without an input size gets images of `grid` times its patch size.
        device: where the result lies.

    Returns:
        [B, 3, H', W'] float32.
    """
    size = selector.input_size or (grid[0] * selector.patch_size, grid[1] * selector.patch_size)
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255.0
    if tuple(pixels.shape[2:]) != tuple(size):
        pixels = F.interpolate(pixels, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
        # Rounding can pass 0 or 1 by an ulp.
        pixels = pixels.clamp_(0.0, 1.0)
    return normalize(pixels, selector.mean, selector.std)
