"""Means that leave out what is undefined."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.tasks.metrics.averages import defined_mean, mean_and_count


def test_mean_and_count_do_not_depend_on_the_order() -> None:
    values = [1e16, 1.0, -1e16]
    assert mean_and_count(values) == mean_and_count(values[::-1]) == (1 / 3, 3)
    assert mean_and_count(np.array([True, False, True, True])) == (0.75, 4)
    assert mean_and_count([]) == (pytest.approx(np.nan, nan_ok=True), 0)


@pytest.mark.filterwarnings("error")  # as NumPy's of an empty mean
def test_defined_mean_leaves_nan_out() -> None:
    assert defined_mean(np.array([1.0, np.nan, 2.0])) == 1.5
    assert np.isnan(defined_mean(np.array([np.nan]))) and np.isnan(defined_mean(np.zeros(0)))
