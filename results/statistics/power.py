"""Power of a paired comparison: the difference that n images can tell from chance, and the images that one needs.

The test is two-sided with a normal approximation, as the p-values of `bootstrap.Estimate`. The standard error of a
difference that is measured on n images scales with 1 / sqrt(n). The tail on the other side of 0 is not counted: it is
negligible for any useful power.
"""

from __future__ import annotations

import math

from scipy.special import ndtri

from ltrp_bench.selectors.errors import UsageError


def detectable_difference(error: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true difference that is significant with this probability.

    Args:
        error: standard error of the difference.
        alpha: level of the two-sided test, in (0, 1).
        power: probability of a significant difference, in (alpha / 2, 1).

    Raises:
        UsageError: `alpha` or `power` is out of range.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must lie between 0 and 1, not be {alpha:g}")
    if not alpha / 2 < power < 1:
        raise UsageError(f"the power must lie between alpha / 2 ({alpha / 2:g}) and 1, not be {power:g}")
    return error * float(ndtri(1 - alpha / 2) + ndtri(power))


def images_needed(difference: float, error: float, images: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Number of images, rounded up, that a true difference needs to be significant with this probability.

    Args:
        difference: the true difference, > 0, in units of the metric.
        error: standard error of a difference that was measured.
        images: number of images that it was measured on.
        alpha, power: see `detectable_difference`.

    Returns:
        The number, at least 1; NaN if the error is undefined.

    Raises:
        UsageError: `difference`, `alpha` or `power` is out of range.
    """
    if not difference > 0:
        raise UsageError(f"the difference must be positive, not {difference:g}")
    needed = images * (detectable_difference(error, alpha, power) / difference) ** 2
    # Rounding must not ask for one image more.
    return math.nan if math.isnan(needed) else float(max(1, math.ceil(needed - 1e-9)))
