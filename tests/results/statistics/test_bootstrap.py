"""Draws and intervals, compared with scipy, with duplicated images, and with the truth of simulated data."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.statistics.bootstrap import Draws, Estimate, area, area_factors, combination, mean, ratio


def _estimate(values: np.ndarray, draws: Draws) -> Estimate:
    """Estimate of a mean over images."""
    counts = draws.weights.sum(1)
    return draws.estimate(draws.weights @ values / np.where(counts, counts, 1))


def _ids(count: int) -> list[str]:
    return [f"image {i}" for i in range(count)]


def test_draws_depend_on_the_ids_and_not_on_their_order() -> None:
    ids = _ids(37)
    one = Draws.of(ids, "task", 50)
    shuffled = [ids[i] for i in np.random.default_rng(0).permutation(37)]
    other = Draws.of(shuffled, "task", 50)
    assert one.key == other.key
    back = [shuffled.index(image) for image in ids]
    assert np.array_equal(one.weights, other.weights[:, back])
    assert (one.weights[0] == 1).all() and (one.weights[1:51].sum(1) == 37).all()
    assert (one.weights[51:].sum(1) == 36).all() and len(one.weights) == 1 + 50 + 37
    # More resamples start with the same ones; another task, seed or set of images has other draws.
    assert np.array_equal(Draws.of(ids, "task", 80).weights[1:51], one.weights[1:51])
    for others in (Draws.of(ids, "task", 50, seed=1), Draws.of(ids, "other", 50)):
        assert others.key != one.key and not np.array_equal(others.weights[1:51], one.weights[1:51])
    assert Draws.of([*ids[:-1], "new"], "task", 50).key != one.key


def test_large_sets_leave_out_groups() -> None:
    draws = Draws.of(_ids(1234), "task", 3)
    left_out = 1234 - draws.weights[4:].sum(1)
    assert len(left_out) == 100 and set(left_out) == {12, 13} and left_out.sum() == 1234
    assert (draws.weights[4:] == 0).sum(0).max() == 1


def test_one_resample_is_enough_and_draws_stay_the_same() -> None:
    assert Draws.of(["a"], "task", 1).weights.tolist() == [[1], [1], [0]]
    # Runs of different versions are paired by these draws.
    draws = Draws.of(["b", "a", "c"], "task", 3, seed=2)
    assert draws.weights.tolist() == [
        [1, 1, 1],
        *([0, 2, 1], [2, 1, 0], [0, 1, 2]),
        *([1, 1, 0], [1, 0, 1], [0, 1, 1]),
    ]


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("binary", [False, True], ids=["continuous", "with ties"])
def test_intervals_equal_those_of_scipy(method: str, binary: bool) -> None:
    rng = np.random.default_rng(3)
    values = rng.exponential(size=60)
    if binary:
        values = (values > 1.5).astype(float)
    draws = Draws.of(_ids(60), "task", 2000)
    one = _estimate(values, draws)
    # scipy's interval for our draws; scipy computes the value, the bias and the jackknife itself.
    done = SimpleNamespace(bootstrap_distribution=one.draws)
    held = stats.bootstrap(
        (values,), np.mean, n_resamples=0, bootstrap_result=done, method="BCa" if method == "bca" else "percentile"
    )
    assert one.interval(method=method) == pytest.approx(tuple(held.confidence_interval), abs=1e-12)  # type: ignore[arg-type]
    assert one.standard_error == pytest.approx(held.standard_error)


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(size=200)
    draws = Draws.of(_ids(200), "task")
    one, other = _estimate(base + 0.1, draws), _estimate(base + 0.02 * rng.normal(size=200), draws)
    low, high = (one - other).interval()
    assert 0.09 < low < high < 0.11
    assert (one - one).interval() == (0.0, 0.0) and (one - one).p_value() == 1.0
    assert (one - other).p_value() < 1e-9
    # Far narrower than the intervals of the single values.
    apart = _estimate(base, Draws.of(_ids(200), "another"))
    with pytest.raises(ResultsError, match="cannot combine"):
        _ = one - apart
    wide = one.interval()[1] - one.interval()[0]
    assert wide > 10 * (high - low)
    halved = mean([one, other])
    assert halved.point == pytest.approx((one.point + other.point) / 2)
    assert np.allclose(halved.draws, (one.draws + other.draws) / 2)


def test_sums_are_taken_draw_by_draw() -> None:
    draws = Draws.of(_ids(6), "task", 10)
    one, other = _estimate(np.arange(6.0), draws), _estimate(np.arange(6.0) ** 2, draws)
    for found, factor in ((one + other, 1), (one - other, -1), (combination((1, one), (3, other)), 3)):
        assert found.key == draws.key and found.point == pytest.approx(2.5 + factor * 55 / 6)
        np.testing.assert_allclose(found.draws, one.draws + factor * other.draws)
        # Without an image i: the means of the others, in the order of the jackknife's rows.
        left = [int(np.flatnonzero(row == 0)[0]) for row in draws.weights[11:]]
        expected = [(15 - i + factor * (55 - i * i)) / 5 for i in left]
        np.testing.assert_allclose(found.jackknife, expected)
    alone = combination((2.0, one))
    assert alone.key == draws.key and alone.point == 5.0 and ratio(one, other).key == draws.key
    with pytest.raises(ResultsError, match="cannot combine 2 estimates with 2 different sets of draws"):
        _ = one + _estimate(np.arange(6.0), Draws.of(_ids(6), "other", 10))


def test_quotients_equal_those_of_scipy() -> None:
    """The quotient of two means over the same images, with scipy's bias and jackknife of the quotient."""
    rng = np.random.default_rng(7)
    whole = rng.exponential(size=50) + 0.1
    part = whole * rng.beta(4, 2, size=50)
    draws = Draws.of(_ids(50), "task", 2000)
    one = ratio(_estimate(part, draws), _estimate(whole, draws))
    assert one.point == pytest.approx(part.mean() / whole.mean())
    held = stats.bootstrap(
        (part, whole),
        lambda a, b, axis: a.mean(axis) / b.mean(axis),
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=one.draws),  # type: ignore[arg-type]
        method="BCa",
        paired=True,
    )
    assert one.interval() == pytest.approx(tuple(held.confidence_interval), abs=1e-12)
    with pytest.raises(ResultsError, match="cannot divide"):
        ratio(one, _estimate(whole, Draws.of(_ids(50), "another", 2000)))


