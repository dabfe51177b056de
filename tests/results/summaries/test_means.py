"""Means under image weights, by hand."""

from __future__ import annotations

import numpy as np
from stored_summaries import means

from ltrp_bench.results.summaries.registry import parse_summary


def test_means_by_hand() -> None:
    values = parse_summary(means(), "x").all_values(
        [("m", "all"), ("m", "seen"), ("n", "all"), ("n", "seen")], np.array([[1, 2], [0, 1]])
    )
    np.testing.assert_allclose(values["m", "all"], [1.5 / 4, 0.25])
    np.testing.assert_allclose(values["m", "seen"], [1.5 / 3, 0.25])
    np.testing.assert_allclose(values["n", "all"], [0.5, np.nan])
    assert np.isnan(values["n", "seen"]).all()
