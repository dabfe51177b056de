"""Evidence under weights: the evaluator's own AP, also of duplicated pictures; malformed evidence is one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.evidence import read
from ltrp_bench.results.record import ResultsError
from ltrp_bench.tasks.coco_evaluation import evaluate


@pytest.fixture(scope="module")
def bench() -> Any:
    """benchmarks/bootstrap_ap.py, whose synthetic world knows its verdicts without an evaluator."""
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "bootstrap_ap.py"
    spec = importlib.util.spec_from_file_location("bootstrap_ap", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap_ap"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_detections_are_the_evaluators_at_unit_and_drawn_weights(bench: Any) -> None:
    made = bench.world(np.random.default_rng(3), 60, categories=12)
    evidence = read(made.evidence(), "x")
    drawn = np.random.default_rng(4).multinomial(60, np.full(60, 1 / 60), 2)
    weights = np.vstack([np.ones((1, 60), int), drawn])
    pairs = [(m, g) for m in bench.CURVES for g in bench.GROUPS]
    values = evidence.all_values(pairs, weights)
    for b, row in enumerate(weights):
        truth, found = bench.drawn_again(*made.evaluator_input(), row)
        run = evaluate(truth, found, made.names())
        for metric, group in pairs:
            expected = bench.of_evaluator(run, metric, made.groups()[group])
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
    values = read(means(), "x").all_values(
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
def test_malformed_evidence_is_one_line(name: str, array: np.ndarray, said: str) -> None:
    with pytest.raises(ResultsError, match=said) as caught:
        read({**means(), name: array}, "cell 1")
    assert "cell 1" in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_kinds_and_wrong_weights_are_refused() -> None:
    with pytest.raises(ResultsError, match="kind 'other'"):
        read({**means(), "meta": {**means()["meta"], "kind": "other"}}, "x")
    with pytest.raises(ResultsError, match="weights must be integers"):
        read(means(), "x").values("m", "all", np.ones((1, 2)))
