"""Metrics of several labels: by hand, against scikit-learn, and of groups and sizes by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from ltrp_bench.tasks.data.annotations import SIZES
from ltrp_bench.tasks.metrics.multilabel import METRICS, SIZE_METRICS, MultiLabel, average_precision, pack, unpack

CATEGORIES = ("cat", "dog", "kite", "fork", "none of these")
SEEN, UNSEEN = ("cat", "dog", "none of these"), ("kite", "fork")


def world(seed: int = 0, images: int = 60, ignored: bool = False, digits: int = 1) -> MultiLabel:
    """Scores with many ties that know something of the truth; the last category is never there."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, 5)) < [0.5, 0.3, 0.2, 0.4, 0]).astype(np.int8)
    scores = np.clip(np.round(0.3 * labels + 0.7 * rng.random(labels.shape), digits), 0, 1)
    sizes = np.where(labels > 0, rng.integers(1, 8, labels.shape), 0).astype(np.uint8)
    if ignored:
        labels[rng.random(labels.shape) < 0.2] = -1
    return MultiLabel(CATEGORIES, scores, labels, sizes)


def test_average_precision_by_hand() -> None:
    present = np.array([True, False, True, False])
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), present) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([0.5, 0.5, 0.5, 0.5]), present) == 0.5  # one step
    assert average_precision(np.array([0.9, 0.5, 0.5, 0.1]), present) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(average_precision(np.array([0.9, 0.1]), np.array([False, False])))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40))
def test_average_precision_is_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    scores, present = np.array([s / 6 for s, _ in pairs]), np.array([p for _, p in pairs])
    if present.any():
        expected = average_precision_score(present, scores)
        assert average_precision(scores, present) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("digits", [1, 9])
def test_map_is_scikit_learns_over_the_whole_data_set(digits: int) -> None:
    run = world(digits=digits)
    expected = average_precision_score(run.labels[:, :4], run.scores[:, :4], average=None)
    np.testing.assert_allclose(run.average_precisions()[:4], expected, atol=1e-12)
    assert math.isnan(run.average_precisions()[4])
    assert run.summary(CATEGORIES)["mAP"] == (pytest.approx(expected.mean(), abs=1e-12), int(run.labels.sum()))
    assert run.summary(SEEN)["mAP"][0] == pytest.approx(expected[:2].mean(), abs=1e-12)
    assert run.summary(UNSEEN)["mAP"][0] == pytest.approx(expected[2:].mean(), abs=1e-12)


def test_map_is_not_a_mean_over_batches() -> None:
    run = world(digits=9)
    parts = [
        MultiLabel(CATEGORIES, run.scores[i : i + 2], run.labels[i : i + 2], run.sizes[i : i + 2])
        for i in range(0, 60, 2)
    ]
    batched = np.nanmean([part.summary(CATEGORIES)["mAP"][0] for part in parts])
    assert batched - run.summary(CATEGORIES)["mAP"][0] > 0.05


def test_order_of_images_changes_nothing() -> None:
    run, order = world(), np.random.default_rng(1).permutation(60)
    other = MultiLabel(CATEGORIES, run.scores[order], run.labels[order], run.sizes[order])
    for metric, (value, n) in other.summary(CATEGORIES, with_sizes=True).items():
        assert run.summary(CATEGORIES, with_sizes=True)[metric] == (pytest.approx(value, abs=1e-12), n)


