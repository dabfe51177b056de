"""Rows with estimates, and areas under the curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.rows import TableRow, area_rows, group_rows, number, rows_of
from ltrp_bench.results.statistics.replicates import Replicates


def _rows(world: Any, resamples: int = 50) -> list[TableRow]:
    records = world.store.read_cells()
    return rows_of(aggregate_cells(records), records, Replicates(world.store, resamples).of)


def test_estimates_are_means_over_seeds(world: Any) -> None:
    records = [world.cell("random", 0.5, 0.3 + 0.1 * seed, seed=seed, stochastic=True) for seed in (0, 1)]
    (row,) = _rows(world)
    single = [Replicates(world.store, 50).of(record) for record in records]
    assert row.estimates is not None and row.values["ratios"] == "0.5"
    draws = np.mean([one["all"].draws for one in single if one is not None], axis=0)
    assert row.estimates["all"].draws == pytest.approx(draws)
    assert row.estimates["all"].point == pytest.approx(row.values["all"])
    assert row.estimates["gap"].point == pytest.approx(row.values["seen"] - row.values["unseen"])


def test_incomplete_rows_and_cells_without_a_summary_have_no_estimates(world: Any) -> None:
    for seed in (0, 1):
        world.cell("random", 0.5, 0.3, seed=seed, stochastic=True)
    world.cell("noise", 0.5, 0.3, seed=0, stochastic=True)
    world.cell("old", 0.5, 0.3, summary=False)
    assert {row.values["selector"]: row.estimates is not None for row in _rows(world)} == {
        **{"random": True, "noise": False, "old": False}
    }


def test_areas(world: Any) -> None:
    for ratio in world.ratios:
        world.cell("ltrp", ratio, 0.5)
    world.cell("center", 0.5, 0.5)
    world.cell("full", 1.0, 0.5)
    rows = _rows(world)
    areas = {row.values["selector"]: row for row in area_rows(rows)}
    assert sorted(areas) == ["center", "ltrp"]  # `full` has no curve
    ltrp = areas["ltrp"].values
    curve = [row.values["all"] for row in rows if row.values["selector"] == "ltrp"]
    assert ltrp["all"] == pytest.approx(np.trapezoid(curve, world.ratios) / 0.75)
    assert (ltrp["ratios"], ltrp["complete"], ltrp["seeds"]) == ("auc 0.25-1", True, 1)
    assert math.isnan(ltrp["keep_ratio"]) and math.isnan(ltrp["all_std"]) and len(ltrp["fingerprints"].split()) == 3
    assert areas["ltrp"].estimates is not None
    assert areas["ltrp"].estimates["gap"].point == pytest.approx(ltrp["gap"])
    center = areas["center"].values
    assert center["missing"] == "at 0.25: keep ratio 0.25; at 1: keep ratio 1" and not center["complete"]
    assert math.isnan(center["all"]) and areas["center"].estimates is None


def test_groups_keep_the_order_of_rows() -> None:
    rows = [TableRow({"a": a, "b": b}, None) for a, b in ((2, 0), (1, 1), (2, 2))]
    assert group_rows(rows, ("a",)) == [[rows[0], rows[2]], [rows[1]]]
    assert group_rows([], ("a",)) == []


def test_number() -> None:
    assert number({"a": 1}, "a") == 1.0 and math.isnan(number({"a": "text"}, "a")) and math.isnan(number({}, "a"))
