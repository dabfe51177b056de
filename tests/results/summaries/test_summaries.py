"""Summaries under weights: the evaluator's own AP, also of duplicated images; a malformed summary is one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.summaries.registry import parse_summary
from ltrp_bench.tasks.metrics.coco import evaluate


@pytest.fixture(scope="module")
def bench() -> Any:
    """benchmarks/bootstrap_ap.py, whose synthetic world knows its matches without an evaluator."""
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


def means() -> dict[str, Any]:
    groups = {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]}
    meta = {"kind": "means", "images": ["1", "2"], "categories": ["a", "b"], "groups": groups, "metrics": ["m", "n"]}
    return {
        "meta": meta,
        "image": np.array([0, 0, 1, 1], np.int32),
        "category": np.array([0, 1, 0, -1], np.int32),
        "values": np.array([[1.0, 0.0, 0.25, 9.0], [np.nan, 0.5, np.nan, 9.0]]),
    }


def test_means_by_hand() -> None:
    values = parse_summary(means(), "x").all_values(
        [("m", "all"), ("m", "seen"), ("n", "all"), ("n", "seen")], np.array([[1, 2], [0, 1]])
    )
    np.testing.assert_allclose(values["m", "all"], [1.5 / 4, 0.25])
    np.testing.assert_allclose(values["m", "seen"], [1.5 / 3, 0.25])
    np.testing.assert_allclose(values["n", "all"], [0.5, np.nan])
    assert np.isnan(values["n", "seen"]).all()


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [("image", np.array([0, 0, 1, 2]), "position outside"), ("values", np.zeros((1, 4)), "not of shape")],
)
def test_malformed_summary_is_one_line(name: str, array: np.ndarray, said: str) -> None:
    with pytest.raises(ResultsError, match=said) as caught:
        parse_summary({**means(), name: array}, "cell 1")
    assert "cell 1" in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_kinds_and_wrong_weights_are_refused() -> None:
    with pytest.raises(ResultsError, match="kind 'other'"):
        parse_summary({**means(), "meta": {**means()["meta"], "kind": "other"}}, "x")
    with pytest.raises(ResultsError, match="weights must be integers"):
        parse_summary(means(), "x").values("m", "all", np.ones((1, 2)))


GROUPS = {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]}


def ranking() -> dict[str, Any]:
    meta = {
        "kind": "ranking",
        "images": ["1", "2", "3"],
        "categories": ["a", "b"],
        "groups": GROUPS,
        "metrics": ["mAP"],
    }
    return {
        "meta": meta,
        "scores": np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]),
        "labels": np.array([[1, 0], [0, -1], [1, 0]], np.int8),
        "sizes": np.zeros((3, 2), np.uint8),
    }


def test_ranking_by_hand() -> None:
    weights = np.array([[1, 1, 1], [1, 0, 1], [1, 2, 1], [0, 1, 0]])
    values = parse_summary(ranking(), "x").values("mAP", "seen", weights)
    # Found at ranks 1 and 3: (1 + 2/3) / 2; without the second image 1; with it twice (1 + 2/4) / 2.
    np.testing.assert_allclose(values, [5 / 6, 1.0, 0.75, np.nan])
    assert np.isnan(parse_summary(ranking(), "x").values("mAP", "unseen", weights)).all()


def confusion() -> dict[str, Any]:
    metrics = ["mIoU", "mAcc", "aAcc", "unseen_called_seen"]
    meta = {"kind": "confusion", "images": ["1", "2"], "categories": ["a", "b"], "groups": GROUPS, "metrics": metrics}
    return {
        "meta": meta,
        "image": np.array([0, 0, 1], np.int32),
        "true": np.array([0, 1, 1], np.int32),
        "predicted": np.array([0, 0, 1], np.int32),
        "pixels": np.array([6, 2, 3], np.int64),
    }


def test_confusion_by_hand() -> None:
    summary = parse_summary(confusion(), "x")
    weights = np.array([[1, 1], [1, 2], [1, 0]])
    np.testing.assert_allclose(summary.values("mIoU", "seen", weights), [6 / 8] * 3)
    np.testing.assert_allclose(summary.values("mIoU", "unseen", weights), [3 / 5, 6 / 8, 0])
    np.testing.assert_allclose(summary.values("aAcc", "all", weights), [9 / 11, 12 / 14, 6 / 8])
    np.testing.assert_allclose(summary.values("unseen_called_seen", "unseen", weights), [2 / 5, 2 / 8, 1])
    assert np.isnan(summary.values("unseen_called_seen", "seen", weights)).all()


def detections(**changed: Any) -> dict[str, Any]:
    table = {"name": "t", "ranks": "t", "rule": "coco", "thresholds": 2, **changed}
    meta = {
        "kind": "detections",
        "images": ["1", "2"],
        "categories": ["a", "b"],
        "groups": GROUPS,
        "metrics": ["AP"],
        "tables": [table],
        "curves": {"AP": ["t", None]},
    }
    return {
        "meta": meta,
        "t/image": np.array([0, 1, 0], np.int32),
        "t/category": np.array([0, 0, 1], np.int32),
        "t/matched": np.array([3, 0, 1], np.uint16),
        "t/ignored": np.array([0, 0, 2], np.uint16),
        "t/truth_image": np.array([0, 0], np.int32),
        "t/truth_category": np.array([0, 1], np.int32),
        "t/truth_count": np.array([1, 1], np.int32),
    }


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({**ranking(), "scores": np.full((3, 2), np.nan)}, "NaN or an infinity"),
        ({**ranking(), "labels": np.full((3, 2), 2, np.int8)}, "values other than -1, 0 and 1"),
        ({**ranking(), "sizes": np.zeros((3, 1), np.uint8)}, "not of shape"),
        ({**ranking(), "meta": {**ranking()["meta"], "metrics": ["F1"]}}, "metric 'F1' is none of"),
        ({**confusion(), "pixels": np.array([6, -2, 3])}, "negative number"),
        ({**confusion(), "true": np.array([0, 1, 2])}, "position outside"),
        ({**confusion(), "meta": {**confusion()["meta"], "metrics": ["F1"]}}, "metric 'F1' is none of"),
        (detections(rule="own"), "rule 'own'"),
        (detections(thresholds=0), "0 thresholds"),
        (detections(ranks="other"), "no array 'other/image'"),
        ({**detections(), "t/category": np.array([1, 0, 1])}, "not sorted by category"),
        ({**detections(), "t/matched": np.array([4, 0, 1], np.uint16)}, "beyond its 2 thresholds"),
        ({**detections(), "t/ignored": np.array([1, 0, 2], np.uint16)}, "both matched and ignored"),
        ({**detections(), "t/truth_count": np.array([1, -1])}, "negative number of objects"),
    ],
)
def test_malformed_summary_of_other_kinds(made: dict[str, Any], said: str) -> None:
    with pytest.raises(ResultsError, match=said) as caught:
        parse_summary(made, "cell 1")
    assert "cell 1" in str(caught.value) and "\n" not in str(caught.value)


def test_detections_by_hand() -> None:
    # "a": found first of two, AP 1; "b": found at the lower threshold, left out at the higher, where nothing is found.
    values = parse_summary(detections(), "x")
    assert values.measured("AP", "seen") == 1.0 and values.measured("AP", "unseen") == 0.5
    assert np.isnan(values.values("AP", "all", np.array([[0, 1]]))[0])
