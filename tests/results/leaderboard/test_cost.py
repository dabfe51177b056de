"""Cost of rows and break-even keep ratios, computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.cost import add_break_even, add_cost, break_even_text
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.schema.record import CellRecord

Provenance = Mapping[str, Any]
MakeRecord = Callable[..., CellRecord]


def _row(selector: str, ratio: float, value: float, selector_id: str = "i", cells: str = "") -> TableRow:
    about = {"task": "t", "task_id": "1", "reduction": "drop", "metric": "AP", "fingerprints": cells}
    return TableRow(
        {**about, "selector": selector, "selector_id": selector_id, "keep_ratio": ratio, "all": value}, None
    )


@pytest.fixture
def records(make_record: MakeRecord) -> list[CellRecord]:
    return [make_record("random", seed=seed, stochastic=True) for seed in (0, 1)]


def _cost(records: list[CellRecord], provenance: list[Provenance], ratio: float = 0.5) -> dict[str, Any]:
    by_cell = dict(zip((record.fingerprint for record in records), provenance, strict=False))
    row = _row("ltrp", ratio, 0.5, cells=" ".join(fingerprint[:16] for fingerprint in by_cell))
    add_cost([row], records, by_cell.__getitem__)
    return row.values


ONE = {"machine": "box", "device": "cpu", "cost": {"selector_ms": 1.0, "selector_gflops": 2.0, "model_ms": 9.0}}
TWO = {"machine": "box", "device": "cuda", "cost": {"selector_ms": 3.0, "selector_gflops": None, "model_ms": 27.0}}


def test_cost_is_a_mean_over_cells(records: list[CellRecord]) -> None:
    both = _cost(records, [ONE, TWO])
    assert (both["selector_ms"], both["model_ms"], both["images_per_second"]) == (2.0, 18.0, 50.0)
    assert math.isnan(both["selector_gflops"]) and both["machine"] == "cpu; cuda"
    assert _cost(records, [ONE])["selector_gflops"] == 2.0


@pytest.mark.parametrize(("provenance", "ratio"), [([ONE, {}], 0.5), ([], 0.5), ([ONE], math.nan)])
def test_no_cost_of_areas_empty_rows_and_cells_without_it(
    records: list[CellRecord], provenance: list[Provenance], ratio: float
) -> None:
    values = _cost(records, provenance, ratio)
    assert math.isnan(values["selector_ms"]) and math.isnan(values["images_per_second"]) and values["machine"] == ""


def _break_even(value: float, *others: TableRow, roles: SelectorRoles = BUILT_IN_ROLES) -> float:
    row = _row("ltrp", 0.25, value)
    add_break_even([row, *others], roles)
    assert math.isnan(row.values["break_even_downsample"])
    return float(row.values["break_even_random"])


RANDOM = (_row("random", 0.5, 0.4), _row("random", 0.25, 0.2))


@pytest.mark.parametrize(("value", "expected"), [(0.3, 0.375), (0.2, 0.25), (0.1, 0.25), (0.4, 0.5), (0.41, math.inf)])
def test_break_even_is_interpolated(value: float, expected: float) -> None:
    assert _break_even(value, *RANDOM) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "outside", "text"),
    [(0.1, "below", "<0.25"), (0.2, "", "0.25"), (0.3, "", "0.38"), (0.4, "", "0.50"), (0.41, "beyond", "beyond")],
)
def test_rows_outside_the_measured_ratios_say_so(value: float, outside: str, text: str) -> None:
    """The number stays the lowest ratio, so that columns of numbers remain what they were."""
    row = _row("ltrp", 0.25, value)
    add_break_even([row, *RANDOM])
    assert row.values["break_even_random_range"] == outside and break_even_text(row.values, "random") == text
    assert row.values["break_even_downsample_range"] == break_even_text(row.values, "downsample") == ""


def test_the_whole_image_ends_the_curve() -> None:
    assert _break_even(0.5, *RANDOM, _row("full", 1.0, 0.6)) == pytest.approx(0.75)
    roles = SelectorRoles(stored_whole=frozenset({"mine:All"}))
    assert _break_even(0.5, *RANDOM, _row("mine:All", 1.0, 0.6), roles=roles) == pytest.approx(0.75)
    # The control's own value at keep ratio 1 comes first.
    assert _break_even(0.5, *RANDOM, _row("random", 1.0, 0.5), _row("full", 1.0, 0.6)) == 1.0


def test_no_break_even_without_one_complete_curve() -> None:
    assert math.isnan(_break_even(0.3))
    assert math.isnan(_break_even(0.3, *RANDOM, _row("random", 0.5, 0.4, "other")))
    assert math.isnan(_break_even(0.3, *RANDOM, _row("random", 1.0, math.nan)))
    assert math.isnan(_break_even(math.nan, *RANDOM))


def test_a_control_breaks_even_with_itself() -> None:
    row = _row("random", 0.25, 0.2)
    add_break_even([row, _row("random", 0.5, 0.4)])
    assert row.values["break_even_random"] == 0.25
