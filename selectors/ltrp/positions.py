"""Masked positions at which semantic density compares predictions of a CrossMAE: all, or a spread sample of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MaskedAutoencoder, count_visible
from ltrp_bench.selectors.option_checks import check_whole

Positions = Literal["all"] | int | float
"""Masked positions at which predictions are made: all, a number of them (int), or a share (float)."""


GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Step between uniform numbers in [0, 1), modulo 1, that are to differ much and to stay uniform."""


def count_positions(positions: Positions, masked: int) -> int:
    """Number of the `masked` positions that `positions` asks for: all of them, a number, or a share in (0, 1].

    Raises:
        UsageError: none, or more than are masked.
    """
    if positions == "all":
        return masked
    share = isinstance(positions, float)
    if isinstance(positions, str) or not 0 < positions <= (1 if share else masked):
        raise UsageError(
            f"positions must be all, a whole number from 1 to the {masked} masked patches or a share in (0, 1), "
            f"not {positions}"
        )
    return max(1, int(round(masked * positions, 9))) if share else int(positions)


def spread_positions(masked: Tensor, count: int, grid: tuple[int, int], offsets: Tensor) -> Tensor:
    """A systematic sample of each image's [B, M] masked positions, spread over the image: [B, count].

    Along a Hilbert curve through the grid, whose neighbors are neighbors in the image, every (M / count)-th masked
    position is taken. Each position is as likely as any other, so that means over a sample are unbiased. Changes of a
    prediction are alike at neighboring positions; a spread sample therefore varies less than a random one.

    Args:
        masked: indices of the masked patches.
        count: number of positions, at most M.
        grid: (gh, gw) patches.
        offsets: [B] uniform random numbers in [0, 1), where to start.
    """
    along = hilbert_order(grid).to(masked.device)[masked].argsort(dim=1)
    step = masked.shape[1] / count
    # In double precision: the greatest index must not be rounded up to M.
    starts = (offsets.double().unsqueeze(1) + torch.arange(count, device=offsets.device)) * step
    picks = starts.long().clamp_(max=masked.shape[1] - 1).to(masked.device)
    return masked.gather(1, along.gather(1, picks))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Predictions of a CrossMAE from which semantic density is estimated; by default it is exact.

    Attributes:
        positions: masked positions that are reconstructed: "all", a number, or a share of them (`spread_positions`).
        samples: number of these at which each removal is compared, drawn where it matters (`sampled_density`); None
            compares at all of them.
    """

    positions: Positions = "all"
    samples: int | None = None

    @property
    def exact(self) -> bool:
        """True if predictions are compared at all masked positions."""
        return self.positions == "all" and self.samples is None

    def check(self, mae: MaskedAutoencoder, mask_ratio: float, hide_in_encoder: bool, cross: bool) -> None:
        """Raise `UsageError` unless it suits the reconstructor.

        Args:
            mae: the reconstructor.
            mask_ratio: share of masked patches.
            hide_in_encoder: True to hide patches in the encoder.
            cross: True for a CrossMAE.
        """
        if not cross and not self.exact:
            raise UsageError(
                "positions and samples are for a CrossMAE; a MAE predicts all masked patches at once: leave them out"
            )
        if cross:
            count_positions(self.positions, mae.patches - count_visible(mask_ratio, mae.patches))
        if self.samples is not None:
            check_whole("semantic density", "samples", self.samples, 1)
            if hide_in_encoder:
                raise UsageError("samples need a patch hidden in the decoder: leave out samples, or hide=decoder")


EXACT = Sampling()


@cache
def hilbert_order(grid: tuple[int, int]) -> Tensor:
    """[L] place of each patch, in raster order, along a Hilbert curve through the enclosing square of 2^k patches."""
    side = 1 << (max(grid) - 1).bit_length()
    distances = [_hilbert_distance(side, row, column) for row in range(grid[0]) for column in range(grid[1])]
    return torch.tensor(distances).argsort().argsort()


def _hilbert_distance(side: int, row: int, column: int) -> int:
    """Distance of a cell from the start of the curve (Warren, Hacker's Delight, section 16-1)."""
    x, y, distance, half = column, row, 0, side // 2
    while half:
        right, lower = int(x & half > 0), int(y & half > 0)
        distance += half * half * ((3 * right) ^ lower)
        if not lower:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        half //= 2
    return distance