@pytest.mark.parametrize("group", [CATEGORIES, SEEN, UNSEEN])
@pytest.mark.parametrize("top", [None, 3])
def test_precision_recall_and_f1_are_scikit_learns(group: tuple[str, ...], top: int | None) -> None:
    run = world()
    members = [i for i, name in enumerate(CATEGORIES) if name in group]
    known = [i for i in members if run.labels[:, i].any()]
    predicted = run.scores >= 0.5
    if top is not None:
        for row, scores in zip(predicted, run.scores, strict=True):
            best = sorted(range(5), key=lambda i: (-scores[i], i))[:top]
            row[[i for i in range(5) if i not in best]] = False
        assert (predicted != (run.scores >= 0.5)).any()
    truth = run.labels == 1
    p, r, _, _ = precision_recall_fscore_support(truth[:, known], predicted[:, known], average="macro", zero_division=0)
    op, or_, of1, _ = precision_recall_fscore_support(truth[:, members], predicted[:, members], average="micro")
    found = run.summary(group)
    ending = "" if top is None else "_top3"
    assert found[f"CF1{ending}"][0] == pytest.approx(2 * p * r / (p + r), abs=1e-12)
    assert found[f"OF1{ending}"][0] == pytest.approx(of1, abs=1e-12)
    if top is None:
        assert [found[m][0] for m in ("CP", "CR", "OP", "OR")] == pytest.approx([p, r, op, or_], abs=1e-12)


def test_a_score_at_the_threshold_is_present_and_ties_go_to_the_first() -> None:
    scores = np.array([[0.5, 0.49, 0.7, 0.7, 0.7]])
    run = MultiLabel(CATEGORIES, scores, np.ones((1, 5), np.int8), np.zeros((1, 5), np.uint8))
    assert run.predicted().tolist() == [[True, False, True, True, True]]
    assert run.predicted(2).tolist() == [[False, False, True, True, False]]
    higher = MultiLabel(CATEGORIES, scores, run.labels, run.sizes, threshold=0.6)
    assert higher.predicted().sum() == 3


def test_unknown_labels_count_nowhere() -> None:
    run = world(ignored=True)
    for i, value in enumerate(run.average_precisions()[:4]):
        known = run.labels[:, i] >= 0
        expected = average_precision_score(run.labels[known, i], run.scores[known, i])
        assert value == pytest.approx(expected, abs=1e-12)
    scores = np.where(run.labels < 0, 1 - run.scores, run.scores)
    other = MultiLabel(CATEGORIES, scores, run.labels, run.sizes)
    assert (scores != run.scores).any()
    for group in (SEEN, UNSEEN):
        assert other.summary(group, with_sizes=True) == run.summary(group, with_sizes=True)


@pytest.mark.parametrize("ignored", [False, True])
def test_sizes_by_brute_force(ignored: bool) -> None:
    run = world(ignored=ignored)
    for bit, size in enumerate(SIZES):
        values, count = [], 0
        for i in range(4):
            pairs = [
                (run.scores[n, i], run.labels[n, i] == 1)
                for n in range(60)
                if run.labels[n, i] == 0 or (run.labels[n, i] == 1 and run.sizes[n, i] & 2**bit)
            ]
            values.append(average_precision_score([p for _, p in pairs], [s for s, _ in pairs]))
            count += sum(p for _, p in pairs)
        found = run.summary(CATEGORIES, with_sizes=True)[f"mAP_{size}"]
        assert found == (pytest.approx(np.mean(values), abs=1e-12), count)


def test_groups_without_positives_are_undefined() -> None:
    run = world()
    for group in ((), ("none of these",)):
        for value, n in run.summary(group, with_sizes=True).values():
            assert math.isnan(value) and n == 0
    empty = MultiLabel.of([], CATEGORIES)
    assert all(math.isnan(value) for value, _ in empty.summary(CATEGORIES, with_sizes=True).values())
    none_predicted = MultiLabel(CATEGORIES, np.zeros((3, 5)), np.ones((3, 5), np.int8), np.zeros((3, 5), np.uint8))
    found = none_predicted.summary(CATEGORIES)
    assert tuple(found) == METRICS and found["mAP"][0] == 1
    assert found["CF1"][0] == found["OF1"][0] == found["OP"][0] == 0


