"""Scores of one ranker at several image sizes, averaged (beyond the paper).

A ranker of 12 x 12 patches sees a thirty-sixth of the image as four patches; the same ranker on the image at
twice the size sees it as sixteen, and loses sight of what is large. The mean over sizes ranks by both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError


def check_sizes(sizes: Sequence[int], patch_size: int) -> tuple[int, ...]:
    """The sizes as a tuple.

    Raises:
        UsageError: no size, or one that is not a whole number of patches.
    """
    given = [sizes] if isinstance(sizes, int) else list(sizes)
    for size in given:
        if isinstance(size, bool) or not isinstance(size, int) or size < patch_size or size % patch_size:
            raise UsageError(f"sizes: {size!r} is no multiple of the patch size {patch_size}")
    if not given or len(set(given)) < len(given):
        raise UsageError(f"sizes must be different sides in pixels, such as [96,192], got {given}")
    return tuple(given)


def multi_scale_scores(
    ranker: Callable[[Tensor], Tensor], images: Tensor, sizes: Sequence[int], patch_size: int
) -> Tensor:
    """Mean over sizes of the ranker's standardized scores.

    Each size's scores are standardized over the image (mean 0, standard deviation 1) before they are averaged: they
    have no common unit.

    Args:
        ranker: [B, 3, S, S] -> [B, (S / patch_size)²] scores, for each S of `sizes`.
        images: [B, 3, M, M] normalized, M the greatest of `sizes`; smaller sizes are resized from it (antialiased
            bilinear).
        sizes: sides in pixels, multiples of `patch_size`.
        patch_size: side of a patch in pixels.

    Returns:
        [B, (M / patch_size)²] scores in raster order of the grid of the greatest size; maps of smaller sizes are
        interpolated (bilinear).
    """
    side = max(sizes) // patch_size
    maps = []
    for size in sizes:
        resized = images
        if size != images.shape[-1]:
            resized = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        scores = ranker(resized).float()  # half precision has no room for the smallest deviation below
        scores = scores - scores.mean(dim=1, keepdim=True)
        scores = scores / scores.std(dim=1, keepdim=True, correction=0).clamp_min(1e-12)
        grid = scores.view(len(images), 1, size // patch_size, size // patch_size)
        maps.append(F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False))
    return torch.stack(maps).mean(dim=0).flatten(1)
