"""Evidence of box and mask average precision: ranked verdicts, whose precision is computed anew under image weights.

Matching is done within an image, so that an image drawn twice brings its detections and objects twice with the same
verdicts; only ranks and counts change. With weights w a detection counts w[image] times at its rank. Between equal
scores of two images the evaluator's order stays: its copies would interleave, which no drawn sample can tell apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse

from ltrp_bench.results.summaries.base import Evidence, Pair, blocks, ratio

RULES: Final = ("coco", "voc_area", "voc_11points")
RECALLS: Final = np.linspace(0.0, 1.0, 101)
"""COCO's recall points, to the last bit: how many a recall reaches is decided by comparing floats."""

_MOST_THRESHOLDS: Final = 16


@dataclass(frozen=True)
class _Table:
    """Verdicts on one area range. Detections of category c are rows starts[c] .. starts[c + 1], best first."""

    rule: str
    image: np.ndarray
    starts: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    objects: sparse.csr_array
    """[C, N] objects that count."""


class Detections(Evidence):
    """Average precision, the mean over categories with objects; tables and curves as docs/statistics.md has them."""

    kind = "detections"

    def _load(self) -> None:
        tables = self._meta.get("tables")
        if not isinstance(tables, list | tuple) or not all(isinstance(table, Mapping) for table in tables):
            raise self._wrong("meta/tables must be a list of mappings")
        self._thresholds = {str(t.get("name")): self._threshold_count(t) for t in tables}
        self._tables = {str(t.get("name")): self._table(t) for t in tables}
        self._curves = self._read_curves()

    def _threshold_count(self, table: Mapping[str, Any]) -> int:
        count = table.get("thresholds")
        if not isinstance(count, int) or not 1 <= count <= _MOST_THRESHOLDS:
            raise self._wrong(f"table {table.get('name')!r} has {count!r} thresholds, not 1 .. {_MOST_THRESHOLDS}")
        return count

    def _table(self, about: Mapping[str, Any]) -> _Table:
        name, ranks, rule = str(about.get("name")), str(about.get("ranks")), about.get("rule")
        if rule not in RULES:
            raise self._wrong(f"table {name!r} has the rule {rule!r}; there are {', '.join(RULES)}")
        images, classes = len(self.images), len(self.categories)
        image = self._positions(f"{ranks}/image", None, images)
        size = len(image)
        category = self._positions(f"{ranks}/category", size, classes)
        if (np.diff(category) < 0).any():
            raise self._wrong(f"table {ranks!r} is not sorted by category")
        bits = [self._array(f"{name}/{what}", "iu", (size,)).astype(np.int64) for what in ("matched", "ignored")]
        if any((b < 0).any() or (b >> self._thresholds[name]).any() for b in bits):
            raise self._wrong(f"table {name!r} sets a bit beyond its {self._thresholds[name]} thresholds")
        if (bits[0] & bits[1]).any():
            raise self._wrong(f"table {name!r} has a detection both matched and ignored")
        where = self._positions(f"{name}/truth_image", None, images)
        what = self._positions(f"{name}/truth_category", len(where), classes)
        count = self._array(f"{name}/truth_count", "iu", (len(where),)).astype(np.int64)
        if (count < 0).any():
            raise self._wrong(f"table {name!r} counts less than no object")
        objects = sparse.csr_array((count, (what, where)), shape=(classes, images))
        return _Table(rule, image, np.searchsorted(category, np.arange(classes + 1)), bits[0], bits[1], objects)

    def _read_curves(self) -> dict[str, tuple[str, int | None]]:
        curves = self._meta.get("curves")
        if not isinstance(curves, Mapping):
            raise self._wrong("no mapping meta/curves")
        out: dict[str, tuple[str, int | None]] = {}
        for metric in self.metrics:
            curve = curves.get(metric)
            if not isinstance(curve, list | tuple) or len(curve) != 2 or curve[0] not in self._tables:
                raise self._wrong(f"meta/curves has no table for the metric {metric!r}")
            name, at = curve
            if at is not None and not (isinstance(at, int) and 0 <= at < self._thresholds[name]):
                raise self._wrong(f"meta/curves asks for threshold {at!r} of table {name!r}")
            out[metric] = name, at
        return out

    def _compute(self, pairs: list[Pair], weights: np.ndarray) -> dict[Pair, np.ndarray]:
        asked: dict[str, set[int]] = defaultdict(set)
        for metric, _ in pairs:
            asked[self._curves[metric][0]].update(self._columns(metric))
        values = {name: self._average_precisions(name, sorted(at), weights) for name, at in asked.items()}
        out = {}
        for metric, group in pairs:
            of = values[self._curves[metric][0]]
            by_category = np.mean([of[t] for t in self._columns(metric)], axis=0)
            out[metric, group] = self._group_mean(by_category, group)
        return out

    def _columns(self, metric: str) -> list[int]:
        """Thresholds that a metric is a mean over."""
        name, at = self._curves[metric]
        return list(range(self._thresholds[name])) if at is None else [at]

    def _average_precisions(self, name: str, thresholds: list[int], weights: np.ndarray) -> dict[int, np.ndarray]:
        """Threshold -> [B, C] average precision; NaN of a category without objects under the weights."""
        table = self._tables[name]
        positive = np.asarray(table.objects @ weights.T.astype(np.int64)).T
        out = {t: np.full(positive.shape, np.nan) for t in thresholds}
        for c in range(len(self.categories)):
            if not positive[:, c].any():
                continue
            ranks = slice(table.starts[c], table.starts[c + 1])
            verdicts = [_Verdicts.of(table.matched[ranks], table.ignored[ranks], t) for t in thresholds]
            last = max((int(v.right[-1]) + 1 for v in verdicts if len(v.right)), default=0)
            image = table.image[ranks][:last]  # behind the last find nothing changes precision at any recall
            for rows in blocks(len(weights), 64 * max(last, 1)):
                drawn = np.take(weights[rows], image, axis=1)
                ahead = np.cumsum(drawn, axis=1, dtype=np.int32)
                objects = positive[rows, c]
                for t, verdict in zip(thresholds, verdicts, strict=True):
                    out[t][rows, c] = verdict.average_precision(table.rule, drawn, ahead, objects)
        return out