def test_a_quotient_is_undefined_where_the_divisor_is_zero() -> None:
    draws = Draws.of(_ids(40), "task", 1000)
    rare = np.zeros(40)
    rare[:2] = 1.0
    one = ratio(_estimate(np.ones(40), draws), _estimate(rare, draws))
    zero = draws.weights[1:1001, :2].sum(1) == 0
    assert one.point == pytest.approx(20) and 0.05 < zero.mean() < 0.2
    assert np.array_equal(np.isnan(one.draws), zero) and np.isfinite(one.draws[~zero]).all()
    assert all(math.isnan(end) for end in one.interval())  # undefined in more than 5 % of the draws
    nothing = ratio(_estimate(np.ones(40), draws), _estimate(np.zeros(40), draws))
    assert math.isnan(nothing.point) and np.isnan(nothing.jackknife).all()


def test_area_by_the_trapezoidal_rule() -> None:
    ratios, values = [0.1, 0.5, 0.25, 1.0], [0.2, 0.6, 0.3, 0.9]
    order = np.argsort(ratios)
    expected = np.trapezoid(np.array(values)[order], np.array(ratios)[order]) / 0.9
    assert np.dot(area_factors(ratios), values) == pytest.approx(expected)
    draws = Draws.of(_ids(10), "task", 20)
    points = [(r, _estimate(np.full(10, v), draws)) for r, v in zip(ratios, values, strict=True)]
    assert area(points).point == pytest.approx(expected) and np.allclose(area(points).draws, expected)
    for wrong in ([0.5], [], [0.5, 0.5]):
        with pytest.raises(ResultsError, match="two or more distinct keep ratios"):
            area_factors(wrong)


