"""Paired bootstrap over images: draws of images, and estimates with their values under the draws.

Images are resampled rather than objects or detections, since those of one image are not independent. The draws depend
on the ids of the images, a key and a seed only. All selectors, keep ratios and folds of a task thus share their draws,
and the difference of two estimates is taken draw by draw (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapters 8 and 14). Intervals are percentile or BCa intervals, the latter with the acceleration from a
delete-a-group jackknife.

`scipy.stats.bootstrap` computes the same intervals (a test compares them), but it resamples arrays of observations. It
supports neither weights of images in a metric that is not a mean, nor draws shared between estimates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from ltrp_bench.results.schema.record import ResultsError, digest

Method = Literal["bca", "percentile"]

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
JACKKNIFE_GROUPS: Final = 100
"""Maximum number of groups that the jackknife leaves out in turn; with fewer images, each image is a group."""

_MIN_DEFINED: Final = 0.95
"""Minimum share of draws with a value; an estimate with fewer has no interval."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap resamples: the number of times that each image is drawn.

    Attributes:
        key: hex digest of everything that determines the weights; estimates with the same key are paired.
        weights: [1 + B + G, N] uint16. Row 0 has every image once, then follow B resamples, and G rows that leave out
            one group of images each.
        resamples: number of resamples B.
    """

    key: str
    weights: np.ndarray
    resamples: int

    @classmethod
    def of(cls, images: Sequence[str], key: str, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
        """Draw images; the draws depend on the ids (not on their order), the key and the seed.

        The first resamples are the same for any number of resamples.

        Args:
            images: distinct ids, at least one.
            key: text such as the name of the task; other keys give other draws.
            resamples: number of resamples B > 0.
            seed: seed of the draws.

        Raises:
            ResultsError: no images, duplicate ids, or no resamples.
        """
        size = len(images)
        if not size or len(set(images)) != size or resamples < 1:
            raise ResultsError(f"cannot draw {resamples} times from {size} images ({len(set(images))} ids)")
        order = np.argsort(np.array(images, dtype=np.str_), kind="stable")
        drawn = digest([key, seed, sorted(images)])
        rng = np.random.default_rng(int(drawn, 16))
        groups = min(size, JACKKNIFE_GROUPS)
        sorted_weights = np.ones((1 + resamples + groups, size), np.uint16)
        # The groups come first, so that they do not depend on how many resamples follow.
        member = rng.permutation(size) % groups
        for row in range(groups):
            sorted_weights[1 + resamples + row, member == row] = 0
        for row in range(resamples):
            sorted_weights[1 + row] = np.bincount(rng.integers(0, size, size), minlength=size)
        weights = np.empty_like(sorted_weights)
        weights[:, order] = sorted_weights
        return cls(digest([drawn, resamples, groups]), weights, resamples)

    def estimate(self, values: np.ndarray) -> Estimate:
        """Estimate from the values of a metric under each row of `weights`, [1 + B + G]."""
        return Estimate(
            self.key, float(values[0]), values[1 : 1 + self.resamples].copy(), values[1 + self.resamples :].copy()
        )


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value and its values under the draws. Sums, differences and quotients of paired estimates are estimates.

    Attributes:
        key: key of the draws.
        point: value with every image once; NaN if undefined.
        draws: [B] values under the resamples.
        jackknife: [G] values with one group of images left out.
    """

    key: str
    point: float
    draws: np.ndarray
    jackknife: np.ndarray

    def __add__(self, other: Estimate) -> Estimate:
        return combination((1.0, self), (1.0, other))

    def __sub__(self, other: Estimate) -> Estimate:
        return combination((1.0, self), (-1.0, other))

    @property
    def standard_error(self) -> float:
        """Standard deviation of the defined draws; NaN if too many are undefined."""
        draws = self._defined()
        return float(draws.std(ddof=1)) if len(draws) > 1 else math.nan

    def interval(self, level: float = LEVEL, method: Method = "bca") -> tuple[float, float]:
        """Two-sided confidence interval; (NaN, NaN) if the value or too many draws are undefined.

        Args:
            level: confidence level, 0 < level < 1.
            method: "bca" (Efron, "Better Bootstrap Confidence Intervals", JASA 1987), or "percentile". If all draws lie
                on one side of the value, BCa is undefined and the percentile interval is returned.
        """
        if not 0 < level < 1:
            raise ResultsError(f"the confidence level must lie between 0 and 1, not be {level}")
        draws = self._defined()
        if not len(draws):
            return math.nan, math.nan
        tails = (1 - level) / 2, (1 + level) / 2
        if method == "bca":
            tails = self._corrected(draws, tails)
        low, high = np.quantile(draws, tails)
        return float(low), float(high)

    def p_value(self) -> float:
        """Two-sided p-value of the value being 0, from a normal distribution with the bootstrap's standard error.

        A p-value from counts of draws cannot be smaller than 2 / B, which Holm's correction over all pairs of a
        leaderboard would raise above any threshold. NaN if the standard error is undefined.
        """
        error = self.standard_error
        if math.isnan(error) or math.isnan(self.point):
            return math.nan
        if error == 0.0:
            return 1.0 if self.point == 0.0 else 0.0
        return float(2 * ndtr(-abs(self.point) / error))

    def _defined(self) -> np.ndarray:
        draws = self.draws[~np.isnan(self.draws)]
        enough = len(draws) >= _MIN_DEFINED * len(self.draws) and not math.isnan(self.point)
        return draws if enough else draws[:0]

    def _corrected(self, draws: np.ndarray, tails: tuple[float, float]) -> tuple[float, float]:
        """Tails corrected for bias (share of draws below the value) and acceleration (skewness of the jackknife)."""
        below = float((draws < self.point).mean() + (draws <= self.point).mean()) / 2
        if not 0 < below < 1:
            return tails
        bias = ndtri(below)
        left = self.jackknife[~np.isnan(self.jackknife)]
        away = left.mean() - left if len(left) else left
        spread = float((away**2).sum()) ** 1.5
        acceleration = float((away**3).sum()) / (6 * spread) if spread > 0 else 0.0
        moved = []
        for tail in tails:
            z = bias + ndtri(tail)
            moved.append(float(ndtr(bias + z / (1 - acceleration * z))))
        return moved[0], moved[1]


