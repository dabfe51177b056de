"""Means over the defined values only."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np


def mean_and_count(values: Collection[float] | np.ndarray) -> tuple[float, int]:
    """Mean, NaN of nothing, and the number of values; summed exactly, so that their order does not matter."""
    return (math.fsum(values) / len(values) if len(values) else math.nan), len(values)


def defined_mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan
