"""Semantic segmentation's metrics of any group of classes, from one confusion matrix.

The whole matrix is kept for each image and added up; groups are slices of it. Setting the classes of other groups to
"ignore" instead would forget the pixels that are wrongly given to them, and so inflate a group's IoU.
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
    """One image's confusion matrix as rows, entries without pixels left out.

    Args:
        truth: [H, W] integers, indices of `classes` or `IGNORE_INDEX`.
        predicted: [H, W] indices of `classes`.
        classes: their names.

    Returns:
        Rows {"true", "predicted", "pixels"}, in the order of classes.

    Raises:
        ValueError: shapes differ, or an index is no class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"a prediction of {predicted.shape} pixels for a truth of {truth.shape}")
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
    """A confusion matrix and what it says of groups of classes.

    Attributes:
        classes: names of rows (truth) and columns (prediction).
        matrix: [C, C] pixels, int64.
    """

    classes: tuple[str, ...]
    matrix: np.ndarray

    @classmethod
    def of(cls, images: Iterable[Sequence[Mapping[str, Any]]], classes: Sequence[str]) -> Confusion:
        """The sum of images' matrices, given as `confusion_rows`."""
        index = {name: i for i, name in enumerate(classes)}
        matrix = np.zeros((len(classes), len(classes)), np.int64)
        for rows in images:
            for row in rows:
                matrix[index[row["true"]], index[row["predicted"]]] += int(row["pixels"])
        return cls(tuple(classes), matrix)

    @property
    def iou(self) -> np.ndarray:
        """[C] intersection over union; NaN of a class that is neither there nor predicted, as mmseg has it."""
        return ratio(self._right, self.matrix.sum(0) + self.matrix.sum(1) - self._right)

    @property
    def accuracy(self) -> np.ndarray:
        """[C] share of each class's pixels that are right; NaN of a class that is not there."""
        return ratio(self._right, self.matrix.sum(1))

    @property
    def _right(self) -> np.ndarray:
        return np.diagonal(self.matrix)

    def mean_iou(self, group: Collection[str]) -> float:
        """mIoU: mean over a group's classes that have one."""
        return defined_mean(self.iou[self._of(group)])

    def mean_accuracy(self, group: Collection[str]) -> float:
        """mAcc: mean over a group's classes that are there."""
        return defined_mean(self.accuracy[self._of(group)])

    def pixel_accuracy(self, group: Collection[str]) -> float:
        """aAcc: share of a group's pixels that are right."""
        members = self._of(group)
        return float(ratio(self._right[members].sum(), self.matrix[members].sum()))

    def share_called(self, true: Collection[str], called: Collection[str]) -> float:
        """Share of the pixels of one group that are given to the classes of another."""
        rows = self.matrix[self._of(true)]
        return float(ratio(rows[:, self._of(called)].sum(), rows.sum()))

    def pixels(self, group: Collection[str]) -> int:
        """Pixels of a group in the truth."""
        return int(self.matrix[self._of(group)].sum())

    def _of(self, group: Collection[str]) -> np.ndarray:
        return np.array([name in group for name in self.classes], bool)
