"""Average precision of one category's ranked detections under image weights, by COCO's and by VOC's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ltrp_bench.results.summaries.base import ratio

Rule = Literal["coco", "voc_area", "voc_11points"]
"""COCO's mean over 101 recalls, VOC's area under the precision envelope (2010) or mean over 11 recalls (2007)."""

RECALLS: Final = np.linspace(0.0, 1.0, 101)
"""COCO's recall points, to the last bit: which of them a recall reaches is decided by comparing floats."""

_NEXT: Final = np.append(RECALLS[1:], np.inf)


@dataclass(frozen=True, eq=False)
class RankedMatches:
    """One category's detections at one IoU threshold: ranks of true positives, and ignored detections before them.

    Attributes:
        right: [R] ranks of true positives.
        some: ranks that are ignored, or ranks that are not: whichever are fewer.
        ignored: True if `some` are the ignored ranks.
        before: [R] number of `some` at a rank up to that of each of `right`.
    """

    right: np.ndarray
    some: np.ndarray
    ignored: bool
    before: np.ndarray

    @classmethod
    def of(cls, matched: np.ndarray, ignored: np.ndarray, threshold: int) -> RankedMatches:
        """Build it from the bits [n] of the detections in descending order of score; see `MatchTable`."""
        right = np.flatnonzero((matched >> threshold) & 1)
        away = ((ignored >> threshold) & 1).astype(bool)[: int(right[-1]) + 1 if len(right) else 0]
        few_ignored = 2 * int(away.sum()) <= len(away)
        some = np.flatnonzero(away if few_ignored else ~away)
        return cls(right, some, few_ignored, np.searchsorted(some, right, side="right"))

    def average_precision(self, rule: Rule, drawn: np.ndarray, ahead: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """[b] average precision; NaN where there are no objects.

        Precision rises only at true positives, so its monotone envelope is that of the true positives alone, and
        every recall point is first reached at one of them; recall 0 has the envelope's greatest value.

        Args:
            rule: how precision is summed up.
            drawn: [b, n] weight of each rank.
            ahead: its cumulative sum over ranks.
            objects: [b] weighted number of objects.
        """
        if not len(self.right):
            return np.where(objects > 0, 0.0, np.nan)
        weight = np.take(drawn, self.right, axis=1)
        hits = np.cumsum(weight, axis=1, dtype=np.int32)
        envelope = hits / np.maximum(self._counted(drawn, ahead), 1)
        flipped = envelope[:, ::-1]
        np.maximum.accumulate(flipped, axis=1, out=flipped)
        if rule == "voc_area":
            return ratio(np.einsum("bn,bn->b", envelope, weight.astype(np.float64)), objects)
        reached, points = _reached(rule, hits, np.maximum(objects, 1))
        steps = np.diff(reached, axis=1, prepend=0)
        return np.where(objects > 0, np.einsum("bn,bn->b", envelope, steps) / points, np.nan)

    def _counted(self, drawn: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """[b, R] weight of the detections that count up to each of `right`."""
        if self.ignored and not len(self.some):
            return np.take(ahead, self.right, axis=1)
        sums = np.zeros((len(drawn), len(self.some) + 1), np.int32)
        np.cumsum(np.take(drawn, self.some, axis=1), axis=1, dtype=np.int32, out=sums[:, 1:])
        part = np.take(sums, self.before, axis=1)
        return np.take(ahead, self.right, axis=1) - part if self.ignored else part


def _reached(rule: Rule, hits: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, int]:
    """Number of recall points that `hits` [b, R] of `objects` [b] reach, [b, R] float64; and the number of points."""
    if rule == "voc_11points":
        # Integer arithmetic: a recall of 3/10 must reach the recall point 0.3 in spite of rounding.
        return (10 * hits.astype(np.int64) // objects[:, None] + 1).astype(np.float64), 11
    recall = hits / objects[:, None]
    last = len(RECALLS) - 1
    low = np.minimum((recall * last).astype(np.int32), last)  # off by one at most: rounding, corrected below
    low += np.take(_NEXT, low) <= recall
    low -= np.take(RECALLS, low) > recall
    return low + 1.0, len(RECALLS)
