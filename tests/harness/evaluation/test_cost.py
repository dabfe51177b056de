"""Costs: medians over spans, operations counted once."""

from __future__ import annotations

import math
import platform

import pytest
import torch

from ltrp_bench.harness.evaluation import cost
from ltrp_bench.harness.evaluation.cost import CostMeter, ScoreCost

HERE = f"{platform.node()} cpu"


def _product() -> torch.Tensor:
    return torch.ones(5, 100) @ torch.ones(100, 7)


def _unused() -> None:
    raise AssertionError("operations are counted once")


def _meter(notices: list[str] | None = None, *, free: bool = False) -> CostMeter:
    return CostMeter("cpu", ([] if notices is None else notices).append, free=free)


def test_scores_are_timed_by_the_median_and_counted_once() -> None:
    meter = _meter()
    assert meter.summary("x") == {"selector_ms": None, "selector_gflops": None, "model_ms": None}
    assert meter.add_scores(9.0, _product) == ScoreCost(9.0, HERE, 2 * 5 * 100 * 7 / 1e9)
    meter.add_scores(2.0, _unused)
    meter.add_scores(3.00006, _unused)
    assert meter.summary("x") == {"selector_ms": 3.0001, "selector_gflops": 7e-6, "model_ms": None}


def test_cached_costs_count_only_if_measured_here() -> None:
    meter = _meter()
    meter.add_cached(None)
    meter.add_cached(ScoreCost(5.0, "elsewhere cpu", 1.0))
    assert meter.summary("x")["selector_ms"] is None
    meter.add_cached(ScoreCost(4.0, HERE, 0.5))
    assert meter.summary("x") == {"selector_ms": 4.0, "selector_gflops": 0.5, "model_ms": None}


def test_a_selector_that_is_not_run_is_free() -> None:
    assert _meter(free=True).summary("x") == {"selector_ms": 0.0, "selector_gflops": 0.0, "model_ms": None}


def test_operations_that_cannot_be_counted_are_reported_once() -> None:
    notices: list[str] = []
    meter = _meter(notices)

    def fail() -> None:
        raise RuntimeError("no such thing")

    assert math.isnan(meter.add_scores(1.0, fail).gflops)
    meter.add_scores(1.0, _unused)
    assert notices == ["the selector's operations cannot be counted (RuntimeError: no such thing)"]
    assert meter.summary("x")["selector_gflops"] is None


def test_models_are_timed_per_cell_and_image(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1.0, 1.5, 2.0, 2.1, 3.0, 3.2, 4.0, 9.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(ticks))
    meter = _meter()
    for fingerprint, images in [("a", 10), ("a", 10), ("b", 4), ("a", 0)]:  # a span without images counts for nothing
        with meter.measure_model(fingerprint, images):
            pass
    assert meter.summary("a")["model_ms"] == 30.0
    assert meter.summary("b")["model_ms"] == 50.0