def test_rows_are_packed_and_unpacked() -> None:
    run = world(digits=9)
    rows = [pack(*parts) for parts in zip(run.scores, run.labels, run.sizes, strict=True)]
    back = MultiLabel.of(rows, CATEGORIES)
    for name in ("scores", "labels", "sizes"):
        np.testing.assert_array_equal(getattr(back, name), getattr(run, name))
    scores, labels, sizes = unpack(rows[0])
    assert scores.dtype == np.float64 and len(rows[0]["scores"]) == 40 and len(labels) == len(sizes) == 5
    assert unpack(pack(np.array([1 / 3]), labels[:1], sizes[:1]))[0].tolist() == [0.333333333]


def test_rows_keep_types_unknown_labels_and_the_threshold() -> None:
    row = pack(np.array([0.25, 1.0], np.float32), np.array([-1, 1]), np.array([0, 7]))
    scores, labels, sizes = unpack(row)
    assert [part.dtype for part in (scores, labels, sizes)] == [np.float64, np.int8, np.uint8]
    assert (scores.tolist(), labels.tolist(), sizes.tolist()) == ([0.25, 1.0], [-1, 1], [0, 7])
    assert [len(part) for part in row.values()] == [16, 2, 2]
    run = MultiLabel.of([row, row], ["cat", "dog"])
    assert (run.categories, run.threshold, run.scores.shape) == (("cat", "dog"), 0.5, (2, 2))
    assert MultiLabel.of([row], ["cat", "dog"], 0.75).threshold == 0.75
    empty = MultiLabel.of([], ["cat", "dog"])
    assert [part.dtype for part in (empty.scores, empty.labels, empty.sizes)] == [np.float64, np.int8, np.uint8]
    assert empty.scores.shape == (0, 2)


def test_unknown_labels_take_no_place_among_the_best() -> None:
    labels = np.array([[-1, 0, 0, 0, 1]], np.int8)
    run = MultiLabel(CATEGORIES, np.zeros((1, 5)), labels, np.zeros((1, 5), np.uint8), threshold=0.0)
    assert run.predicted(2).tolist() == [[False, True, True, False, False]]
    assert run.predicted().tolist() == [[False, True, True, True, True]]


def test_rates_by_hand() -> None:
    """Cats: 1 of 2 predicted is right, 1 of 1 is found. Dogs: none of 1, none of 2. Kites are never predicted."""
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 1, 0]], np.int8)
    scores = np.array([[0.9, 0.6, 0.1], [0.8, 0.2, 0.3], [0.1, 0.4, 0.2]])
    sizes = np.array([[1, 0, 2], [0, 3, 0], [0, 4, 0]], np.uint8)
    run = MultiLabel(("cat", "dog", "kite"), scores, labels, sizes)
    found = {name: value for name, (value, _) in run.summary(run.categories).items()}
    assert (found["CP"], found["CR"]) == (pytest.approx(1 / 6), pytest.approx(1 / 3))
    assert found["CF1"] == pytest.approx(2 * (1 / 6) * (1 / 3) / (1 / 6 + 1 / 3))
    assert (found["OP"], found["OR"], found["OF1"]) == (pytest.approx(1 / 3), 0.25, pytest.approx(2 / 7))
    assert tuple(run.summary(run.categories)) == METRICS
    assert tuple(run.summary(run.categories, with_sizes=True)) == (*METRICS, *SIZE_METRICS)
    assert [run.count(run.categories, size) for size in SIZES] == [2, 2, 1] and run.count(("dog",)) == 2
    assert run.average_precisions() is run.average_precisions(), "ranked once for all groups"


def test_one_right_prediction_is_all_there_is() -> None:
    run = MultiLabel(("cat",), np.array([[0.9]]), np.ones((1, 1), np.int8), np.zeros((1, 1), np.uint8))
    assert set(run.summary(("cat",)).values()) == {(1.0, 1)}


def test_ties_among_many_categories_go_to_the_first() -> None:
    names = tuple(str(i) for i in range(200))
    run = MultiLabel(names, np.full((1, 200), 0.5), np.ones((1, 200), np.int8), np.zeros((1, 200), np.uint8))
    assert np.flatnonzero(run.predicted(3)[0]).tolist() == [0, 1, 2]
