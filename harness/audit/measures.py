"""Measures of a selector that have no pass or fail: ties, center bias, flip invariance, agreement with others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from scipy import stats

from ltrp_bench.harness.audit.audit_images import AuditImages
from ltrp_bench.harness.evaluation.plan import SelectorEntry
from ltrp_bench.selectors.controls import centre_map
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.probe import Violation
from ltrp_bench.selectors.topk import top_k

OVERLAP_RATIO: Final = 0.25
"""Keep ratio of `overlap`."""


@dataclass(frozen=True)
class Mean:
    """Mean over the images on which a measure is defined.

    Attributes:
        value: the mean; None if there are no such images.
        images: number of these images.
    """

    value: float | None
    images: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Mean:
        """Mean of the values that are not None."""
        defined = [value for value in values if value is not None]
        return cls(float(np.mean(defined)) if defined else None, len(defined))

    def json(self) -> dict[str, Any]:
        """Entry of the audit's JSON file."""
        return {"value": self.value, "images": self.images}


@dataclass(frozen=True)
class Measures:
    """Measures of one selector's scores; see docs/audit.md.

    Attributes:
        ties: mean share of neighbouring ranks with equal scores, in [0, 1].
        constant: share of images whose scores are all equal, in [0, 1].
        center: rank correlation with nearness to the image's center, in [-1, 1].
        flips: "horizontal", "vertical" -> rank correlation with the scores of the flipped image, in [-1, 1].
        agreement: other selector -> (rank correlation, `overlap`).
    """

    ties: float
    constant: float
    center: Mean
    flips: Mapping[str, Mean]
    agreement: Mapping[str, tuple[Mean, Mean]]

    def json(self) -> dict[str, Any]:
        """Entry of the audit's JSON file."""
        return {
            "tied_neighbours": self.ties,
            "constant_images": self.constant,
            "centre_bias": self.center.json(),
            "flip_invariance": {name: mean.json() for name, mean in self.flips.items()},
            "agreement": {
                name: {"spearman": rank.json(), f"overlap_at_{OVERLAP_RATIO:g}": shared.json()}
                for name, (rank, shared) in self.agreement.items()
            },
        }


def measure(selector: SelectorEntry, others: Sequence[SelectorEntry], images: AuditImages, device: str) -> Measures:
    """Measure a selector, one image at a time.

    Args:
        selector: the selector.
        others: selectors with which its agreement is measured.
        images: images of any sizes.
        device: where the selectors run.

    Raises:
        InputError: a selector fails on an image.
    """
    scores = _scores(selector, images, device)
    flips = {}
    for name, axis in (("horizontal", 1), ("vertical", 0)):
        flips[name] = flip_invariance(scores, _scores(selector, images.mirrored(axis), device), axis)
    return Measures(
        ties=float(np.mean([tied(one) for one in scores])),
        constant=float(np.mean([np.ptp(one) == 0 for one in scores])),
        center=center_bias(scores),
        flips=flips,
        agreement={other.name: agreement(scores, _scores(other, images, device), images.ids) for other in others},
    )


def _scores(entry: SelectorEntry, images: AuditImages, device: str) -> list[np.ndarray]:
    try:
        return images.probe(entry.selector, device).scores()
    except Violation as violation:
        raise InputError(
            f"selector {entry.name!r} fails on image {violation.image!r}: {violation.detail}"
        ) from violation


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


def center_bias(scores: Sequence[np.ndarray]) -> Mean:
    """Mean rank correlation of scores with the center map: 1 ranks by nearness to the center, 0 does not favor it."""
    return Mean.of(spearman(one, centre_map((one.shape[0], one.shape[1]))) for one in scores)


def flip_invariance(scores: Sequence[np.ndarray], flipped: Sequence[np.ndarray], axis: int) -> Mean:
    """Mean rank correlation of scores with those of the flipped image, flipped back along `axis`; 1 is invariant."""
    pairs = zip(scores, flipped, strict=True)
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
