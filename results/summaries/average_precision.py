"""Evidence of several labels an image: scores and truth of every image, ranked anew under image weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ltrp_bench.results.summaries.base import Evidence, Pair, blocks, ratio

SIZES: Final[Mapping[str, int | None]] = {"mAP": None, "mAP_small": 0, "mAP_medium": 1, "mAP_large": 2}
"""Metric -> bit of the size of an object that an image must hold to count as showing the category."""


class Ranking(Evidence):
    """Mean over a group's categories of average precision: the sum of precision times rise of recall over distinct
    scores, best first, as scikit-learn has it. An image drawn twice counts twice at its score.

    Arrays: scores [N, C]; labels [N, C], 1 present, 0 absent, -1 not asked for; sizes [N, C], bit i where an object of
    the i-th size is there.
    """

    kind = "ranking"

    def _load(self) -> None:
        if unknown := sorted(set(self.metrics) - SIZES.keys()):
            raise self._wrong(f"metric {unknown[0]!r} is none of {', '.join(SIZES)}")
        shape = (len(self.images), len(self.categories))
        self._scores = self._array("scores", "f", shape).astype(np.float64)
        if not np.isfinite(self._scores).all():
            raise self._wrong("array 'scores' holds NaN or an infinity")
        self._labels = self._array("labels", "i", shape).astype(np.int8)
        if self._labels.size and (self._labels.min() < -1 or self._labels.max() > 1):
            raise self._wrong("array 'labels' holds something else than -1, 0 and 1")
        self._sizes = self._array("sizes", "u", shape).astype(np.uint8)

    def _compute(self, pairs: list[Pair], weights: np.ndarray) -> dict[Pair, np.ndarray]:
        metrics = dict.fromkeys(metric for metric, _ in pairs)
        values = {metric: np.full((len(weights), len(self.categories)), np.nan) for metric in metrics}
        for column in range(len(self.categories)):
            order = np.argsort(-self._scores[:, column], kind="stable")
            ranked = self._scores[order, column]
            # The last image of each distinct score.
            ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, int)
            labels, sizes = self._labels[order, column], self._sizes[order, column]
            for rows in blocks(len(weights), 40 * max(len(order), 1)):
                drawn = weights[rows][:, order].astype(np.int64)
                for metric in metrics:
                    bit = SIZES[metric]
                    present = labels > 0
                    if bit is not None:
                        present = present & (((sizes >> bit) & 1) > 0)
                    values[metric][rows, column] = _average_precision(drawn, present, present | (labels == 0), ends)
        return {(metric, group): self._group_mean(values[metric], group) for metric, group in pairs}


def _average_precision(drawn: np.ndarray, present: np.ndarray, counted: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """[b] of weights [b, N] best first; NaN where nothing is present."""
    if not present.any():
        return np.full(len(drawn), np.nan)
    found = np.cumsum(drawn * present, axis=1)[:, ends]
    asked = np.cumsum(drawn * counted, axis=1)[:, ends]
    rise = np.diff(found, axis=1, prepend=0)
    return ratio((rise * ratio(found, asked)).sum(1, where=rise > 0), found[:, -1])