@dataclass(frozen=True)
class _Verdicts:
    """Ranks of one category's detections that are right, and how to count those that are not left out.

    Attributes:
        right: [R] ranks of true positives.
        some: ranks that are left out, or those that are not: whichever are fewer.
        left_out: whether `some` are those left out.
        before: [R] how many of `some` are at a rank up to that of each of `right`.
    """

    right: np.ndarray
    some: np.ndarray
    left_out: bool
    before: np.ndarray

    @classmethod
    def of(cls, matched: np.ndarray, ignored: np.ndarray, threshold: int) -> _Verdicts:
        right = np.flatnonzero((matched >> threshold) & 1)
        away = ((ignored >> threshold) & 1).astype(bool)[: int(right[-1]) + 1 if len(right) else 0]
        left_out = 2 * int(away.sum()) <= len(away)
        some = np.flatnonzero(away if left_out else ~away)
        return cls(right, some, left_out, np.searchsorted(some, right, side="right"))

    def average_precision(self, rule: str, drawn: np.ndarray, ahead: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """[b] of `drawn` [b, n], the weight of each rank, `ahead`, its cumulative sum, and [b] weighted objects.

        Precision rises only at true positives, so its monotone envelope is that of the true positives alone, and
        every recall point is first reached at one of them; the point 0 has the envelope's greatest value.
        """
        if not len(self.right):
            return np.where(objects > 0, 0.0, np.nan)
        weight = np.take(drawn, self.right, axis=1)
        hits = np.cumsum(weight, axis=1, dtype=np.int32)
        counted = self._counted(drawn, ahead)
        envelope = hits / np.maximum(counted, 1)
        flipped = envelope[:, ::-1]
        np.maximum.accumulate(flipped, axis=1, out=flipped)
        if rule == "voc_area":
            return ratio(np.einsum("bn,bn->b", envelope, weight.astype(np.float64)), objects)
        reached, points = _reached(rule, hits, np.maximum(objects, 1))
        steps = np.diff(reached, axis=1, prepend=0)
        return np.where(objects > 0, np.einsum("bn,bn->b", envelope, steps) / points, np.nan)

    def _counted(self, drawn: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """[b, R] weight of all detections up to each of `right`, those left out excepted."""
        if self.left_out and not len(self.some):
            return np.take(ahead, self.right, axis=1)
        sums = np.zeros((len(drawn), len(self.some) + 1), np.int32)
        np.cumsum(np.take(drawn, self.some, axis=1), axis=1, dtype=np.int32, out=sums[:, 1:])
        part = np.take(sums, self.before, axis=1)
        return np.take(ahead, self.right, axis=1) - part if self.left_out else part


def _reached(rule: str, hits: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, int]:
    """How many recall points `hits` [b, R] of `objects` [b] reach, [b, R] float64; and how many points there are."""
    if rule == "voc_11points":
        # Whole numbers: 3 of 10 reach the point 0.3, which as a sum of tenths they would miss by a rounding.
        return (10 * hits.astype(np.int64) // objects[:, None] + 1).astype(np.float64), 11
    recall = hits / objects[:, None]
    last = len(RECALLS) - 1
    low = np.minimum((recall * last).astype(np.int32), last)  # off by one at most: rounding, corrected below
    low += np.take(_NEXT, low) <= recall
    low -= np.take(RECALLS, low) > recall
    return low + 1.0, len(RECALLS)


_NEXT: Final = np.append(RECALLS[1:], np.inf)
