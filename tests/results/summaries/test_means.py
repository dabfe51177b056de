"""Means under image weights, by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from stored_summaries import means

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import parse_summary


def test_means_by_hand() -> None:
    values = parse_summary(means(), "x").all_values(
        [("m", "all"), ("m", "seen"), ("n", "all"), ("n", "seen")], np.array([[1, 2], [0, 1]])
    )
    np.testing.assert_allclose(values["m", "all"], [1.5 / 4, 0.25])
    np.testing.assert_allclose(values["m", "seen"], [1.5 / 3, 0.25])
    np.testing.assert_allclose(values["n", "all"], [0.5, np.nan])
    assert np.isnan(values["n", "seen"]).all()


def test_means_over_images_by_hand() -> None:
    arrays = means()
    arrays["meta"] = {**arrays["meta"], "per_image": ["m"]}
    summary = parse_summary(arrays, "x")
    values = summary.all_values([("m", "all"), ("m", "seen"), ("n", "all")], np.array([[1, 2], [0, 1], [3, 0]]))
    # The greatest of an image's entries: 1 and 0.25.
    np.testing.assert_allclose(values["m", "all"], [1.5 / 3, 0.25, 1.0])
    np.testing.assert_allclose(values["m", "seen"], [1.5 / 3, 0.25, 1.0])
    np.testing.assert_allclose(values["n", "all"], [0.5, np.nan, 0.5])
    assert [summary.images_counted("m", group) for group in ("all", "seen", "unseen")] == [2, 2, 1]
    assert summary.images_counted("n", "all") is None
    assert summary.to_arrays()["meta"] == arrays["meta"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**means(), "image": np.zeros(4)}, "array 'image' is float64 [4], not of shape [any]"),
        ({**means(), "category": np.zeros(3, int)}, "array 'category' is int64 [3], not of shape [4]"),
        ({**means(), "category": np.full(4, -2)}, "array 'category' holds a position outside -1 .. 1"),
        ({**means(), "values": np.zeros((2, 4), int)}, "array 'values' is int64 [2, 4], not of shape [2, 4]"),
        ({**means(), "values": np.zeros((2, 3))}, "array 'values' is float64 [2, 3], not of shape [2, 4]"),
        ({**means(), "meta": {**means()["meta"], "per_image": ["z"]}}, "meta/per_image names 'z', which is no metric"),
        ({**means(), "values": np.full((2, 4), -np.inf)}, "array 'values' holds an infinity"),
        *(
            ({other: array for other, array in means().items() if other != name}, f"no array {name!r}")
            for name in ("image", "category", "values")
        ),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(message)) as error:
        parse_summary(arrays, "cell 1")
    assert str(error.value).startswith("cell 1 ") and "\n" not in str(error.value)