def combination(*terms: tuple[float, Estimate]) -> Estimate:
    """Sum of factor times estimate, draw by draw.

    Raises:
        ResultsError: no terms, or terms with different draws.
    """
    if not terms or len({one.key for _, one in terms}) != 1:
        keys = len({one.key for _, one in terms})
        raise ResultsError(f"cannot combine {len(terms)} estimates with {keys} different sets of draws")
    return Estimate(
        terms[0][1].key,
        math.fsum(factor * one.point for factor, one in terms),
        np.sum([factor * one.draws for factor, one in terms], axis=0),
        np.sum([factor * one.jackknife for factor, one in terms], axis=0),
    )


def ratio(one: Estimate, other: Estimate) -> Estimate:
    """Quotient of two estimates, draw by draw; NaN where `other` is 0 or one of them is undefined.

    Raises:
        ResultsError: their draws differ.
    """
    if one.key != other.key:
        raise ResultsError("cannot divide two estimates with different sets of draws")
    point = one.point / other.point if other.point != 0 else math.nan
    return Estimate(one.key, point, _quotient(one.draws, other.draws), _quotient(one.jackknife, other.jackknife))


def _quotient(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.divide(one, other, out=np.full(np.shape(one), math.nan), where=other != 0)


def mean(estimates: Iterable[Estimate]) -> Estimate:
    """Mean of estimates, draw by draw. Raises ResultsError if there are none, or if their draws differ."""
    given = list(estimates)
    return combination(*((1 / len(given), one) for one in given))


def area(points: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Area under a metric over keep ratios by the trapezoidal rule, divided by the span of the ratios.

    Args:
        points: (keep ratio, estimate) for two or more distinct ratios.
    """
    ratios = [ratio for ratio, _ in points]
    return combination(*zip(area_factors(ratios), (one for _, one in points), strict=True))


def area_factors(ratios: Sequence[float]) -> list[float]:
    """Weight of each ratio in the normalised area, in the order given; the weights add up to 1.

    Raises:
        ResultsError: fewer than two ratios, or duplicates.
    """
    order = sorted(range(len(ratios)), key=ratios.__getitem__)
    steps = [ratios[b] - ratios[a] for a, b in pairwise(order)]
    if not steps or min(steps) <= 0:
        raise ResultsError(f"an area needs two or more distinct keep ratios, not {list(ratios)}")
    factors, span = [0.0] * len(ratios), sum(steps)
    for (a, b), step in zip(pairwise(order), steps, strict=True):
        factors[a] += step / 2 / span
        factors[b] += step / 2 / span
    return factors
