"""Semantic segmentation metrics of any group of classes, from one confusion matrix.

The full matrix of every image is kept and summed, and groups are slices of the sum. Setting the classes of other groups
to the ignore label instead would drop the pixels that are wrongly predicted as them, and so inflate a group's IoU.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltrp_bench.results.summaries.base import ratio
from ltrp_bench.tasks.data.annotations import IGNORE_INDEX
from ltrp_bench.tasks.metrics.averages import defined_mean


def confusion_rows(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Confusion matrix of one image as rows; entries without pixels are left out.

    Args:
        truth: [H, W] integers, indices of `classes` or `IGNORE_INDEX`.
        predicted: [H, W] indices of `classes`.
        classes: their names.

    Returns:
        Rows {"true", "predicted", "pixels"}, in the order of classes.

    Raises:
        ValueError: if the shapes differ or an index is not a class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the prediction has {predicted.shape} pixels, the class map {truth.shape}")
    count = len(classes)
    counted = truth != IGNORE_INDEX
    found = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    if any(part.size and (part.min() < 0 or part.max() >= count) for part in found):
        raise ValueError(f"a class index beyond 0 .. {count - 1}")
    matrix = np.bincount(found[0] * count + found[1], minlength=count * count).reshape(count, count)
    return [
        {"true": classes[i], "predicted": classes[j], "pixels": int(matrix[i, j])}
        for i, j in zip(*np.nonzero(matrix), strict=True)
    ]


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of a data set, and metrics over groups of its classes.

    Attributes:
        classes: names of rows (truth) and columns (prediction).
        matrix: [C, C] pixels, int64.
    """

    classes: tuple[str, ...]
    matrix: np.ndarray

    @classmethod
    def of(cls, images: Iterable[Sequence[Mapping[str, Any]]], classes: Sequence[str]) -> Confusion:
        """Sum of the matrices of images, each given as `confusion_rows`."""
        index = {name: i for i, name in enumerate(classes)}
        matrix = np.zeros((len(classes), len(classes)), np.int64)
        for rows in images:
            for row in rows:
                matrix[index[row["true"]], index[row["predicted"]]] += int(row["pixels"])
        return cls(tuple(classes), matrix)

    @property
    def iou(self) -> np.ndarray:
        """[C] intersection over union; NaN for a class that neither occurs nor is predicted, as in mmseg."""
        return ratio(self._right, self.matrix.sum(0) + self.matrix.sum(1) - self._right)

    @property
    def accuracy(self) -> np.ndarray:
        """[C] share of each class's pixels that are correct; NaN for a class that does not occur."""
        return ratio(self._right, self.matrix.sum(1))

    @property
    def _right(self) -> np.ndarray:
        return np.diagonal(self.matrix)

    def mean_iou(self, group: Collection[str]) -> float:
        """mIoU: mean IoU over the classes of a group that have one."""
        return defined_mean(self.iou[self._of(group)])

    def mean_accuracy(self, group: Collection[str]) -> float:
        """mAcc: mean accuracy over the classes of a group that occur."""
        return defined_mean(self.accuracy[self._of(group)])

    def pixel_accuracy(self, group: Collection[str]) -> float:
        """aAcc: share of a group's pixels that are correct."""
        members = self._of(group)
        return float(ratio(self._right[members].sum(), self.matrix[members].sum()))

    def share_called(self, true: Collection[str], called: Collection[str]) -> float:
        """Share of the pixels of one group that are predicted as classes of another."""
        rows = self.matrix[self._of(true)]
        return float(ratio(rows[:, self._of(called)].sum(), rows.sum()))

    def pixels(self, group: Collection[str]) -> int:
        """Number of pixels of a group in the ground truth."""
        return int(self.matrix[self._of(group)].sum())

    def _of(self, group: Collection[str]) -> np.ndarray:
        return np.array([name in group for name in self.classes], bool)
