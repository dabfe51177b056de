"""Statistics of rows: intervals, adjusted gaps and ranks, from estimates made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ltrp_bench.results.leaderboard.intervals import STATISTICS, add_statistics
from ltrp_bench.results.leaderboard.roles import SelectorRoles
from ltrp_bench.results.leaderboard.rows import TableRow
from ltrp_bench.results.statistics.bootstrap import Estimate

NOISE = np.random.default_rng(0).normal(size=400)
JACKKNIFE = np.random.default_rng(1).normal(size=50)


def _estimate(point: float, scale: float = 0.01) -> Estimate:
    """Estimates of equal `scale` are paired: their differences have no spread."""
    return Estimate("key", point, point + scale * NOISE, point + scale * JACKKNIFE)


def _row(selector: str, seen: float, unseen: float, scale: float = 0.01, ratios: str = "0.5") -> TableRow:
    every = (seen + unseen) / 2
    about = {"task": "t", "task_id": "1", "reduction": "fill", "metric": "AP", "ratios": ratios}
    values = {**about, "selector": selector, "selector_id": "i", "seen": seen, "unseen": unseen, "gap": seen - unseen}
    estimates = {"all": _estimate(every, scale), "seen": _estimate(seen, scale), "unseen": _estimate(unseen, scale)}
    return TableRow({**values, "all": every}, {**estimates, "gap": estimates["seen"] - estimates["unseen"]})


def test_intervals() -> None:
    row, empty = _row("ltrp", 0.6, 0.4), TableRow({**_row("old", 0.6, 0.4).values}, None)
    assert add_statistics([row, empty], method="percentile") == []
    assert set(STATISTICS) <= row.values.keys()
    low, high = np.quantile(0.5 + 0.01 * NOISE, [0.025, 0.975])
    assert (row.values["all_low"], row.values["all_high"]) == (pytest.approx(low), pytest.approx(high))
    assert all(math.isnan(empty.values[name]) for name in STATISTICS)
    assert math.isnan(row.values["rank"])  # a single selector


def test_ranks_and_differences() -> None:
    rows = [_row("b", 0.6, 0.4), _row("a", 0.5, 0.5), _row("c", 0.4, 0.2), _row("oracle", 0.9, 0.9)]
    pairs = add_statistics([*rows, _row("a", 0.1, 0.1, ratios="auc 0.5-1")])
    found = {row.values["selector"]: (row.values["rank"], row.values["rank_last"]) for row in rows[:3]}
    assert found == {"b": (1, 2), "a": (1, 2), "c": (3, 3)}
    assert [row.values["unseen_rank"] for row in rows[:3]] == [2, 1, 3]
    assert [row.values["holm_rank"] for row in rows[:3]] == [1, 1, 3]
    assert all(math.isnan(rows[3].values[name]) for name in ("rank", "unseen_rank", "holm_rank"))
    assert [(one.value, one.difference.first, one.difference.second) for one in pairs] == [
        (value, first, second)
        for value in ("all", "unseen")
        for first, second in (("b i", "a i"), ("b i", "c i"), ("a i", "c i"))
    ]
    assert pairs[0].table == {"task": "t", "task_id": "1", "reduction": "fill", "metric": "AP", "ratios": "0.5"}
    assert pairs[1].difference.point == pytest.approx(0.2)


def test_references_of_third_parties_are_not_ranked() -> None:
    rows = [_row(name, 0.6, 0.4) for name in ("a", "b", "bound:B")]
    add_statistics(rows, roles=SelectorRoles({"bound:B": "reference"}))
    assert [math.isnan(row.values["rank"]) for row in rows] == [False, False, True]


def test_adjusted_gaps() -> None:
    rows = [_row("ltrp", 0.6, 0.4), _row("variance", 0.5, 0.46), _row("center", 0.5, 0.44)]
    add_statistics(rows)
    assert [row.values["gap_adjusted"] for row in rows] == pytest.approx([0.15, -0.01, 0.01])
    assert rows[0].values["gap_adjusted_low"] == pytest.approx(0.15) == rows[0].values["gap_adjusted_high"]
    # Two controls of one name count as one.
    rows.append(_row("center", 0.5, 0.40))
    add_statistics(rows)
    assert rows[0].values["gap_adjusted"] == pytest.approx(0.2 - (0.04 + 0.08) / 2)
    add_statistics(rows, controls=("center",))
    assert rows[0].values["gap_adjusted"] == pytest.approx(0.2 - 0.08)
    # Without one of the controls there is no adjusted gap.
    add_statistics(rows, controls=("center", "random"))
    assert all(math.isnan(row.values["gap_adjusted"]) for row in rows)


def test_an_adjusted_gap_without_an_interval() -> None:
    """A control without estimates gives a value but no interval."""
    rows = [_row("ltrp", 0.6, 0.4), _row("center", 0.5, 0.44)]
    rows[1].estimates = None
    add_statistics(rows, controls=("center",))
    assert rows[0].values["gap_adjusted"] == pytest.approx(0.14) and math.isnan(rows[0].values["gap_adjusted_low"])


def test_values_without_an_interval_have_no_rank() -> None:
    """A group that few resamples contain has no intervals: every row would share every rank."""
    rows = [_row(name, 0.6, unseen) for name, unseen in (("a", 0.5), ("b", 0.1))]
    for row in rows:
        assert row.estimates is not None
        unseen = row.estimates["unseen"]
        draws = np.where(np.arange(len(unseen.draws)) % 5 == 0, math.nan, unseen.draws)
        row.estimates = {**row.estimates, "unseen": Estimate("key", unseen.point, draws, unseen.jackknife)}
    pairs = add_statistics(rows)
    assert all(math.isnan(row.values["unseen_rank"]) for row in rows)
    assert [row.values["rank"] for row in rows] == [1, 2] and {one.value for one in pairs} == {"all"}
