"""The paired bootstrap over images: which images are drawn, and a number with how it varies under the draws.

Images are drawn, not objects or detections: what lies in one image is not independent. What is drawn depends on the
images' ids, a key and a seed alone, so that all selectors of a task, both folds and all keep ratios see the same draws,
and the difference of two numbers is the difference of their draws (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, chapters 8 and 14). Intervals are percentile or BCa, the latter with the acceleration of a
delete-a-group jackknife. `scipy.stats.bootstrap` has the same intervals (a test holds these to it), but resamples
arrays of observations: it can neither weigh images in a metric that is no mean, nor keep its draws for differences.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from ltrp_bench.results.schema.record import ResultsError, canonical_json, digest

Method = Literal["bca", "percentile"]

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
JACKKNIFE_GROUPS: Final = 100
"""Most groups of images that are left out in turn; with fewer images it is each image."""

_LEAST_DEFINED: Final = 0.95
"""An interval is given where at least this share of the draws has a value."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Which images are drawn how often.

    Attributes:
        key: hex digest of what determines the weights; numbers of one key are paired.
        weights: [1 + B + G, N] uint16: every image once; B resamples; G with a group of images left out.
        resamples: B.
    """

    key: str
    weights: np.ndarray
    resamples: int

    @classmethod
    def of(cls, images: Sequence[str], key: str, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
        """Draws of `images`, a function of the ids (whatever their order), the key and the seed.

        More resamples begin with those of fewer.

        Args:
            images: ids, each once, at least one.
            key: such as the task's name: other tasks draw otherwise.
            resamples: B > 0.
            seed: of the draws.

        Raises:
            ResultsError: no image, an id twice, or no resample.
        """
        size = len(images)
        if not size or len(set(images)) != size or resamples < 1:
            raise ResultsError(f"cannot draw {resamples} times from {size} images ({len(set(images))} ids)")
        order = np.argsort(np.array(images, dtype=np.str_), kind="stable")
        who = digest([key, seed, sorted(images)])
        rng = np.random.default_rng(int(who, 16))
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
        return cls(digest([who, resamples, groups]), weights, resamples)

    def estimate(self, values: np.ndarray) -> Estimate:
        """The estimate whose values under `weights` are `values` [1 + B + G]."""
        return Estimate(
            self.key, float(values[0]), values[1 : 1 + self.resamples].copy(), values[1 + self.resamples :].copy()
        )


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number with its values under the draws. Sums, differences and multiples of paired ones are estimates, too.

    Attributes:
        key: of the draws.
        point: the value with every image once; NaN where undefined.
        draws: [B] values of the resamples.
        jackknife: [G] values with a group left out.
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
        """Standard deviation of the defined draws; NaN with fewer than `_LEAST_DEFINED` of them."""
        draws = self._defined()
        return float(draws.std(ddof=1)) if len(draws) > 1 else math.nan

    def interval(self, level: float = LEVEL, method: Method = "bca") -> tuple[float, float]:
        """The two-sided interval of that level, (NaN, NaN) where the number or too many draws are undefined.

        Args:
            level: 0 < level < 1.
            method: "bca" (Efron, "Better Bootstrap Confidence Intervals", JASA 1987), or "percentile". BCa falls back
                to percentile where it has no value: all draws on one side of the point.
        """
        if not 0 < level < 1:
            raise ResultsError(f"a level of {level} is not between 0 and 1")
        draws = self._defined()
        if not len(draws):
            return math.nan, math.nan
        tails = (1 - level) / 2, (1 + level) / 2
        if method == "bca":
            tails = self._corrected(draws, tails)
        low, high = np.quantile(draws, tails)
        return float(low), float(high)

    def p_value(self) -> float:
        """Two-sided p of the point being 0: normal, with the bootstrap's standard error; NaN where that has none.

        A count of draws beyond 0 cannot fall below 2 / B, which after Holm's correction over a leaderboard's pairs
        says nothing; the normal tail can.
        """
        error = self.standard_error
        if math.isnan(error) or math.isnan(self.point):
            return math.nan
        if error == 0.0:
            return 1.0 if self.point == 0.0 else 0.0
        return float(2 * ndtr(-abs(self.point) / error))

    def _defined(self) -> np.ndarray:
        draws = self.draws[~np.isnan(self.draws)]
        enough = len(draws) >= _LEAST_DEFINED * len(self.draws) and not math.isnan(self.point)
        return draws if enough else draws[:0]

    def _corrected(self, draws: np.ndarray, tails: tuple[float, float]) -> tuple[float, float]:
        """Tails moved for bias (share of draws below the point) and for acceleration (skew of the jackknife)."""
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
    """The sum of factor times estimate, draw by draw.

    Raises:
        ResultsError: no terms, or terms of other draws: they are not paired.
    """
    if not terms or len({one.key for _, one in terms}) != 1:
        raise ResultsError(f"{len(terms)} estimates of {len({one.key for _, one in terms})} draws cannot be combined")
    return Estimate(
        terms[0][1].key,
        math.fsum(factor * one.point for factor, one in terms),
        np.sum([factor * one.draws for factor, one in terms], axis=0),
        np.sum([factor * one.jackknife for factor, one in terms], axis=0),
    )


def mean(estimates: Iterable[Estimate]) -> Estimate:
    """Their mean, draw by draw. Raises ResultsError as `combination`."""
    given = list(estimates)
    return combination(*((1 / len(given), one) for one in given))


def area(points: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The area under a metric over keep ratios by the trapezoidal rule, divided by the span: a mean over ratios.

    Args:
        points: (keep ratio, estimate), two or more ratios, each once.
    """
    ratios = [ratio for ratio, _ in points]
    return combination(*zip(area_factors(ratios), (one for _, one in points), strict=True))


def area_factors(ratios: Sequence[float]) -> list[float]:
    """What each ratio's value counts in the normalised area: factors that add up to 1, in the order given.

    Raises:
        ResultsError: fewer than two ratios, or one twice.
    """
    order = sorted(range(len(ratios)), key=ratios.__getitem__)
    steps = [ratios[b] - ratios[a] for a, b in pairwise(order)]
    if not steps or min(steps) <= 0:
        raise ResultsError(f"an area needs two or more keep ratios, each once, not {list(ratios)}")
    factors, span = [0.0] * len(ratios), sum(steps)
    for (a, b), step in zip(pairwise(order), steps, strict=True):
        factors[a] += step / 2 / span
        factors[b] += step / 2 / span
    return factors


def drawn_digest(values: np.ndarray) -> str:
    """Hex SHA-256 of an array's bytes, shape and type."""
    head = canonical_json([str(values.dtype), list(values.shape)]).encode()
    return hashlib.sha256(head + np.ascontiguousarray(values).tobytes()).hexdigest()
