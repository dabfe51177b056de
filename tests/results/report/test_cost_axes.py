"""Which measurement a Pareto figure shows."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES
from ltrp_bench.results.report.cost_axes import cost_axes, pareto_front, whole_image
from ltrp_bench.results.report.page_costs import task_costs

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
    assert latency.whole_image([TIMED, TIMED, {"latency_whole_ms": 99.0}, {}]) == 10.0
    assert math.isnan(throughput.whole_image([{}])) and math.isnan(cost_axes([RUN])[0].whole_image([RUN]))


def _rows(points: list[tuple[float, float]], column: str) -> list[dict[str, Any]]:
    return [{"selector": "ltrp", "keep_ratio": 0.5, "reduction": "drop", column: x, "all": y} for x, y in points]


def test_the_front_has_what_is_cheap_and_good() -> None:
    points = [(1, 0.9), (2, 0.8), (2, 0.7), (3, 0.75), (0.5, 0.9), (4, 0.1)]
    rows = _rows(points, "images_per_second")
    (speed,) = cost_axes(rows)
    assert pareto_front(speed, rows, BUILT_IN_ROLES) == [(1, 0.9), (2, 0.8), (3, 0.75), (4, 0.1)]
    rows = [*_rows(points, "latency_both_ms"), {"selector": "oracle", "latency_both_ms": 0.1, "all": 1.0}]
    (time,) = cost_axes(rows)
    assert pareto_front(time, rows, BUILT_IN_ROLES) == [(0.5, 0.9)]
    assert pareto_front(time, rows, BUILT_IN_ROLES, "seen") == []


def test_the_whole_image_has_its_own_cost_or_that_beside_others() -> None:
    rows = [{"selector": "ltrp", **TIMED}, {"selector": "full", "latency_both_ms": 8.0, "all": 0.75}]
    latency, throughput = cost_axes(rows)
    assert whole_image(latency, rows, BUILT_IN_ROLES) == (8.0, 0.75)
    assert whole_image(throughput, rows, BUILT_IN_ROLES) == (100.0, 0.75)
    assert math.isnan(whole_image(latency, rows[:1], BUILT_IN_ROLES)[1])


def test_costs_of_the_report_are_those_of_figures() -> None:
    rows = dict(
        enumerate([*_rows([(4.0, 0.5), (2.0, 0.25), (3.0, 0.125)], "latency_both_ms"), {"keep_ratio": math.nan}])
    )
    rows[1]["latency_device"] = "a device"
    (found,) = task_costs(rows, BUILT_IN_ROLES)
    assert found == {
        "title": "milliseconds at batch size 1 (selector and model)",
        "machines": ["a device"],
        "points": [[0, 4.0], [1, 2.0], [2, 3.0]],
        "front": [[4.0, 0.5], [2.0, 0.25]],
        "whole": [None, None],
    }
    fill = {place: row | {"reduction": "fill"} for place, row in rows.items()}
    assert task_costs(fill, BUILT_IN_ROLES) == []  # makes no model faster
