"""Average precision of one category's ranked detections, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.results.summaries.ranked_precision import RankedMatches, Rule


def reference(rule: Rule, matched: np.ndarray, ignored: np.ndarray, objects: int) -> float:
    """Average precision as the official codes define it, from detections that each count once."""
    if not objects:
        return float("nan")
    hits = np.cumsum(matched[~ignored])
    recall, rank = hits / objects, np.arange(1, len(hits) + 1)
    envelope = np.array([max(hits[i:] / rank[i:]) for i in range(len(hits))] + [0.0])
    if rule == "voc_area":
        return float(np.sum(np.diff(recall, prepend=0) * envelope[:-1]))
    if rule == "coco":  # the first detection at which each recall point is reached, as in pycocotools
        return float(envelope[np.searchsorted(recall, np.linspace(0, 1, 101), side="left")].mean())
    reached = [np.flatnonzero(10 * hits >= point * objects) for point in range(11)]
    return float(np.mean([envelope[at[0]] if len(at) else 0.0 for at in reached]))


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


@pytest.mark.parametrize("rule", ["coco", "voc_area", "voc_11points"])
@pytest.mark.parametrize("few", [0.2, 0.5, 0.8], ids=["few ignored", "half ignored", "many ignored"])
def test_weights_equal_copies_of_detections(rule: Rule, few: float) -> None:
    rng = np.random.default_rng(1)
    for size in (1, 3, 20, 60):
        state = rng.choice(3, size, p=[few, (1 - few) / 2, (1 - few) / 2])  # ignored, false, true
        # The bits of the second of three thresholds; those of the others are noise.
        noise = rng.integers(0, 2, (2, size)) * 5
        matched, ignored = 2 * (state == 2) + noise[0], 2 * (state == 0) + noise[1]
        drawn = np.vstack([np.ones((1, size), int), rng.integers(0, 4, (7, size)), np.zeros((1, size), int)])
        missed = np.array([0, 2, 1, 0, 3, 1, 0, 50, 0])
        objects = drawn @ (state == 2) + missed
        found = RankedMatches.of(matched, ignored, 1).average_precision(rule, drawn, np.cumsum(drawn, 1), objects)
        copies = [np.repeat(state, row) for row in drawn]
        expected = [reference(rule, one == 2, one == 0, int(n)) for one, n in zip(copies, objects, strict=True)]
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("objects", [1, 3, 7, 100])
def test_a_recall_reaches_the_points_that_it_equals(objects: int) -> None:
    """Recalls such as 29/100 and 35/100, whose products with 100 are rounded."""
    for hits in range(1, objects + 1):
        matched = np.ones(hits, int)
        found = precision("coco", [1] * hits, [0] * hits, [1] * hits, objects)
        assert found == pytest.approx(reference("coco", matched, matched == 0, objects), abs=1e-12)


def test_behind_the_last_true_positive_no_weights_are_needed() -> None:
    matches = RankedMatches.of(np.array([1, 0]), np.array([0, 1]), 0)
    drawn = np.array([[1]])
    assert matches.average_precision("voc_area", drawn, drawn, np.array([2])) == [0.5]


@pytest.mark.parametrize("ignored", [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]])
def test_the_fewer_ranks_are_kept(ignored: list[int]) -> None:
    matches = RankedMatches.of(np.array([0, 0, 0, 0, 1]), np.array(ignored), 0)
    few = sum(ignored) <= 2
    assert matches.ignored is few
    np.testing.assert_array_equal(matches.some, np.flatnonzero(np.array(ignored) == few))


def test_nothing_found_is_zero_and_no_object_is_undefined() -> None:
    assert precision("coco", [0, 0], [0, 0], [1, 1], 3) == 0.0
    assert precision("coco", [0, 0], [0, 0], [1, 1], 1) == 0.0
    assert np.isnan(precision("coco", [0, 0], [0, 0], [1, 1], 0))
