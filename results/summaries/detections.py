"""Resampling summary of box and mask average precision: ranked detections and which objects they match.

Matching is done within an image, so an image drawn twice brings its detections and objects twice with the same
matches; only ranks and counts change. With weights w a detection counts w[image] times at its rank. Detections of two
images with equal scores keep the evaluator's order, although the copies of such images may as well interleave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, get_args

import numpy as np

from ltrp_bench.results.summaries.base import MetricGroup, ResamplingSummary, blocks
from ltrp_bench.results.summaries.ranked_precision import RankedMatches, Rule

RULES: Final[tuple[str, ...]] = get_args(Rule)
MAX_THRESHOLDS: Final = 16

Curve = tuple[str, int | None]
"""(name of a table, position of an IoU threshold; None for the mean over all of the table's thresholds)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedDetections:
    """M detections sorted by category, and within a category from best to worst score.

    Attributes:
        image: [M] position of each detection's image.
        category: [M] position of its category.
    """

    image: np.ndarray
    category: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchTable:
    """Matches of ranked detections at several IoU thresholds, on one range of object areas.

    Attributes:
        ranking: name of the `RankedDetections` that the table is about.
        rule: how precision is summed up.
        thresholds: number of IoU thresholds, at most 16.
        matched: [M] unsigned, bit t set for a true positive at threshold t.
        ignored: [M] unsigned, bit t set where the detection does not count at threshold t.
        truth_image, truth_category, truth_count: [T] number of objects that count, by image and category.
    """

    ranking: str
    rule: Rule
    thresholds: int
    matched: np.ndarray
    ignored: np.ndarray
    truth_image: np.ndarray
    truth_category: np.ndarray
    truth_count: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays by name, in the order in which they are stored."""
        return {
            "matched": self.matched,
            "ignored": self.ignored,
            "truth_image": self.truth_image,
            "truth_category": self.truth_category,
            "truth_count": self.truth_count,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionsSummary(ResamplingSummary):
    """Average precision, the mean over the categories of a group that have objects.

    Attributes:
        rankings: name -> ranked detections; tables of several area ranges share one.
        tables: name -> matches.
        curves: metric -> table and threshold that it is computed from.
    """

    kind: ClassVar[str] = "detections"

    rankings: Mapping[str, RankedDetections]
    tables: Mapping[str, MatchTable]
    curves: Mapping[str, Curve]

    def _check_arrays(self) -> None:
        for name, ranking in self.rankings.items():
            self._check_positions(f"{name}/image", ranking.image, None, len(self.images))
            self._check_positions(f"{name}/category", ranking.category, len(ranking.image), len(self.categories))
            if (np.diff(ranking.category.astype(np.int64)) < 0).any():
                raise self._error(f"ranking {name!r} is not sorted by category")
        for name, table in self.tables.items():
            self._check_table(name, table)
        for metric in self.metrics:
            self._check_curve(metric)

    def _check_table(self, name: str, table: MatchTable) -> None:
        if not isinstance(table.thresholds, int) or not 1 <= table.thresholds <= MAX_THRESHOLDS:
            raise self._error(f"table {name!r} has {table.thresholds!r} thresholds, not 1 .. {MAX_THRESHOLDS}")
        if table.rule not in RULES:
            raise self._error(f"table {name!r} has the rule {table.rule!r}; there are {', '.join(RULES)}")
        if table.ranking not in self.rankings:
            raise self._error(f"table {name!r} has the ranking {table.ranking!r}, which does not exist")
        size = len(self.rankings[table.ranking].image)
        for what, bits in (("matched", table.matched), ("ignored", table.ignored)):
            self._check_array(f"{name}/{what}", bits, "iu", (size,))
            if (bits < 0).any() or (bits >> table.thresholds).any():
                raise self._error(f"table {name!r} sets a bit beyond its {table.thresholds} thresholds")
        if (table.matched.astype(np.int64) & table.ignored.astype(np.int64)).any():
            raise self._error(f"table {name!r} has a detection both matched and ignored")
        self._check_positions(f"{name}/truth_image", table.truth_image, None, len(self.images))
        pairs = len(table.truth_image)
        self._check_positions(f"{name}/truth_category", table.truth_category, pairs, len(self.categories))
        self._check_array(f"{name}/truth_count", table.truth_count, "iu", (pairs,))
        if (table.truth_count < 0).any():
            raise self._error(f"table {name!r} has a negative number of objects")

    def _check_curve(self, metric: str) -> None:
        curve = self.curves.get(metric)
        if not isinstance(curve, tuple) or len(curve) != 2 or curve[0] not in self.tables:
            raise self._error(f"meta/curves has no table for the metric {metric!r}")
        name, threshold = curve
        last = self.tables[name].thresholds - 1
        if threshold is not None and not (isinstance(threshold, int) and 0 <= threshold <= last):
            raise self._error(f"meta/curves has threshold {threshold!r} of table {name!r}, not 0 .. {last}")

    # -- stored form

    def _meta(self) -> dict[str, Any]:
        tables = [
            {"name": name, "ranks": table.ranking, "rule": table.rule, "thresholds": table.thresholds}
            for name, table in self.tables.items()
        ]
        curves = {metric: list(curve) for metric, curve in self.curves.items()}
        return {**super()._meta(), "tables": tables, "curves": curves}

    def _arrays(self) -> dict[str, np.ndarray]:
        out: dict[str, np.ndarray] = {}
        for name, table in self.tables.items():
            ranking = self.rankings[table.ranking]
            out.setdefault(f"{table.ranking}/image", ranking.image)
            out.setdefault(f"{table.ranking}/category", ranking.category)
            out |= {f"{name}/{what}": array for what, array in table.arrays().items()}
        return out

    @classmethod
    def _own_fields(cls, arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
        listed, curves = arrays["meta"].get("tables"), arrays["meta"].get("curves")
        if not isinstance(listed, list | tuple) or not all(isinstance(table, Mapping) for table in listed):
            raise cls._malformed(where, "meta/tables must be a list of mappings")
        if not isinstance(curves, Mapping):
            raise cls._malformed(where, "no mapping meta/curves")

        def stored(name: str) -> np.ndarray:
            return cls._stored(arrays, name, where)

        rankings = {
            name: RankedDetections(image=stored(f"{name}/image"), category=stored(f"{name}/category"))
            for name in dict.fromkeys(str(table.get("ranks")) for table in listed)
        }
        tables = {
            name: MatchTable(
                ranking=str(about.get("ranks")),
                rule=about.get("rule"),  # type: ignore[arg-type]  # checked with the other fields
                thresholds=about.get("thresholds"),  # type: ignore[arg-type]
                matched=stored(f"{name}/matched"),
                ignored=stored(f"{name}/ignored"),
                truth_image=stored(f"{name}/truth_image"),
                truth_category=stored(f"{name}/truth_category"),
                truth_count=stored(f"{name}/truth_count"),
            )
            for name, about in ((str(about.get("name")), about) for about in listed)
        }
        pairs = {metric: tuple(curve) if isinstance(curve, list) else curve for metric, curve in curves.items()}
        return {"rankings": rankings, "tables": tables, "curves": pairs}

    # -- metrics

    def _compute(self, pairs: list[MetricGroup], weights: np.ndarray) -> dict[MetricGroup, np.ndarray]:
        needed: dict[str, set[int]] = defaultdict(set)
        for metric, _ in pairs:
            needed[self.curves[metric][0]].update(self._thresholds_of(metric))
        values = {name: self._average_precisions(name, sorted(at), weights) for name, at in needed.items()}
        out = {}
        for metric, group in pairs:
            by_threshold = values[self.curves[metric][0]]
            by_category = np.mean([by_threshold[t] for t in self._thresholds_of(metric)], axis=0)
            out[metric, group] = self._group_mean(by_category, group)
        return out

    def _thresholds_of(self, metric: str) -> list[int]:
        """Positions of the thresholds that a metric is a mean over."""
        name, threshold = self.curves[metric]
        return list(range(self.tables[name].thresholds)) if threshold is None else [threshold]

    @cached_property
    def _category_starts(self) -> dict[str, np.ndarray]:
        """Name of a ranking -> [C + 1] where the detections of each category begin."""
        edges = np.arange(len(self.categories) + 1)
        return {name: np.searchsorted(ranking.category, edges) for name, ranking in self.rankings.items()}

    def _average_precisions(self, name: str, thresholds: list[int], weights: np.ndarray) -> dict[int, np.ndarray]:
        """Threshold -> [B, C] average precision; NaN for a category without objects under the weights."""
        table = self.tables[name]
        images = self.rankings[table.ranking].image.astype(np.int64)
        starts = self._category_starts[table.ranking]
        pairs = (table.truth_category, table.truth_image)
        from scipy import sparse  # here, as it takes a tenth of a short run's start

        counts = sparse.csr_array(
            (table.truth_count.astype(np.int64), pairs), shape=(len(self.categories), len(self.images))
        )
        positive = np.asarray(counts @ weights.T.astype(np.int64)).T
        out = {t: np.full(positive.shape, np.nan) for t in thresholds}
        for c in range(len(self.categories)):
            if not positive[:, c].any():
                continue
            ranks = slice(starts[c], starts[c + 1])
            matches = [RankedMatches.of(table.matched[ranks], table.ignored[ranks], t) for t in thresholds]
            last = max((int(m.right[-1]) + 1 for m in matches if len(m.right)), default=0)
            image = images[ranks][:last]  # behind the last true positive nothing changes precision at any recall
            for rows in blocks(len(weights), 64 * max(last, 1)):
                drawn = np.take(weights[rows], image, axis=1)
                ahead = np.cumsum(drawn, axis=1, dtype=np.int32)
                for t, one in zip(thresholds, matches, strict=True):
                    out[t][rows, c] = one.average_precision(table.rule, drawn, ahead, positive[rows, c])
        return out
