"""Resampling summary of multi-label mAP: scores and labels of every image, ranked again under image weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ltrp_bench.results.summaries.base import MetricGroup, ResamplingSummary, blocks, ratio

SIZE_BITS: Final[Mapping[str, int | None]] = {"mAP": None, "mAP_small": 0, "mAP_medium": 1, "mAP_large": 2}
"""Metric -> bit of the object size that an image must hold to count as showing the category; None: any size."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingSummary(ResamplingSummary):
    """Mean over a group's categories of average precision, as scikit-learn's `average_precision_score`.

    Average precision is the sum of precision times rise of recall over distinct scores, best first. An image drawn
    twice counts twice at its score.

    Attributes:
        scores: [N, C] finite scores.
        labels: [N, C] 1 present, 0 absent, -1 unknown (not evaluated).
        sizes: [N, C] unsigned, bit i set where an object of the i-th size (small, medium, large) is present.
    """

    kind: ClassVar[str] = "ranking"

    scores: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray

    def _check_arrays(self) -> None:
        if unknown := sorted(set(self.metrics) - SIZE_BITS.keys()):
            raise self._error(f"metric {unknown[0]!r} is none of {', '.join(SIZE_BITS)}")
        shape = (len(self.images), len(self.categories))
        self._check_array("scores", self.scores, "f", shape)
        if not np.isfinite(self.scores).all():
            raise self._error("array 'scores' holds NaN or an infinity")
        self._check_array("labels", self.labels, "i", shape)
        if self.labels.size and (self.labels.min() < -1 or self.labels.max() > 1):
            raise self._error("array 'labels' holds values other than -1, 0 and 1")
        self._check_array("sizes", self.sizes, "u", shape)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"scores": self.scores, "labels": self.labels, "sizes": self.sizes}

    @classmethod
    def _own_fields(cls, arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {name: cls._stored(arrays, name, where) for name in ("scores", "labels", "sizes")}

    def _compute(self, pairs: list[MetricGroup], weights: np.ndarray) -> dict[MetricGroup, np.ndarray]:
        metrics = dict.fromkeys(metric for metric, _ in pairs)
        values = {metric: np.full((len(weights), len(self.categories)), np.nan) for metric in metrics}
        for column in range(len(self.categories)):
            scores = self.scores[:, column].astype(np.float64)
            order = np.argsort(-scores, kind="stable")
            ends = distinct_ends(scores[order])
            labels, sizes = self.labels[order, column], self.sizes[order, column]
            for rows in blocks(len(weights), 40 * max(len(order), 1)):
                drawn = weights[rows][:, order].astype(np.int64)
                for metric in metrics:
                    bit = SIZE_BITS[metric]
                    present = labels > 0
                    if bit is not None:
                        present = present & (((sizes >> bit) & 1) > 0)
                    values[metric][rows, column] = _average_precision(drawn, present, present | (labels == 0), ends)
        return {(metric, group): self._group_mean(values[metric], group) for metric, group in pairs}


def distinct_ends(ranked: np.ndarray) -> np.ndarray:
    """Positions of the last of each distinct score in scores [N] sorted from best to worst."""
    return np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, int)


def _average_precision(drawn: np.ndarray, present: np.ndarray, counted: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """[b] average precision of weights [b, N], best first; NaN where nothing is present."""
    if not present.any():
        return np.full(len(drawn), np.nan)
    found = np.cumsum(drawn * present, axis=1)[:, ends]
    total = np.cumsum(drawn * counted, axis=1)[:, ends]
    rise = np.diff(found, axis=1, prepend=0)
    return ratio((rise * ratio(found, total)).sum(1, where=rise > 0), found[:, -1])
