"""Evidence of semantic segmentation: confusion matrices of images, added up under image weights."""

from __future__ import annotations

from typing import Final

import numpy as np

from ltrp_bench.results.summaries.base import Evidence, Pair, ratio, weighted_sums

METRICS: Final = ("mIoU", "mAcc", "aAcc", "unseen_called_seen")


class Confusion(Evidence):
    """Means over a group's classes of intersection over union (mIoU) or of accuracy (mAcc), the accuracy of its pixels
    (aAcc), and the share of unseen pixels that are given to seen classes.

    Arrays, one entry for each pair of classes in each image: image, true, predicted [M], pixels [M]. Every sum that a
    metric is made of is linear in the images' matrices, so that only sums of images are weighted.
    """

    kind = "confusion"

    def _load(self) -> None:
        if unknown := sorted(set(self.metrics) - set(METRICS)):
            raise self._wrong(f"metric {unknown[0]!r} is none of {', '.join(METRICS)}")
        image = self._positions("image", None, len(self.images))
        size, classes = len(image), len(self.categories)
        true = self._positions("true", size, classes)
        predicted = self._positions("predicted", size, classes)
        pixels = self._array("pixels", "iu", (size,)).astype(np.float64)
        if (pixels < 0).any():
            raise self._wrong("array 'pixels' holds less than none")
        hit = true == predicted

        def by_image(classes_of: np.ndarray, some: np.ndarray) -> np.ndarray:
            out = np.zeros((len(self.images), classes))
            np.add.at(out, (image[some], classes_of[some]), pixels[some])
            return out

        every = np.ones(size, bool)
        # [N, 3 C]: right, true and predicted pixels of each class.
        self._sums = np.concatenate([by_image(true, hit), by_image(true, every), by_image(predicted, every)], axis=1)
        called = np.isin(true, self._members["unseen"]) & np.isin(predicted, self._members["seen"])
        self._called = np.bincount(image[called], pixels[called], len(self.images))[:, None]

    def _compute(self, pairs: list[Pair], weights: np.ndarray) -> dict[Pair, np.ndarray]:
        right, true, predicted = np.split(weighted_sums(weights, self._sums), 3, axis=1)
        called = weighted_sums(weights, self._called)[:, 0]
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
