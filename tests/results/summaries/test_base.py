"""Common parts of all kinds of summaries: checks of names, groups, arrays and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stored_summaries import means

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.base import BLOCK_BYTES, blocks, ordered_groups, ratio, weighted_sums
from ltrp_bench.results.summaries.registry import parse_summary


def with_meta(**changed: Any) -> dict[str, Any]:
    return {**means(), "meta": {**means()["meta"], **changed}}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**means(), "image": np.array([0, 0, 1, 2])}, "array 'image' holds a position outside 0 .. 1"),
        ({**means(), "values": np.zeros((1, 4))}, "array 'values' is float64 .* not of shape"),
        ({name: array for name, array in means().items() if name != "category"}, "no array 'category'"),
        (with_meta(images="12"), "meta/images must be a list of names"),
        (with_meta(images=["1", 2]), "meta/images must be a list of names"),
        (with_meta(images=["1", "1"]), "meta/images names one twice"),
        (with_meta(metrics=[]), "meta/metrics is empty"),
        (with_meta(groups={"all": []}), "meta/groups must be a mapping of all, seen, unseen"),
        (with_meta(groups={"all": ["c"], "seen": [], "unseen": []}), "meta/groups/all names 'c', which is no category"),
    ],
)
def test_malformed_summaries_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message) as error:
        parse_summary(arrays, "cell 1")
    assert str(error.value).startswith("cell 1 is not a valid 'means'") and "\n" not in str(error.value)


def test_unknown_metrics_groups_and_weights_are_refused() -> None:
    summary = parse_summary(means(), "x")
    ones = np.ones((1, 2), int)
    with pytest.raises(ResultsError, match="no metric 'o'; there are m, n"):
        summary.values("o", "all", ones)
    with pytest.raises(ResultsError, match="no group 'narrow'; there are all, seen, unseen"):
        summary.values("m", "narrow", ones)
    for weights in (np.ones((1, 2)), np.ones((1, 3), int), np.ones(2, int)):
        with pytest.raises(ResultsError, match="weights must be integers of shape"):
            summary.values("m", "all", weights)


def test_groups_are_in_the_order_of_categories() -> None:
    groups = {"all": {"c", "a", "b"}, "seen": {"b", "a"}, "unseen": {"c"}}
    assert ordered_groups("abc", groups) == {"all": ("a", "b", "c"), "seen": ("a", "b"), "unseen": ("c",)}


def test_a_ratio_of_nothing_is_undefined() -> None:
    np.testing.assert_array_equal(ratio([1, 0, 3], [2, 0, 0]), [0.5, np.nan, np.nan])


def test_blocks_cover_the_rows() -> None:
    found = list(blocks(7, BLOCK_BYTES // 3))
    assert [(s.start, s.stop) for s in found] == [(0, 3), (3, 6), (6, 7)]
    assert [(s.start, s.stop) for s in blocks(2, 10 * BLOCK_BYTES)] == [(0, 1), (1, 2)]


def test_weighted_sums_are_a_product() -> None:
    weights, columns = np.array([[1, 0, 2], [3, 1, 0]], np.uint8), np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(weighted_sums(weights, columns), weights.astype(float) @ columns)
