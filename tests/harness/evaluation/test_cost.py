"""Costs: medians over spans, operations counted once."""

from __future__ import annotations

import math
import platform

import pytest
import torch

from ltrp_bench.harness.evaluation import cost
from ltrp_bench.harness.evaluation.cost import CostMeter, CostRecorder, ScoreCost, SpanCosts

HERE = f"{platform.node()} cpu"


def _product() -> torch.Tensor:
    return torch.ones(5, 100) @ torch.ones(100, 7)


def _unused() -> None:
    raise AssertionError("operations are counted once")


def _recorder(notices: list[str] | None = None) -> CostRecorder:
    return CostRecorder("cpu", ([] if notices is None else notices).append)


def _summary(*spans: SpanCosts, free: bool = False) -> dict[str, float | None]:
    meter = CostMeter(free=free)
    for one in spans:
        meter.add(one)
    return meter.summary("x")


def test_scores_are_timed_by_the_median_and_counted_once() -> None:
    recorder = _recorder()
    assert recorder.take() == SpanCosts()
    assert recorder.add_scores(9.0, _product) == ScoreCost(9.0, HERE, 2 * 5 * 100 * 7 / 1e9)
    spans = [recorder.take()]
    for ms in (2.0, 3.00006):
        recorder.add_scores(ms, _unused)
        spans.append(recorder.take())
    assert _summary() == {"selector_ms": None, "selector_gflops": None, "model_ms": None}
    assert _summary(*spans) == {"selector_ms": 3.0001, "selector_gflops": 7e-6, "model_ms": None}


def test_cached_costs_count_only_if_measured_here() -> None:
    recorder = _recorder()
    recorder.add_cached(None)
    recorder.add_cached(ScoreCost(5.0, "elsewhere cpu", 1.0))
    assert recorder.take().scores is None
    recorder.add_cached(ScoreCost(4.0, HERE, 0.5))
    assert _summary(recorder.take()) == {"selector_ms": 4.0, "selector_gflops": 0.5, "model_ms": None}
    assert recorder.add_scores(1.0, _unused).gflops == 0.5  # the cached scores told the operations


def test_a_selector_that_is_not_run_is_free() -> None:
    assert _summary(SpanCosts(), free=True) == {"selector_ms": 0.0, "selector_gflops": 0.0, "model_ms": None}


def test_operations_that_cannot_be_counted_are_reported_once() -> None:
    notices: list[str] = []
    recorder = _recorder(notices)

    def fail() -> None:
        raise RuntimeError("no such thing")

    assert math.isnan(recorder.add_scores(1.0, fail).gflops)
    recorder.add_scores(1.0, _unused)
    assert notices == ["the selector's operations cannot be counted (RuntimeError: no such thing)"]
    assert _summary(recorder.take())["selector_gflops"] is None


def test_models_are_timed_per_cell_and_image(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1.0, 1.5, 2.0, 2.1, 3.0, 3.2, 4.0, 9.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(ticks))
    recorder, meter = _recorder(), CostMeter()
    for fingerprint, images in [("a", 10), ("a", 10), ("b", 4), ("a", 0)]:  # a span without images counts for nothing
        with recorder.measure_model(fingerprint, images):
            pass
        meter.add(recorder.take())
    assert meter.summary("a")["model_ms"] == 30.0
    assert meter.summary("b")["model_ms"] == 50.0
