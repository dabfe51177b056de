"""Segmentation metrics under image weights, by hand."""

from __future__ import annotations

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
    assert np.isnan(summary.values("unseen_called_seen", "seen", weights)).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**confusion(), "pixels": np.array([6, -2, 3])}, "negative number"),
        ({**confusion(), "true": np.array([0, 1, 2])}, "position outside"),
        ({**confusion(), "meta": {**confusion()["meta"], "metrics": ["F1"]}}, "metric 'F1' is none of"),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message) as error:
        parse_summary(arrays, "cell 1")
    assert "cell 1" in str(error.value) and "\n" not in str(error.value)
