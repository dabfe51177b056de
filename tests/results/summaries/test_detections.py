"""Average precision of detections under image weights: by hand, and the evaluator's own on duplicated images."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_summaries import detections

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import parse_summary
from ltrp_bench.tasks.metrics.coco import evaluate


def with_meta(**changed: Any) -> dict[str, Any]:
    return {**detections(), "meta": {**detections()["meta"], **changed}}


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


@pytest.mark.parametrize(("threshold", "unseen"), [(None, 0.5), (0, 1.0), (1, 0.0)])
def test_a_curve_is_of_one_threshold_or_the_mean_of_all(threshold: int | None, unseen: float) -> None:
    summary = parse_summary(with_meta(curves={"AP": ["t", threshold]}), "x")
    assert summary.measured("AP", "seen") == 1.0 and summary.measured("AP", "unseen") == unseen


@pytest.mark.parametrize(("count", "seen"), [(1, 1.0), (16, 2 / 16)])
def test_one_to_sixteen_thresholds(count: int, seen: float) -> None:
    kept = {"t/matched": np.array([1, 0, 1], np.uint16)} if count == 1 else {}
    stored = {**detections(thresholds=count), **kept, "t/ignored": np.zeros(3, np.uint16)}
    assert parse_summary(stored, "x").measured("AP", "seen") == pytest.approx(seen)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("voc_area", 0.5), ("voc_11points", 6 / 11), ("coco", 51 / 101)],
)
def test_each_rule_by_hand(rule: str, expected: float) -> None:
    """One of two objects is found, at the first rank: recall 1/2 with precision 1."""
    stored = {**detections(rule=rule), "t/truth_count": np.array([2, 0])}
    summary = parse_summary(stored, "x")
    assert summary.measured("AP", "all") == summary.measured("AP", "seen") == pytest.approx(expected)
    assert np.isnan(summary.measured("AP", "unseen")), "a category without objects"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (detections(rule="own"), "table 't' has the rule 'own'; there are coco, voc_area, voc_11points"),
        (detections(thresholds=0), "table 't' has 0 thresholds, not 1 .. 16"),
        (detections(thresholds=17), "table 't' has 17 thresholds, not 1 .. 16"),
        (detections(thresholds="2"), "table 't' has '2' thresholds"),
        (detections(ranks="other"), "no array 'other/image'"),
        ({**detections(), "t/image": np.zeros(3)}, "array 't/image' is float64 [3], not of shape [any]"),
        ({**detections(), "t/category": np.array([0, 1])}, "array 't/category' is int64 [2], not of shape [3]"),
        ({**detections(), "t/category": np.array([1, 0, 1])}, "not sorted by category"),
        ({**detections(), "t/matched": np.zeros(3)}, "array 't/matched' is float64 [3], not of shape [3]"),
        ({**detections(), "t/ignored": np.zeros(2, int)}, "array 't/ignored' is int64 [2], not of shape [3]"),
        ({**detections(), "t/matched": np.array([4, 0, 1], np.uint16)}, "beyond its 2 thresholds"),
        ({**detections(), "t/ignored": np.array([1, 0, 2], np.uint16)}, "both matched and ignored"),
        ({**detections(), "t/truth_image": np.array([0, 2])}, "array 't/truth_image' holds a position outside 0 .. 1"),
        (
            {**detections(), "t/truth_category": np.array([0])},
            "array 't/truth_category' is int64 [1], not of shape [2]",
        ),
        ({**detections(), "t/truth_count": np.array([1.0, 1.0])}, "array 't/truth_count' is float64 [2]"),
        ({**detections(), "t/truth_count": np.array([1])}, "array 't/truth_count' is int64 [1], not of shape [2]"),
        ({**detections(), "t/truth_count": np.array([1, -1])}, "negative number of objects"),
        (with_meta(tables=[1]), "meta/tables must be a list of mappings"),
        (with_meta(tables={"t": {}}), "meta/tables must be a list of mappings"),
        (with_meta(curves=None), "no mapping meta/curves"),
        (with_meta(curves={"AP": ["u", None]}), "no table for the metric 'AP'"),
        (with_meta(curves={"AP": ["t"]}), "no table for the metric 'AP'"),
        (with_meta(curves={"AP": "t0"}), "no table for the metric 'AP'"),
        (with_meta(curves={}), "no table for the metric 'AP'"),
        (with_meta(curves={"AP": ["t", 2]}), "threshold 2 of table 't', not 0 .. 1"),
        (with_meta(curves={"AP": ["t", "0"]}), "threshold '0' of table 't', not 0 .. 1"),
    ],
)
def test_malformed_arrays_are_one_line(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(message)) as error:
        parse_summary(arrays, "cell 1")
    assert str(error.value).startswith("cell 1 ") and "\n" not in str(error.value)
