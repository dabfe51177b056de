"""Which measurement a Pareto figure shows."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ltrp_bench.results.report.cost_axes import cost_axes

RUN = {"images_per_second": 50.0, "machine": "box, cpu"}
TIMED = {"latency_both_ms": 5.0, "latency_whole_ms": 10.0, "throughput_both_b1": 200.0, "throughput_whole_b1": 100.0}
BATCHES = {"throughput_both_b8": 400.0, "throughput_both_b32": 800.0}


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([{}], []),
        ([RUN], ["images_per_second"]),
        ([RUN | TIMED], ["latency_both_ms", "throughput_both_b1"]),
        ([RUN | TIMED | BATCHES, RUN], ["latency_both_ms", "throughput_both_b32"]),
        ([TIMED | BATCHES, TIMED | {"throughput_both_b8": 1.0}], ["latency_both_ms", "throughput_both_b8"]),
    ],
)
def test_the_best_measurement_is_shown(rows: list[dict[str, Any]], columns: list[str]) -> None:
    assert [axis.column for axis in cost_axes(rows)] == columns


def test_costs_in_the_order_that_was_asked_for() -> None:
    axes = cost_axes([TIMED], ("throughput", "latency", "throughput"))
    assert [axis.column for axis in axes] == ["throughput_both_b1", "latency_both_ms"]
    assert cost_axes([RUN], ("latency",)) == []


def test_values_and_what_is_better() -> None:
    latency, throughput = cost_axes([TIMED])
    assert latency.value(TIMED) == 5.0 and math.isnan(latency.value({})) and math.isnan(latency.value(RUN))
    assert latency.speed(5.0) > latency.speed(10.0) and throughput.speed(200.0) > throughput.speed(100.0)
    assert latency.whole_image([TIMED, TIMED, {"latency_whole_ms": 99.0}, {}]) == 10.0
    assert math.isnan(throughput.whole_image([{}])) and math.isnan(cost_axes([RUN])[0].whole_image([RUN]))
