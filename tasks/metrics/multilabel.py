"""Multi-label metrics of any group of categories: mean average precision, per-category and overall F1.

Metrics are computed over the whole data set: the average precision of a category ranks all images by their score, and a
group is the mean over its categories. A mean of per-batch mAPs would be another number, which changes with the batch
size.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ltrp_bench.results.summaries.average_precision import distinct_ends
from ltrp_bench.tasks.data.annotations import SIZES
from ltrp_bench.tasks.metrics.averages import defined_mean

SCORE_DIGITS = 9
"""Digits to which scores are rounded; matrix products differ between machines in later ones."""

METRICS = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "CF1_top3", "OF1_top3")
SIZE_METRICS = tuple(f"mAP_{size}" for size in SIZES)
_TOP = 3


def pack(scores: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> dict[str, bytes]:
    """Row of one image from arrays [C], in the order of the categories; see `MultiLabel`.

    One row of bytes rather than one row per category: NUS-WIDE has nine million pairs of image and category, and rows
    with names took about thirty times as long to check, hash and store.
    """
    rounded = np.round(scores.astype(np.float64), SCORE_DIGITS)
    return {
        "scores": rounded.astype("<f8").tobytes(),
        "labels": labels.astype(np.int8).tobytes(),
        "sizes": sizes.astype(np.uint8).tobytes(),
    }


def unpack(row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, labels, sizes), each [C], of a packed row."""
    return (
        np.frombuffer(row["scores"], "<f8"),
        np.frombuffer(row["labels"], np.int8),
        np.frombuffer(row["sizes"], np.uint8),
    )


def average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Average precision: the sum of (R_n - R_(n-1)) P_n over distinct scores, best first; NaN where nothing is present.

    As in scikit-learn's `average_precision_score`, equal scores are one step.

    Args:
        scores: [N], finite.
        present: [N] bool.
    """
    if not present.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = distinct_ends(ranked)
    found = np.cumsum(present[order])[ends]
    return float(np.sum(np.diff(found, prepend=0) * (found / (ends + 1))) / found[-1])


@dataclass(frozen=True)
class MultiLabel:
    """Scores and labels of a data set, and metrics over groups of its categories.

    Attributes:
        categories: names of the columns.
        scores: [N, C] float64 in [0, 1].
        labels: [N, C] int8: 1 present, 0 absent, -1 unknown (not evaluated).
        sizes: [N, C] uint8: bit i is set where an object of the category has the size `SIZES[i]`.
        threshold: score from which a category is predicted as present, for precision, recall and F1.
    """

    categories: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    threshold: float = 0.5

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], categories: Sequence[str], threshold: float = 0.5) -> MultiLabel:
        """Build from packed rows, one per image."""
        parts = [unpack(row) for row in rows]
        empty = np.zeros((0, len(categories)))
        scores, labels, sizes = (np.stack(part) for part in zip(*parts, strict=True)) if parts else (empty,) * 3
        return cls(tuple(categories), scores, labels.astype(np.int8), sizes.astype(np.uint8), threshold)

    def count(self, group: Collection[str], size: str | None = None) -> int:
        """Number of present pairs of image and category of a group; with `size`, those with an object of that size."""
        return int(self._present(size)[:, self._of(group)].sum())

    def average_precisions(self, size: str | None = None) -> np.ndarray:
        """[C] average precision; NaN for a category that is in no image.

        With `size`, positives are the images with an object of that size; images that have the category in other sizes
        only are left out, and images without the category are the negatives. This follows the label planes of the
        published code (ASL, ML-Decoder and its successors; borders at areas of 32² and 96²).
        """
        if size not in self._known:
            present = self._present(size)
            columns = zip(self.scores.T, present.T, (present | (self.labels == 0)).T, strict=True)
            self._known[size] = np.array([average_precision(s[a], p[a]) for s, p, a in columns], dtype=np.float64)
        return self._known[size]

    @cached_property
    def _known(self) -> dict[str | None, np.ndarray]:
        """Size -> average precisions computed before: they are the same for every group."""
        return {}

    def predicted(self, top: int | None = None) -> np.ndarray:
        """[N, C] bool predictions; with `top`, at most that many of the highest scores of an image.

        Equal scores are ranked in the order of categories; unknown labels are left out of the ranking.
        """
        out = (self.scores >= self.threshold) & (self.labels >= 0)
        if top is not None:
            ranks = np.argsort(np.argsort(-np.where(self.labels >= 0, self.scores, -1), axis=1, kind="stable"), axis=1)
            out &= ranks < top
        return out

    def summary(self, group: Collection[str], with_sizes: bool = False) -> dict[str, tuple[float, int]]:
        """Metric -> (value in [0, 1], number of present pairs) of a group; NaN if there are none.

        The metrics are `METRICS`, and `SIZE_METRICS` if `with_sizes`.
        """
        n, members = self.count(group), self._of(group)
        values = {"mAP": (defined_mean(self.average_precisions()[members]), n)}
        for ending, top in (("", None), (f"_top{_TOP}", _TOP)):
            rates = self._rates(members, self.predicted(top))
            values |= {f"{name}{ending}": (value, n) for name, value in rates.items()}
        found = {name: values[name] for name in METRICS}
        if with_sizes:
            for size, name in zip(SIZES, SIZE_METRICS, strict=True):
                found[name] = defined_mean(self.average_precisions(size)[members]), self.count(group, size)
        return found

    def _rates(self, members: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        """Precision, recall and F1 per category (C: mean over the categories that are present at all) and overall (O).

        CF1 is the harmonic mean of CP and CR, as reported in the literature (Chen et al., ML-GCN, CVPR 2019), not the
        mean of the categories' F1. A category that is never predicted has precision 0.
        """
        present = self.labels[:, members] > 0
        predicted = predicted[:, members]
        parts = (predicted & present, predicted, present)
        right, claimed, positive = (part.sum(0, dtype=np.float64) for part in parts)
        occurs = positive > 0
        if not occurs.any():
            return dict.fromkeys(("CP", "CR", "CF1", "OP", "OR", "OF1"), math.nan)
        cp = float(np.mean(right[occurs] / np.maximum(claimed[occurs], 1)))
        cr = float(np.mean(right[occurs] / positive[occurs]))
        op, or_ = float(right.sum() / max(claimed.sum(), 1)), float(right.sum() / positive.sum())
        return {"CP": cp, "CR": cr, "CF1": _harmonic(cp, cr), "OP": op, "OR": or_, "OF1": _harmonic(op, or_)}

    def _present(self, size: str | None) -> np.ndarray:
        present = self.labels > 0
        return present if size is None else present & ((self.sizes >> SIZES.index(size)) & 1).astype(bool)

    def _of(self, group: Collection[str]) -> np.ndarray:
        return np.array([name in group for name in self.categories], bool)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0
