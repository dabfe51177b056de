"""Detectable differences and numbers of images, by hand and by scipy."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from ltrp_bench.results.statistics.power import detectable_difference, images_needed
from ltrp_bench.selectors.errors import UsageError


def test_by_hand() -> None:
    # 1.959964 + 0.841621 = 2.801585 standard errors; 100 * (2.801585 * 0.02 / 0.05)^2 = 125.58.
    assert detectable_difference(0.02) == pytest.approx(0.0560317, abs=1e-7)
    assert images_needed(0.05, 0.02, 100) == 126
    assert images_needed(detectable_difference(0.02), 0.02, 100) == 100
    assert images_needed(10.0, 0.02, 100) == 1
    assert math.isnan(images_needed(0.05, math.nan, 100))


@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9), (0.1, 0.5)])
def test_the_test_has_the_power(alpha: float, power: float) -> None:
    error, critical = 0.03, norm.ppf(1 - alpha / 2)
    difference = detectable_difference(error, alpha, power)
    assert norm.sf(critical - difference / error) == pytest.approx(power, abs=1e-12)
    images = images_needed(0.01, error, 400, alpha, power)
    powers = [norm.sf(critical - 0.01 / (error * math.sqrt(400 / n))) for n in (images - 1, images)]
    assert powers[0] < power <= powers[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.1, 10), "difference must be positive, not 0"),
        ((0.1, 0.1, 10, 1.0), "alpha must lie between 0 and 1"),
        ((0.1, 0.1, 10, 0.05, 1.0), "power must lie between"),
        ((0.1, 0.1, 10, 0.05, 0.02), "power must lie between"),
    ],
)
def test_values_out_of_range(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        images_needed(*arguments)  # type: ignore[arg-type]
