"""Average precision of one category's ranked detections, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.results.summaries.ranked_precision import RankedMatches, Rule


def precision(rule: Rule, matched: list[int], ignored: list[int], weights: list[int], objects: int) -> float:
    matches = RankedMatches.of(np.array(matched), np.array(ignored), 0)
    drawn = np.array([weights])
    (value,) = matches.average_precision(rule, drawn, np.cumsum(drawn, axis=1), np.array([objects]))
    return float(value)


@pytest.mark.parametrize("rule", ["coco", "voc_area", "voc_11points"])
def test_all_objects_found_first_is_one(rule: Rule) -> None:
    assert precision(rule, [1, 1, 0], [0, 0, 0], [1, 1, 1], 2) == 1.0


def test_each_rule_by_hand() -> None:
    # True, false, true of two objects: precision 1 up to recall 1/2, then 2/3.
    assert precision("voc_area", [1, 0, 1], [0, 0, 0], [1, 1, 1], 2) == pytest.approx((1 + 2 / 3) / 2)
    assert precision("voc_11points", [1, 0, 1], [0, 0, 0], [1, 1, 1], 2) == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert precision("coco", [1, 0, 1], [0, 0, 0], [1, 1, 1], 2) == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize("ignored", [[0, 1, 0], [1, 1, 0, 1, 0]])
def test_ignored_detections_count_nowhere(ignored: list[int]) -> None:
    matched = [0] * (len(ignored) - 1) + [1]
    counted = [m for m, i in zip(matched, ignored, strict=True) if not i]
    expected = precision("voc_area", counted, [0] * len(counted), [1] * len(counted), 1)
    assert precision("voc_area", matched, ignored, [1] * len(ignored), 1) == expected


def test_a_weight_is_a_number_of_copies() -> None:
    assert precision("voc_area", [1, 0, 1], [0, 0, 0], [2, 0, 1], 3) == 1.0
    assert precision("voc_area", [1, 0, 1], [0, 0, 0], [1, 3, 1], 2) == pytest.approx((1 + 2 / 5) / 2)


def test_nothing_found_is_zero_and_no_object_is_undefined() -> None:
    assert precision("coco", [0, 0], [0, 0], [1, 1], 3) == 0.0
    assert np.isnan(precision("coco", [0, 0], [0, 0], [1, 1], 0))
