"""Metrics of several labels an image: mean average precision, F1 of categories and overall, of any group.

Everything is taken over the whole data set: a category's average precision ranks all images by their score of it,
and groups are means over their categories. (A mean of the mAPs of batches is another number, which changes with the
batch size.)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ltrp_bench.tasks.metrics.averages import defined_mean

SIZES = ("small", "medium", "large")
SCORE_DIGITS = 9
"""Of scores: below that lies what matrix products differ by between machines."""

METRICS = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "CF1_top3", "OF1_top3")
SIZE_METRICS = tuple(f"mAP_{size}" for size in SIZES)
_TOP = 3


def pack(scores: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> dict[str, bytes]:
    """One image's row, in the order of the categories; [C] each, see `MultiLabel`.

    One row of bytes rather than one a category: NUS-WIDE has nine million pairs of image and category, and rows of
    words took some thirty times as long to check, hash and store.
    """
    rounded = np.round(scores.astype(np.float64), SCORE_DIGITS)
    return {
        "scores": rounded.astype("<f8").tobytes(),
        "labels": labels.astype(np.int8).tobytes(),
        "sizes": sizes.astype(np.uint8).tobytes(),
    }


def unpack(row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, labels, sizes) of a packed row."""
    return (
        np.frombuffer(row["scores"], "<f8"),
        np.frombuffer(row["labels"], np.int8),
        np.frombuffer(row["sizes"], np.uint8),
    )


def average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Area under precision and recall as steps, sum of (R_n - R_(n-1)) P_n over distinct scores, best first.

    scikit-learn's `average_precision_score`: equal scores are one step. NaN where nothing is present.

    Args:
        scores: [N], finite.
        present: [N] bool.
    """
    if not present.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last image of each distinct score
    found = np.cumsum(present[order])[ends]
    return float(np.sum(np.diff(found, prepend=0) * (found / (ends + 1))) / found[-1])


@dataclass(frozen=True)
class MultiLabel:
    """Scores and truth of a data set, and what they say of groups of categories.

    Attributes:
        categories: names of the columns.
        scores: [N, C] float64 in [0, 1].
        labels: [N, C] int8: 1 present, 0 absent, -1 not asked for (neither is right or wrong there).
        sizes: [N, C] uint8: bit i is set where an object of the category has the size `SIZES[i]`.
        threshold: scores from here on say "present", for precision, recall and F1.
    """

    categories: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    threshold: float = 0.5

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], categories: Sequence[str], threshold: float = 0.5) -> MultiLabel:
        """From packed rows, one an image."""
        parts = [unpack(row) for row in rows]
        empty = np.zeros((0, len(categories)))
        scores, labels, sizes = (np.stack(part) for part in zip(*parts, strict=True)) if parts else (empty,) * 3
        return cls(tuple(categories), scores, labels.astype(np.int8), sizes.astype(np.uint8), threshold)

    def count(self, group: Collection[str], size: str | None = None) -> int:
        """Pairs of image and category of a group that are present, with an object of that size."""
        return int(self._present(size)[:, self._of(group)].sum())

    def average_precisions(self, size: str | None = None) -> np.ndarray:
        """[C] average precision; NaN of a category that no image shows.

        Of a size, the images that show the category are those with an object of that size; those that show it in
        other sizes only are left out, and those that do not show it stay. So the published code's label planes have
        it (ASL, ML-Decoder and what builds on them: an object of less than 32² square pixels, less than 96², more).
        """
        if size not in self._known:
            present = self._present(size)
            columns = zip(self.scores.T, present.T, (present | (self.labels == 0)).T, strict=True)
            self._known[size] = np.array([average_precision(s[a], p[a]) for s, p, a in columns], dtype=np.float64)
        return self._known[size]

    @cached_property
    def _known(self) -> dict[str | None, np.ndarray]:
        """What `average_precisions` has computed: every group asks for the same."""
        return {}

    def predicted(self, top: int | None = None) -> np.ndarray:
        """[N, C] bool: said to be present; with `top`, only among an image's so many best scores.

        Equal scores: the category that comes first. What is not asked for takes nobody's place.
        """
        said = (self.scores >= self.threshold) & (self.labels >= 0)
        if top is not None:
            ranks = np.argsort(np.argsort(-np.where(self.labels >= 0, self.scores, -1), axis=1, kind="stable"), axis=1)
            said &= ranks < top
        return said

    def summary(self, group: Collection[str], with_sizes: bool = False) -> dict[str, tuple[float, int]]:
        """Each of `METRICS` (and `SIZE_METRICS`) of a group: (value in [0, 1], pairs present); NaN without any."""
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

    def _rates(self, members: np.ndarray, said: np.ndarray) -> dict[str, float]:
        """Precision, recall and F1 of categories (C, over those that are present at all) and overall (O).

        CF1 is the harmonic mean of CP and CR, as the literature's tables have it (Chen et al., ML-GCN, CVPR 2019), not
        the mean of the categories' F1. A category that is never predicted has precision 0.
        """
        present = self.labels[:, members] > 0
        said = said[:, members]
        right, claimed, there = (part.sum(0, dtype=np.float64) for part in (said & present, said, present))
        asked = there > 0
        if not asked.any():
            return dict.fromkeys(("CP", "CR", "CF1", "OP", "OR", "OF1"), math.nan)
        cp = float(np.mean(right[asked] / np.maximum(claimed[asked], 1)))
        cr = float(np.mean(right[asked] / there[asked]))
        op, or_ = float(right.sum() / max(claimed.sum(), 1)), float(right.sum() / there.sum())
        return {"CP": cp, "CR": cr, "CF1": _harmonic(cp, cr), "OP": op, "OR": or_, "OF1": _harmonic(op, or_)}

    def _present(self, size: str | None) -> np.ndarray:
        present = self.labels > 0
        return present if size is None else present & ((self.sizes >> SIZES.index(size)) & 1).astype(bool)

    def _of(self, group: Collection[str]) -> np.ndarray:
        return np.array([name in group for name in self.categories], bool)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0
