"""What an audit measures and does not judge: ties, centre bias, mirror images, agreement with other selectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from scipy import stats

from ltrp_bench.selectors.controls import centre_map
from ltrp_bench.selectors.topk import top_k

OVERLAP_RATIO: Final = 0.25
"""The keep ratio of `overlap`."""


@dataclass(frozen=True)
class Mean:
    """A mean over the images on which a measure is defined; `value` is None where it is on none."""

    value: float | None
    images: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Mean:
        """Of those that are not None."""
        there = [value for value in values if value is not None]
        return cls(float(np.mean(there)) if there else None, len(there))

    def json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {"value": self.value, "images": self.images}


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Rank correlation of two maps in [-1, 1], ties at their mean rank; None if either is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)


def tied(scores: np.ndarray) -> float:
    """Share of neighbouring ranks with equal scores, in [0, 1]: 0 if all scores differ, 1 if all are equal."""
    if scores.size < 2:
        return 0.0
    return float(np.mean(np.diff(np.sort(scores.ravel())) == 0))


def centre_bias(scores: Sequence[np.ndarray]) -> Mean:
    """Mean rank correlation of scores with the centre map: 1 looks at the centre alone, 0 does not favour it."""
    return Mean.of(spearman(one, centre_map((one.shape[0], one.shape[1]))) for one in scores)


def flip_invariance(scores: Sequence[np.ndarray], mirrored: Sequence[np.ndarray], axis: int) -> Mean:
    """Mean rank correlation of scores with those of the mirror image, mirrored back along `axis`; 1 is invariant."""
    pairs = zip(scores, mirrored, strict=True)
    return Mean.of(spearman(one, np.flip(other, axis)) for one, other in pairs)


def overlap(one: np.ndarray, other: np.ndarray, image: str, keep_ratio: float = OVERLAP_RATIO) -> float:
    """Share of the k patches kept by one that the other keeps too, in [0, 1]; r itself by chance."""
    both = torch.from_numpy(np.stack([one, other]))
    masks = top_k(both, keep_ratio, [image, image]).mask()
    return float((masks[0] & masks[1]).sum() / masks[0].sum())


def agreement(one: Sequence[np.ndarray], other: Sequence[np.ndarray], ids: Sequence[str]) -> tuple[Mean, Mean]:
    """Mean rank correlation and mean `overlap` of two selectors' scores of the same images."""
    pairs = list(zip(one, other, ids, strict=True))
    return Mean.of(spearman(a, b) for a, b, _ in pairs), Mean.of(overlap(a, b, image) for a, b, image in pairs)
