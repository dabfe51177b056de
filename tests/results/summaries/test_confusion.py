"""Segmentation metrics under image weights, by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from stored_summaries import confusion

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import parse_summary


def test_confusion_by_hand() -> None:
    summary = parse_summary(confusion(), "x")
    weights = np.array([[1, 1], [1, 2], [1, 0]])
    np.testing.assert_allclose(summary.values("mIoU", "seen", weights), [6 / 8] * 3)
    np.testing.assert_allclose(summary.values("mIoU", "unseen", weights), [3 / 5, 6 / 8, 0])
    np.testing.assert_allclose(summary.values("aAcc", "all", weights), [9 / 11, 12 / 14, 6 / 8])
    np.testing.assert_allclose(summary.values("unseen_called_seen", "unseen", weights), [2 / 5, 2 / 8, 1])
    np.testing.assert_allclose(summary.values("mAcc", "all", weights), [(1 + 3 / 5) / 2, (1 + 6 / 8) / 2, 1 / 2])
    np.testing.assert_allclose(summary.values("mAcc", "unseen", weights), [3 / 5, 6 / 8, 0])
    nothing = summary.values("unseen_called_seen", "seen", weights)
    assert nothing.shape == (3,) and np.isnan(nothing).all()


def test_an_entry_may_have_no_pixels() -> None:
    summary = parse_summary({**confusion(), "pixels": np.array([6, 0, 3], np.int64)}, "x")
    assert summary.measured("aAcc", "all") == 1.0 and summary.measured("unseen_called_seen", "unseen") == 0.0


def test_pixels_of_an_image_are_those_of_its_matrix() -> None:
    """Random confusion matrices, weighted and added up as whole matrices."""
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 9, (5, 4, 4))
    image, true, predicted = np.nonzero(matrices)
    meta = {
        "kind": "confusion",
        "images": list("12345"),
        "categories": list("abcd"),
        "groups": {"all": list("abcd"), "seen": ["a", "c"], "unseen": ["b", "d"]},
        "metrics": ["mIoU", "mAcc", "aAcc", "unseen_called_seen"],
    }
    stored = {"meta": meta, "image": image, "true": true, "predicted": predicted, "pixels": matrices[matrices > 0]}
    summary = parse_summary(stored, "x")
    weights = rng.integers(0, 4, (6, 5))
    for row, each in enumerate(np.einsum("bn,nij->bij", weights, matrices)):
        right, whole = np.diag(each), each.sum(1)
        iou, accuracy = right / (whole + each.sum(0) - right), right / whole
        expected = {
            ("mIoU", "seen"): iou[[0, 2]].mean(),
            ("mAcc", "unseen"): accuracy[[1, 3]].mean(),
            ("aAcc", "seen"): right[[0, 2]].sum() / whole[[0, 2]].sum(),
            ("unseen_called_seen", "unseen"): each[1::2, 0::2].sum() / whole[1::2].sum(),
        }
        values = summary.all_values(expected, weights)
        for pair, value in expected.items():
            assert values[pair][row] == pytest.approx(value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**confusion(), "image": np.zeros(3)}, "array 'image' is float64 [3], not of shape [any]"),
        ({**confusion(), "true": np.array([0, 1])}, "array 'true' is int64 [2], not of shape [3]"),
        ({**confusion(), "true": np.array([0, 1, 2])}, "array 'true' holds a position outside 0 .. 1"),
        ({**confusion(), "predicted": np.array([0, 1])}, "array 'predicted' is int64 [2], not of shape [3]"),
        ({**confusion(), "predicted": np.array([0, -1, 1])}, "array 'predicted' holds a position outside 0 .. 1"),
        ({**confusion(), "pixels": np.ones(3)}, "array 'pixels' is float64 [3], not of shape [3]"),
        ({**confusion(), "pixels": np.array([6, -2, 3])}, "array 'pixels' holds a negative number"),
        ({name: array for name, array in confusion().items() if name != "pixels"}, "no array 'pixels'"),
        ({**confusion(), "meta": {**confusion()["meta"], "metrics": ["F1"]}}, "metric 'F1' is none of"),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(message)) as error:
        parse_summary(arrays, "cell 1")
    assert str(error.value).startswith("cell 1 ") and "\n" not in str(error.value)
