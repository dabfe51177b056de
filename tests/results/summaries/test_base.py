"""Common parts of all kinds of summaries: checks of names, groups, arrays and weights."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from stored_summaries import confusion, means, ranking

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.base import BLOCK_BYTES, blocks, ordered_groups, ratio, weighted_sums
from ltrp_bench.results.summaries.registry import parse_summary


def with_meta(**changed: Any) -> dict[str, Any]:
    return {**means(), "meta": {**means()["meta"], **changed}}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**means(), "image": np.array([0, 0, 1, 2])}, "array 'image' holds a position outside 0 .. 1"),
        ({**means(), "values": np.zeros((1, 4))}, "array 'values' is float64 [1, 4], not of shape [2, 4]"),
        ({**means(), "image": np.zeros((2, 2), int)}, "array 'image' is int64 [2, 2], not of shape [any]"),
        ({name: array for name, array in means().items() if name != "category"}, "no array 'category'"),
        (with_meta(images="12"), "meta/images must be a list of names"),
        (with_meta(images=["1", 2]), "meta/images must be a list of names"),
        (with_meta(images=["1", "1"]), "meta/images names one twice"),
        (with_meta(categories="ab"), "meta/categories must be a list of names"),
        (with_meta(categories=["a", "b", "a"]), "meta/categories names one twice"),
        (with_meta(metrics="mn"), "meta/metrics must be a list of names"),
        (with_meta(metrics=["m", "m"]), "meta/metrics names one twice"),
        (with_meta(metrics=[]), "meta/metrics is empty"),
        (with_meta(groups={"all": []}), "meta/groups must be a mapping of all, seen, unseen"),
        (with_meta(groups={"all": "ab", "seen": ["a"], "unseen": ["b"]}), "meta/groups/all must be a list of names"),
        (with_meta(groups={"all": [], "seen": ["a", "a"], "unseen": []}), "meta/groups/seen names one twice"),
        (with_meta(groups={"all": ["c"], "seen": [], "unseen": []}), "meta/groups/all names 'c', which is no category"),
    ],
)
def test_malformed_summaries_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(message)) as error:
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


def test_values_of_weights_and_the_measured_value() -> None:
    summary = parse_summary(means(), "x")
    for weights in (np.array([[1, 1], [3, 1]]), np.array([[1, 1], [3, 1]], np.uint16)):
        np.testing.assert_allclose(summary.values("m", "seen", weights), [(1 + 0.25) / 2, (3 + 0.25) / 4])
    assert summary.measured("m", "seen") == 0.625
    pairs = [("m", "seen"), ("n", "unseen"), ("m", "seen")]
    assert list(summary.all_values(pairs, np.ones((1, 2), int))) == [("m", "seen"), ("n", "unseen")]


def test_a_group_mean_leaves_undefined_categories_out() -> None:
    weights = np.array([[1, 1], [1, 0], [0, 1]])
    values = parse_summary(confusion(), "x").all_values([("mAcc", group) for group in ("all", "seen")], weights)
    # "a" has 6 of 6 pixels right in the first image and none in the second; "b" 0 of 2 and 3 of 3.
    np.testing.assert_allclose(values["mAcc", "all"], [(1 + 3 / 5) / 2, 1 / 2, 1])
    np.testing.assert_allclose(values["mAcc", "seen"], [1, 1, np.nan])


def test_the_stored_form_has_names_and_groups() -> None:
    for stored in (means(), ranking(), confusion()):
        assert parse_summary(stored, "x").to_arrays()["meta"] == stored["meta"]


def test_groups_are_in_the_order_of_categories() -> None:
    groups = {"all": {"c", "a", "b"}, "seen": {"b", "a"}, "unseen": {"c"}}
    assert ordered_groups("abc", groups) == {"all": ("a", "b", "c"), "seen": ("a", "b"), "unseen": ("c",)}


def test_a_ratio_of_nothing_is_undefined() -> None:
    np.testing.assert_array_equal(ratio([1, 0, 3, 3], [2, 0, 0, 1]), [0.5, np.nan, np.nan, 3])


def test_blocks_cover_the_rows() -> None:
    found = list(blocks(7, BLOCK_BYTES // 3))
    assert [(s.start, s.stop) for s in found] == [(0, 3), (3, 6), (6, 7)]
    assert [(s.start, s.stop) for s in blocks(2, 10 * BLOCK_BYTES)] == [(0, 1), (1, 2)]
    for smallest in (0, 1):
        assert list(blocks(BLOCK_BYTES, smallest)) == [slice(0, BLOCK_BYTES)]


def test_weighted_sums_are_a_product() -> None:
    weights, columns = np.array([[1, 0, 2], [3, 1, 0]], np.uint8), np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(weighted_sums(weights, columns), weights.astype(float) @ columns)
