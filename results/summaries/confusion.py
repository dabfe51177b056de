"""Resampling summary of semantic segmentation: confusion matrices of images, added up under image weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np

from ltrp_bench.results.summaries.base import MetricGroup, ResamplingSummary, ratio, weighted_sums

METRICS: Final = ("mIoU", "mAcc", "aAcc", "unseen_called_seen")
"""Metrics of this kind; a summary may hold some of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfusionSummary(ResamplingSummary):
    """Means over the classes of a group of intersection over union (mIoU) or accuracy (mAcc), accuracy over the pixels
    of a group (aAcc), and the share of unseen pixels that are predicted as seen classes (unseen_called_seen).

    Every sum that a metric is made of is linear in the images' confusion matrices, so only sums of images are weighted.

    Attributes:
        image, true, predicted: [M] positions, one entry for each pair of classes that occurs in an image.
        pixels: [M] number of pixels of each entry.
    """

    kind: ClassVar[str] = "confusion"

    image: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    pixels: np.ndarray

    def _check_arrays(self) -> None:
        if unknown := sorted(set(self.metrics) - set(METRICS)):
            raise self._error(f"metric {unknown[0]!r} is none of {', '.join(METRICS)}")
        self._check_positions("image", self.image, None, len(self.images))
        size, classes = len(self.image), len(self.categories)
        self._check_positions("true", self.true, size, classes)
        self._check_positions("predicted", self.predicted, size, classes)
        self._check_array("pixels", self.pixels, "iu", (size,))
        if (self.pixels < 0).any():
            raise self._error("array 'pixels' holds a negative number")

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"image": self.image, "true": self.true, "predicted": self.predicted, "pixels": self.pixels}

    @classmethod
    def _own_fields(cls, arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {name: cls._stored(arrays, name, where) for name in ("image", "true", "predicted", "pixels")}

    @cached_property
    def _sums(self) -> np.ndarray:
        """[N, 3 C] correct, true and predicted pixels of each class in each image."""
        hit = self.true == self.predicted
        every = np.ones(len(self.image), bool)
        parts = (
            self._by_image(self.true, hit),
            self._by_image(self.true, every),
            self._by_image(self.predicted, every),
        )
        return np.concatenate(parts, axis=1)

    def _by_image(self, classes: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """[N, C] pixels of the `counted` entries, added up by image and class."""
        out = np.zeros((len(self.images), len(self.categories)))
        np.add.at(out, (self.image[counted], classes[counted]), self.pixels[counted].astype(np.float64))
        return out

    @cached_property
    def _called_seen(self) -> np.ndarray:
        """[N, 1] pixels of unseen classes that are predicted as seen classes."""
        called = np.isin(self.true, self._members["unseen"]) & np.isin(self.predicted, self._members["seen"])
        return np.bincount(self.image[called].astype(np.int64), self.pixels[called], len(self.images))[:, None]

    def _compute(self, pairs: list[MetricGroup], weights: np.ndarray) -> dict[MetricGroup, np.ndarray]:
        right, true, predicted = np.split(weighted_sums(weights, self._sums), 3, axis=1)
        called = weighted_sums(weights, self._called_seen)[:, 0]
        out = {}
        for metric, group in pairs:
            members = self._members[group]
            if metric == "mIoU":
                out[metric, group] = self._group_mean(ratio(right, true + predicted - right), group)
            elif metric == "mAcc":
                out[metric, group] = self._group_mean(ratio(right, true), group)
            elif metric == "aAcc":
                out[metric, group] = ratio(right[:, members].sum(1), true[:, members].sum(1))
            elif group == "unseen":
                out[metric, group] = ratio(called, true[:, members].sum(1))
            else:
                out[metric, group] = np.full(len(weights), np.nan)
        return out
