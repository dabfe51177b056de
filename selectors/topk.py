"""Selection of patches by their scores: the only place where scores become indices."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.errors import InputError, UsageError


@dataclass(frozen=True)
class PatchSelection:
    """The kept patches of a batch.

    Attributes:
        indices: [B, k] int64, raster order, unique per row, in [0, gh * gw).
        grid: (gh, gw).
        keep_ratio: share of patches to keep, in (0, 1].
    """

    indices: Tensor
    grid: tuple[int, int]
    keep_ratio: float

    def mask(self) -> Tensor:
        """[B, gh, gw] bool, true where kept."""
        gh, gw = self.grid
        flat = torch.zeros(len(self.indices), gh * gw, dtype=torch.bool, device=self.indices.device)
        return flat.scatter_(1, self.indices, True).view(-1, gh, gw)


def count_kept(keep_ratio: float, patches: int) -> int:
    """k = max(1, round(r * L)) with Python's rounding (halves to even); `UsageError` unless 0 < r <= 1."""
    if not 0 < keep_ratio <= 1:
        raise UsageError(f"keep ratio must be in (0, 1], got {keep_ratio}")
    return max(1, round(keep_ratio * patches))


def tie_keys(image_ids: Sequence[str], patches: int, seed: int) -> np.ndarray:
    """[B, L] uint64 pseudo-random keys of (image id, patch index, seed): how ties in scores are broken.

    SplitMix64's finaliser (Steele et al., OOPSLA 2014) over a CRC of the id; the same on every machine.
    """
    ids = np.array([zlib.crc32(i.encode()) for i in image_ids], dtype=np.uint64)[:, None]
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = (ids << np.uint64(32)) + np.arange(patches, dtype=np.uint64)[None] + np.uint64(seed) * step + step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def rank_patches(scores: Tensor, image_ids: Sequence[str] | None = None, seed: int = 0) -> Tensor:
    """All patches from best to worst.

    Args:
        scores: [B, gh, gw] finite.
        image_ids: one per image; ties are broken by a hash of (id, patch, seed), never by position. Without ids
            every image counts as "".
        seed: of the tie-break.

    Returns:
        [B, L] int64 raster indices, best first. Depends on each image alone, not on its batch.
    """
    if scores.ndim != 3:
        raise InputError(f"scores must be [B, gh, gw], got {list(scores.shape)}")
    ids = [""] * len(scores) if image_ids is None else image_ids
    return torch.from_numpy(rank_rows(scores.detach().float().flatten(1).cpu().numpy(), ids, seed)).to(scores.device)


def rank_rows(scores: np.ndarray, image_ids: Sequence[str], seed: int) -> np.ndarray:
    """`rank_patches` on NumPy arrays.

    Args:
        scores: [B, L] float32, finite; the patches of each image in raster order.
        image_ids: names of the images, as in `rank_patches`.
        seed: seed of the order of ties, as in `rank_patches`.

    Returns:
        [B, L] int64 raster indices, best first.

    Raises:
        InputError: NaN, infinite values, or another number of ids than of images.
    """
    if not np.isfinite(scores).all():
        raise InputError("scores hold NaN or infinite values; a selector must return finite scores")
    if len(image_ids) != len(scores):
        raise InputError(f"{len(image_ids)} image ids for {len(scores)} images")
    keys = tie_keys(image_ids, scores.shape[1], seed)
    return np.stack([np.lexsort((key, -row)) for key, row in zip(keys, scores, strict=True)])


def top_k(scores: Tensor, keep_ratio: float, image_ids: Sequence[str] | None = None, seed: int = 0) -> PatchSelection:
    """Keep the k = max(1, round(r * L)) patches of greatest score; nested over keep ratios.

    Args:
        scores: [B, gh, gw] finite.
        keep_ratio: r in (0, 1].
        image_ids: names of the images, as in `rank_patches`.
        seed: seed of the order of ties, as in `rank_patches`.
    """
    k = count_kept(keep_ratio, scores[0].numel())
    order = rank_patches(scores, image_ids, seed)
    grid = (int(scores.shape[1]), int(scores.shape[2]))
    return PatchSelection(order[:, :k].sort(dim=1).values, grid, keep_ratio)


def resample_scores(scores: Tensor, grid: tuple[int, int]) -> Tensor:
    """[B, h, w] scores to [B, gh, gw] on another patch grid over the same image (antialiased bilinear)."""
    if tuple(scores.shape[1:]) == tuple(grid):
        return scores
    if grid[1] == 1 < grid[0]:
        # On a CPU, torch 2.15 mixes up the rows of an antialiased result of one column.
        return resample_scores(scores.transpose(1, 2), (1, grid[0])).transpose(1, 2)
    return F.interpolate(scores[:, None].float(), size=grid, mode="bilinear", antialias=True, align_corners=False)[:, 0]
