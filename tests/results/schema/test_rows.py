"""Metric rows: JSON, undefined values and equality."""

from __future__ import annotations

import math

import pytest

from ltrp_bench.results.schema.rows import GROUPS, MetricRow


def test_groups() -> None:
    assert GROUPS == ("all", "seen", "unseen")


@pytest.mark.parametrize("value", [0.1 + 0.2, 0.0, math.nan])
def test_json_round_trip(value: float) -> None:
    row = MetricRow("bbox_AP", "seen", "dog", value, 3)
    data = row.to_json()
    assert data["value"] is None if math.isnan(value) else data["value"] == value
    assert MetricRow.from_json(data) == row and row.defined == (not math.isnan(value))
    assert list(data) == ["metric", "group", "category", "value", "n"]


def test_undefined_rows_are_equal() -> None:
    one, other = (MetricRow("AP", "all", None, math.nan, 0) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert one != MetricRow("AP", "all", None, 0.0, 0) and one != "AP"


@pytest.mark.parametrize("missing", ["metric", "group", "category", "value", "n"])
def test_missing_fields(missing: str) -> None:
    data = MetricRow("AP", "all", None, 0.5, 1).to_json()
    del data[missing]
    with pytest.raises(KeyError, match=missing):
        MetricRow.from_json(data)
