"""Costs in the report: the points of its Pareto plots, as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ltrp_bench.results.leaderboard.roles import SelectorRoles
from ltrp_bench.results.leaderboard.rows import number
from ltrp_bench.results.report.cost_axes import CostAxis, cost_axes, pareto_front, whole_image


def task_costs(rows: Mapping[int, Mapping[str, Any]], roles: SelectorRoles) -> list[dict[str, Any]]:
    """What the page needs to draw the metric over each cost that was measured, as `plot --kind pareto` does.

    Args:
        rows: place in the page's table -> row, all of one task, reduction and metric.
        roles: roles of the selectors.

    Returns:
        For each cost its title, what it was measured on, the points [place of the row, cost], the Pareto front as
        points [cost, value], and cost and value of the whole image, None where they are not known. Empty for reductions
        other than drop, which make no model faster.
    """
    single = {place: row for place, row in rows.items() if not math.isnan(number(row, "keep_ratio"))}
    if any(row["reduction"] != "drop" for row in single.values()):
        return []
    found = [_cost(axis, single, roles) for axis in cost_axes(list(single.values()))]
    return [one for one in found if one["points"]]


def _cost(axis: CostAxis, rows: Mapping[int, Mapping[str, Any]], roles: SelectorRoles) -> dict[str, Any]:
    own: Sequence[Mapping[str, Any]] = list(rows.values())
    machines = {row[axis.device] for row in own if isinstance(row.get(axis.device), str)} - {""}
    known = ((place, axis.value(row)) for place, row in rows.items() if not math.isnan(number(row, "all")))
    return {
        "title": axis.title,
        "machines": sorted(machines),
        "points": [[place, _short(cost)] for place, cost in known if not math.isnan(cost)],
        "front": [[_short(x), y] for x, y in pareto_front(axis, own, roles)],
        "whole": [None if math.isnan(one) else _short(one) for one in whole_image(axis, own, roles)],
    }


def _short(value: float) -> float:
    """The number with five significant digits."""
    return float(f"{value:.5g}")
