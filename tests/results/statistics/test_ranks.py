"""Ranks with ties, and Holm's correction by a hand-computed case."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ltrp_bench.results.statistics.bootstrap import Draws, Estimate
from ltrp_bench.results.statistics.ranks import Difference, Rank, differences, holm, ranks

NAMES = ("a", "b", "c", "d")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.8, 0.9]) == [1.0, 1.0] and holm([]) == []
    corrected = holm([0.01, math.nan, 0.02])
    assert corrected[0] == pytest.approx(0.02) and math.isnan(corrected[1]) and corrected[2] == pytest.approx(0.02)


def _pair(first: str, second: str, low: float, high: float, p_holm: float = 0.5) -> Difference:
    return Difference(first, second, (low + high) / 2, low, high, p_holm, p_holm)


def test_tied_selectors_share_ranks() -> None:
    # a is better than c and d, and b than d: a ties with b, b with c, c with d.
    pairs = [
        _pair("a", "b", -0.1, 0.3),
        _pair("a", "c", 0.1, 0.3, 0.01),
        _pair("a", "d", 0.2, 0.5, 0.01),
        _pair("b", "c", -0.1, 0.2),
        _pair("d", "b", -0.4, -0.1),
        _pair("c", "d", 0.0, 0.2),
    ]
    assert ranks(NAMES, pairs) == {"a": Rank(1, 2), "b": Rank(1, 3), "c": Rank(2, 4), "d": Rank(3, 4)}
    # After Holm's correction, only a differs from c and d.
    assert ranks(NAMES, pairs, corrected=True) == {"a": Rank(1, 2), "b": Rank(1, 4), "c": Rank(2, 4), "d": Rank(2, 4)}


def test_differences_of_estimates() -> None:
    rng = np.random.default_rng(0)
    draws = Draws.of([str(i) for i in range(300)], "task", 500)

    def of(values: np.ndarray) -> Estimate:
        return draws.estimate(draws.weights @ values / draws.weights.sum(1))

    base = rng.random(300)
    estimates = {"best": of(base + 0.1), "same": of(base), "twin": of(base), "near": of(base + rng.normal(0, 1, 300))}
    found = differences(estimates)
    assert [(pair.first, pair.second) for pair in found][:3] == [("best", "same"), ("best", "twin"), ("best", "near")]
    twins = next(pair for pair in found if (pair.first, pair.second) == ("same", "twin"))
    assert (twins.low, twins.high, twins.p, twins.sign) == (0.0, 0.0, 1.0, 0)
    assert all(pair.p_holm >= pair.p for pair in found)
    for method in ("bca", "percentile"):
        for pair in differences(estimates, method):
            apart = estimates[pair.first] - estimates[pair.second]
            assert (pair.point, pair.low, pair.high) == (apart.point, *apart.interval(method=method))
    assert found == differences(estimates, "bca") != differences(estimates, "percentile")
    placed = ranks(list(estimates), found)
    assert placed["best"].first == 1 and placed["same"] == placed["twin"] and placed["same"].first == 2
