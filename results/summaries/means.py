"""Evidence of metrics that are a mean over entries, objects or images: coverage, top-1, top-5."""

from __future__ import annotations

from typing import Final

import numpy as np

from ltrp_bench.results.summaries.base import Evidence, Pair, ratio, weighted_sums

NO_CATEGORY: Final = -1


class Means(Evidence):
    """A mean over entries, each of one image.

    Arrays: image [M], category [M] (`NO_CATEGORY`: of no category, and so of no group), values [metrics, M] with NaN
    where an entry does not count for a metric. A metric of a group is sum w[image] value / sum w[image] over the
    entries that count and whose category is in the group.
    """

    kind = "means"

    def _load(self) -> None:
        self._image = self._positions("image", None, len(self.images))
        size = len(self._image)
        self._category = self._positions("category", size, len(self.categories), NO_CATEGORY)
        self._values = self._array("values", "f", (len(self.metrics), size)).astype(np.float64)
        if np.isinf(self._values).any():
            raise self._wrong("array 'values' holds an infinity")

    def _compute(self, pairs: list[Pair], weights: np.ndarray) -> dict[Pair, np.ndarray]:
        columns = np.concatenate([self._sums(metric, group) for metric, group in pairs], axis=1)
        sums = weighted_sums(weights, columns)
        return {pair: ratio(sums[:, 2 * i], sums[:, 2 * i + 1]) for i, pair in enumerate(pairs)}

    def _sums(self, metric: str, group: str) -> np.ndarray:
        """[N, 2] sum of values and number of entries of each image."""
        values = self._values[self.metrics.index(metric)]
        counted = ~np.isnan(values) & np.isin(self._category, self._members[group])
        image, size = self._image[counted], len(self.images)
        return np.stack([np.bincount(image, values[counted], size), np.bincount(image, minlength=size)], axis=1)
