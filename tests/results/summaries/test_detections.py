"""Average precision of detections under image weights: by hand, and the evaluator's own on duplicated images."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_summaries import detections

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import parse_summary
from ltrp_bench.tasks.metrics.coco import evaluate


@pytest.fixture(scope="module")
def bench() -> Any:
    """Module benchmarks/bootstrap_ap.py, whose synthetic data has known matches without an evaluator."""
    file = Path(__file__).resolve().parents[3] / "benchmarks" / "bootstrap_ap.py"
    spec = importlib.util.spec_from_file_location("bootstrap_ap", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap_ap"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_detections_are_the_evaluators_at_unit_and_drawn_weights(bench: Any) -> None:
    made = bench.world(np.random.default_rng(3), 60, categories=12)
    summary = parse_summary(made.summary(), "x")
    drawn = np.random.default_rng(4).multinomial(60, np.full(60, 1 / 60), 2)
    weights = np.vstack([np.ones((1, 60), int), drawn])
    pairs = [(m, g) for m in bench.CURVES for g in bench.GROUPS]
    values = summary.all_values(pairs, weights)
    for b, row in enumerate(weights):
        truth, found = bench.drawn_again(*made.evaluator_input(), row)
        run = evaluate(truth, found, made.names())
        for metric, group in pairs:
            expected = bench.evaluator_value(run, metric, made.groups()[group])
            assert values[metric, group][b] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_detections_by_hand() -> None:
    # "a": found first of two, AP 1; "b": found at the lower threshold, left out at the higher, where nothing is found.
    values = parse_summary(detections(), "x")
    assert values.measured("AP", "seen") == 1.0 and values.measured("AP", "unseen") == 0.5
    assert np.isnan(values.values("AP", "all", np.array([[0, 1]]))[0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (detections(rule="own"), "rule 'own'"),
        (detections(thresholds=0), "0 thresholds"),
        (detections(ranks="other"), "no array 'other/image'"),
        ({**detections(), "t/category": np.array([1, 0, 1])}, "not sorted by category"),
        ({**detections(), "t/matched": np.array([4, 0, 1], np.uint16)}, "beyond its 2 thresholds"),
        ({**detections(), "t/ignored": np.array([1, 0, 2], np.uint16)}, "both matched and ignored"),
        ({**detections(), "t/truth_count": np.array([1, -1])}, "negative number of objects"),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=message) as error:
        parse_summary(arrays, "cell 1")
    assert "cell 1" in str(error.value) and "\n" not in str(error.value)


def test_a_curve_names_a_table_and_a_threshold_of_it() -> None:
    stored = detections()
    for curve, message in ((["u", None], "no table for the metric 'AP'"), (["t", 2], "threshold 2 of table 't'")):
        meta = {**stored["meta"], "curves": {"AP": curve}}
        with pytest.raises(ResultsError, match=message):
            parse_summary({**stored, "meta": meta}, "cell 1")
