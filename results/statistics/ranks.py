"""Ranks with ties from paired estimates, and Holm's correction for many comparisons.

Two selectors are tied if the interval of their difference contains 0. Ties are not transitive, so a selector has a
range of ranks: its first rank is 1 + the number of significantly better selectors, its last rank n - the number of
significantly worse ones. Tied selectors share ranks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from ltrp_bench.results.statistics.bootstrap import LEVEL, Estimate, Method

ALPHA: Final = 1 - LEVEL


@dataclass(frozen=True)
class Difference:
    """Difference between two selectors.

    Attributes:
        first, second: names of the selectors.
        point, low, high: value and interval of first - second, at the confidence level `LEVEL`.
        p: two-sided p-value, see `Estimate.p_value`.
        p_holm: p-value after Holm's correction over all differences of the table.
    """

    first: str
    second: str
    point: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies on one side of 0; 0 for a tie."""
        return (self.low > 0) - (self.high < 0)

    @property
    def sign_holm(self) -> int:
        """1 or -1 if the corrected p-value is below `ALPHA`; 0 for a tie."""
        return 0 if not self.p_holm < ALPHA else (self.point > 0) - (self.point < 0)


@dataclass(frozen=True)
class Rank:
    """Range of ranks of a selector; 1 is the best."""

    first: int
    last: int


def differences(estimates: Mapping[str, Estimate], method: Method = "bca") -> list[Difference]:
    """Differences of all pairs of a table, in its order. The estimates must be paired and defined."""
    pairs = list(combinations(estimates, 2))
    apart = [estimates[a] - estimates[b] for a, b in pairs]
    p_values = [one.p_value() for one in apart]
    return [
        Difference(a, b, one.point, *one.interval(LEVEL, method), p, corrected)
        for (a, b), one, p, corrected in zip(pairs, apart, p_values, holm(p_values), strict=True)
    ]


def ranks(names: Sequence[str], pairs: Sequence[Difference], corrected: bool = False) -> dict[str, Rank]:
    """Range of ranks of each name.

    Args:
        names: all names of a table.
        pairs: their `differences`.
        corrected: use the corrected p-values instead of the single intervals.
    """
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for pair in pairs:
        sign = pair.sign_holm if corrected else pair.sign
        if sign:
            winner, loser = (pair.first, pair.second) if sign > 0 else (pair.second, pair.first)
            better[loser] += 1
            worse[winner] += 1
    return {name: Rank(1 + better[name], len(names) - worse[name]) for name in names}


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values after Holm's correction for multiple tests (Scandinavian Journal of Statistics 6, 1979), in the same
    order.

    The k-th smallest of m values is multiplied by m - k + 1; the results are made monotonic and at most 1. NaN stays
    NaN and is not counted as a test.
    """
    tested = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    out = [math.nan] * len(p_values)
    least = 0.0
    for place, i in enumerate(tested):
        least = max(least, min(1.0, p_values[i] * (len(tested) - place)))
        out[i] = least
    return out
