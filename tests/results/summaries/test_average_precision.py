"""Multi-label average precision under image weights, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stored_summaries import ranking

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import parse_summary


def test_ranking_by_hand() -> None:
    weights = np.array([[1, 1, 1], [1, 0, 1], [1, 2, 1], [0, 1, 0]])
    values = parse_summary(ranking(), "x").values("mAP", "seen", weights)
    # Found at ranks 1 and 3: (1 + 2/3) / 2; without the second image 1; with it twice (1 + 2/4) / 2.
    np.testing.assert_allclose(values, [5 / 6, 1.0, 0.75, np.nan])
    assert np.isnan(parse_summary(ranking(), "x").values("mAP", "unseen", weights)).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**ranking(), "scores": np.full((3, 2), np.nan)}, "NaN or an infinity"),
        ({**ranking(), "labels": np.full((3, 2), 2, np.int8)}, "values other than -1, 0 and 1"),
        ({**ranking(), "sizes": np.zeros((3, 1), np.uint8)}, "not of shape"),
        ({**ranking(), "meta": {**ranking()["meta"], "metrics": ["F1"]}}, "metric 'F1' is none of"),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message) as error:
        parse_summary(arrays, "cell 1")
    assert "cell 1" in str(error.value) and "\n" not in str(error.value)
