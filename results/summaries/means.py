"""Resampling summary of metrics that are a mean over entries, objects or images: coverage, CorLoc, top-1, top-5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ltrp_bench.results.summaries.base import MetricGroup, ResamplingSummary, ratio, weighted_sums

NO_CATEGORY: Final = -1
"""Category position of an entry that is in no category, and so in no group."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MeansSummary(ResamplingSummary):
    """Means over M entries, each of one image.

    A metric of a group is the sum of w[image] value over the sum of w[image], taken over the entries that count for
    the metric and whose category is in the group. A metric of `per_image` is a mean over images instead: the value of
    an image is the greatest of its entries that count, and images without any do not count.

    Attributes:
        image: [M] position of each entry's image.
        category: [M] position of each entry's category, or `NO_CATEGORY`.
        entries: [metrics, M] values, NaN where an entry does not count for a metric; stored as "values".
        per_image: the metrics that are means over images; stored in "meta", if there are any.
    """

    kind: ClassVar[str] = "means"

    image: np.ndarray
    category: np.ndarray
    entries: np.ndarray
    per_image: tuple[str, ...] = ()

    def _check_arrays(self) -> None:
        self._check_positions("image", self.image, None, len(self.images))
        size = len(self.image)
        self._check_positions("category", self.category, size, len(self.categories), NO_CATEGORY)
        self._check_array("values", self.entries, "f", (len(self.metrics), size))
        if np.isinf(self.entries).any():
            raise self._error("array 'values' holds an infinity")
        self._check_names("per_image", self.per_image)
        if unknown := sorted(set(self.per_image) - set(self.metrics)):
            raise self._error(f"meta/per_image names {unknown[0]!r}, which is no metric")

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"image": self.image, "category": self.category, "values": self.entries}

    def _meta(self) -> dict[str, Any]:
        return {**super()._meta(), **({"per_image": list(self.per_image)} if self.per_image else {})}

    @classmethod
    def _own_fields(cls, arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {
            "image": cls._stored(arrays, "image", where),
            "category": cls._stored(arrays, "category", where),
            "entries": cls._stored(arrays, "values", where),
            "per_image": cls._names(where, "per_image", arrays["meta"].get("per_image", [])),
        }

    def _compute(self, pairs: list[MetricGroup], weights: np.ndarray) -> dict[MetricGroup, np.ndarray]:
        columns = np.concatenate([self._sums(metric, group) for metric, group in pairs], axis=1)
        sums = weighted_sums(weights, columns)
        return {pair: ratio(sums[:, 2 * i], sums[:, 2 * i + 1]) for i, pair in enumerate(pairs)}

    def images_counted(self, metric: str, group: str) -> int | None:
        """See `ResamplingSummary.images_counted`: for metrics of `per_image`."""
        return int(self._sums(metric, group)[:, 1].sum()) if metric in self.per_image else None

    def _sums(self, metric: str, group: str) -> np.ndarray:
        """[N, 2] sum of values and number of entries of each image."""
        values = self.entries[self.metrics.index(metric)].astype(np.float64)
        counted = ~np.isnan(values) & np.isin(self.category, self._members[group])
        image, size = self.image[counted].astype(np.int64), len(self.images)
        if metric in self.per_image:
            greatest = np.full(size, -np.inf)
            np.maximum.at(greatest, image, values[counted])
            there = greatest > -np.inf
            return np.stack([np.where(there, greatest, 0.0), there.astype(np.float64)], axis=1)
        return np.stack([np.bincount(image, values[counted], size), np.bincount(image, minlength=size)], axis=1)
