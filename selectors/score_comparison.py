"""Comparison of two sets of scores of the same images by the patches that they keep, the only meaning of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from ltrp_bench.selectors.topk import top_k

RATIOS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Keep ratios at which scores are compared."""


@dataclass(frozen=True)
class ScoreMatch:
    """Share of patches on which two sets of scores agree (both keep or both drop), over all keep ratios below 1.

    Attributes:
        worst: smallest share of any image and keep ratio, in [0, 1].
        mean: mean share over images and keep ratios.
        image: id of the image with the smallest share.
        difference: greatest difference of two scores of a patch, divided by the range of the image's scores.
        patches: number of patches of that image.
    """

    worst: float
    mean: float
    image: str
    difference: float
    patches: int

    def same(self, worst: float = 0.97, mean: float = 0.995) -> bool:
        """True if the difference is rounding: a swap of two patches now and then.

        Args:
            worst: smallest share allowed for any image; one swap of two patches is always allowed.
            mean: smallest mean share allowed.
        """
        return self.worst >= min(worst, 1 - 2 / self.patches) and self.mean >= mean

    @property
    def text(self) -> str:
        """Summary for reports."""
        return (
            f"{1 - self.worst:.1%} of the patches decided otherwise (mean over images and ratios "
            f"{1 - self.mean:.2%}); scores differ by up to {self.difference:.2g} of their range"
        )


def compare_scores(one: Sequence[np.ndarray], other: Sequence[np.ndarray], image_ids: Sequence[str]) -> ScoreMatch:
    """Compare two lists of [gh, gw] scores of the same images.

    Scores within 1e-5 of their range, or 1e-6 of their magnitude, of each other count as equal, ties included.
    """
    matches = [_compare_image(a, b, image) for a, b, image in zip(one, other, image_ids, strict=True)]
    worst = min(matches, key=lambda match: match.worst)
    mean = float(np.mean([match.mean for match in matches]))
    return ScoreMatch(worst.worst, mean, worst.image, max(match.difference for match in matches), worst.patches)


def _compare_image(a: np.ndarray, b: np.ndarray, image: str) -> ScoreMatch:
    a, b = a.astype(np.float64), b.astype(np.float64)
    spread, difference = float(np.ptp(a)), float(np.abs(a - b).max())
    relative = difference / spread if spread else float(difference > 0)
    if difference <= max(1e-5 * spread, 1e-6 * float(np.abs(a).max())):
        return ScoreMatch(1.0, 1.0, image, relative, a.size)
    both = torch.from_numpy(np.stack([a, b]))
    masks = [top_k(both, ratio, [image, image]).mask() for ratio in RATIOS if ratio < 1]
    shares = [float((mask[0] == mask[1]).float().mean()) for mask in masks]
    return ScoreMatch(min(shares), float(np.mean(shares)), image, relative, a.size)
