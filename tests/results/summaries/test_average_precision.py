"""Multi-label average precision under image weights, by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from stored_summaries import ranking

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.average_precision import distinct_ends
from ltrp_bench.results.summaries.registry import parse_summary


def test_ranking_by_hand() -> None:
    weights = np.array([[1, 1, 1], [1, 0, 1], [1, 2, 1], [0, 1, 0]])
    values = parse_summary(ranking(), "x").values("mAP", "seen", weights)
    # Found at ranks 1 and 3: (1 + 2/3) / 2; without the second image 1; with it twice (1 + 2/4) / 2.
    np.testing.assert_allclose(values, [5 / 6, 1.0, 0.75, np.nan])
    assert np.isnan(parse_summary(ranking(), "x").values("mAP", "unseen", weights)).all()
    # Without the best image, the second of two is found.
    assert parse_summary(ranking(), "x").values("mAP", "seen", np.array([[0, 1, 1]])) == [0.5]


def test_values_are_those_of_scikit_learn_on_drawn_images() -> None:
    """Ties, unknown labels and object sizes; without the images whose label is unknown or whose object is of another
    size."""
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 6, (30, 2)) / 8
    labels = rng.integers(-1, 2, (30, 2)).astype(np.int8)
    sizes = np.where(labels > 0, rng.integers(1, 8, (30, 2)), 0).astype(np.uint8)
    metrics = ["mAP", "mAP_small", "mAP_medium", "mAP_large"]
    meta = {**ranking()["meta"], "images": [str(i) for i in range(30)], "metrics": metrics}
    summary = parse_summary({"meta": meta, "scores": scores, "labels": labels, "sizes": sizes}, "x")
    weights = np.vstack([np.ones(30, int), rng.multinomial(30, np.full(30, 1 / 30), 3)])
    values = summary.all_values([(metric, group) for metric in metrics for group in ("seen", "unseen", "all")], weights)
    for metric, shown in zip(metrics, (labels > 0, sizes & 1, sizes & 2, sizes & 4), strict=True):
        for row, drawn in enumerate(weights):
            expected = []
            for column, group in enumerate(("seen", "unseen")):
                present = (labels[:, column] > 0) & (shown[:, column] > 0)
                counted = np.repeat(np.arange(30), drawn * (present | (labels[:, column] == 0)))
                expected.append(average_precision_score(present[counted], scores[counted, column]))
                assert values[metric, group][row] == pytest.approx(expected[-1])
            assert values[metric, "all"][row] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("ranked", "ends"), [([], []), ([2.0], [0]), ([3.0, 3.0, 2.0, 1.0, 1.0], [1, 2, 4])])
def test_the_last_of_each_distinct_score(ranked: list[float], ends: list[int]) -> None:
    found = distinct_ends(np.array(ranked))
    assert found.tolist() == ends and found.ndim == 1 and found.dtype.kind == "i"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**ranking(), "scores": np.zeros((3, 2), int)}, "array 'scores' is int64 [3, 2], not of shape [3, 2]"),
        ({**ranking(), "scores": np.full((3, 2), np.nan)}, "array 'scores' holds NaN or an infinity"),
        ({**ranking(), "labels": np.zeros((3, 2))}, "array 'labels' is float64 [3, 2], not of shape [3, 2]"),
        ({**ranking(), "labels": np.full((3, 2), 2, np.int8)}, "values other than -1, 0 and 1"),
        ({**ranking(), "labels": np.full((3, 2), -2, np.int8)}, "values other than -1, 0 and 1"),
        ({**ranking(), "sizes": np.zeros((3, 1), np.uint8)}, "array 'sizes' is uint8 [3, 1], not of shape [3, 2]"),
        ({name: array for name, array in ranking().items() if name != "sizes"}, "no array 'sizes'"),
        ({**ranking(), "meta": {**ranking()["meta"], "metrics": ["F1"]}}, "metric 'F1' is none of"),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(message)) as error:
        parse_summary(arrays, "cell 1")
    assert str(error.value).startswith("cell 1 ") and "\n" not in str(error.value)