def test_undefined_values_have_no_interval() -> None:
    draws = Draws.of(_ids(30), "task", 100)
    one = _estimate(np.linspace(0, 1, 30), draws)
    some = one.draws.copy()
    some[:5] = math.nan  # 95 % are defined
    assert not math.isnan(replace(one, draws=some).interval()[0])
    some[:10] = math.nan
    for undefined in (replace(one, draws=some), replace(one, point=math.nan)):
        assert all(math.isnan(end) for end in undefined.interval()) and math.isnan(undefined.p_value())
    # All draws on one side of the value: BCa is undefined, and the percentile interval is used.
    above = replace(one, point=-1.0)
    assert above.interval() == above.interval(method="percentile")
    below = replace(one, point=2.0)
    assert below.interval() == below.interval(method="percentile")
    constant = _estimate(np.full(30, 0.5), draws)
    assert constant.interval() == (0.5, 0.5)
    assert constant.p_value() == 0.0


@pytest.mark.parametrize("jackknife", [[0.5, 0.5], [math.nan, math.nan], []], ids=["constant", "undefined", "none"])
@pytest.mark.filterwarnings("error")
def test_without_a_spread_of_the_jackknife_only_bias_is_corrected(jackknife: list[float]) -> None:
    """Efron's BC interval: tails Phi(2 z0 +- 1.96), with z0 of the share of draws below the value."""
    values = np.linspace(0, 1, 1001)
    centred = Estimate("key", 0.5, values, np.array(jackknife))
    assert centred.interval() == pytest.approx((0.025, 0.975))
    tails = stats.norm.cdf(2 * stats.norm.ppf(0.3) + stats.norm.ppf([0.025, 0.975]))
    assert replace(centred, point=0.3).interval() == pytest.approx(tails, abs=1e-3)


@pytest.mark.parametrize("level", [-0.5, 0.0, 1.0, 1.5])
def test_invalid_levels_are_refused(level: float) -> None:
    with pytest.raises(ResultsError, match="confidence level must lie between 0 and 1"):
        Estimate("key", 0.5, np.linspace(0, 1, 11), np.zeros(2)).interval(level)


def test_p_values_are_those_of_the_normal_distribution() -> None:
    draws = np.array([-1.0, 1.0] * 50) * math.sqrt(99 / 100)  # standard deviation 1
    for point in (-1.5, 0.0, 2.5):
        expected = 2 * stats.norm.sf(abs(point))
        assert Estimate("key", point, draws, draws).p_value() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("images", "resamples"), [([], 10), (["a", "a"], 10), (["a"], 0)], ids=["none", "twice", "no resample"]
)
def test_invalid_draws_and_combinations(images: list[str], resamples: int) -> None:
    with pytest.raises(ResultsError, match="cannot draw"):
        Draws.of(images, "task", resamples)
    with pytest.raises(ResultsError, match="cannot combine"):
        combination()


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_a_resample_is_a_mean_of_duplicated_images(size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=size)
    draws = Draws.of(_ids(size), str(seed), 5)
    for weights, drawn in zip(draws.weights[1:6], _estimate(values, draws).draws, strict=True):
        assert drawn == pytest.approx(np.repeat(values, weights).mean())


def test_intervals_cover_the_truth() -> None:
    """300 simulations of 200 images with clustered objects, each with intervals of a known mean and a difference."""
    rng = np.random.default_rng(11)
    worlds, size = 300, 200
    draws = Draws.of(_ids(size), "coverage", 400)
    inside = {"mean": 0, "difference": 0}
    for _ in range(worlds):
        easy = rng.beta(2, 2, size)  # shared by both selectors
        one = rng.binomial(10, easy) / 10
        other = rng.binomial(10, np.clip(easy * 0.9, 0, 1)) / 10
        a, b = _estimate(one, draws), _estimate(other, draws)
        for name, estimate, truth in (("mean", a, 0.5), ("difference", a - b, 0.05)):
            low, high = estimate.interval()
            inside[name] += low <= truth <= high
    assert all(0.92 <= count / worlds <= 0.98 for count in inside.values()), inside
