"""Axes of Pareto figures: what a row costs, by the best measurement that the rows have."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ltrp_bench.results.leaderboard.latency import throughput_batch
from ltrp_bench.results.leaderboard.roles import SelectorRoles
from ltrp_bench.results.leaderboard.rows import number

Cost = Literal["latency", "throughput"]
COSTS: Final[tuple[Cost, ...]] = ("latency", "throughput")

Row = Mapping[str, Any]
Point = tuple[float, float]


@dataclass(frozen=True)
class CostAxis:
    """A cost that rows are drawn over.

    Attributes:
        column: column of the cost of selector and model together.
        title: title of the axis.
        device: column of the device that it was measured on.
        less_is_better: True for milliseconds, False for images per second.
        whole: column of the cost of the whole image, measured beside each row; None if there is none.
    """

    column: str
    title: str
    device: str
    less_is_better: bool = False
    whole: str | None = None

    def value(self, row: Row) -> float:
        """Cost of a row; NaN if it was not measured."""
        found = number(row, self.column)
        return found if found > 0 else math.nan

    def whole_image(self, rows: Sequence[Row]) -> float:
        """Cost of the whole image: median of those beside the rows; NaN if there is none."""
        found = [cost for row in rows if self.whole is not None and (cost := number(row, self.whole)) > 0]
        return statistics.median(found) if found else math.nan


def cost_axes(rows: Sequence[Row], wanted: Sequence[Cost] = ()) -> list[CostAxis]:
    """Axes of the costs that were measured.

    Throughput is that of the largest batch size that `ltrp-bench latency` measured for all rows, else that of the run
    itself.

    Args:
        rows: rows of a leaderboard.
        wanted: costs to show, in this order; empty for all.
    """
    return [axis for cost in dict.fromkeys(wanted or COSTS) if (axis := _axis(rows, cost)) is not None]


def _axis(rows: Sequence[Row], cost: Cost) -> CostAxis | None:
    if cost == "latency":
        if not any(number(row, "latency_both_ms") > 0 for row in rows):
            return None
        title = "milliseconds at batch size 1 (selector and model)"
        return CostAxis("latency_both_ms", title, "latency_device", less_is_better=True, whole="latency_whole_ms")
    batch = throughput_batch(rows)
    if batch is not None:
        title = f"images per second in batches of {batch} (selector and model)"
        return CostAxis(f"throughput_both_b{batch}", title, "latency_device", whole=f"throughput_whole_b{batch}")
    if any(number(row, "images_per_second") > 0 for row in rows):
        return CostAxis("images_per_second", "images per second (selector and model)", "machine")
    return None


def pareto_front(cost: CostAxis, rows: Sequence[Row], roles: SelectorRoles, group: str = "all") -> list[Point]:
    """Points (cost, value) for which no other is at least as cheap and as good, the most expensive first.

    References such as the oracle are left out, apart from the whole image, which can be used in practice.

    Args:
        cost: the cost.
        rows: rows of a leaderboard, of one task and metric.
        roles: roles of the selectors.
        group: group of categories whose values are compared.
    """
    sign = 1 if cost.less_is_better else -1
    points = set()
    for row in rows:
        name, x, y = str(row["selector"]), cost.value(row), number(row, group)
        competes = not roles.is_reference(name) or roles.keeps_every_patch(name)
        if competes and not math.isnan(x) and not math.isnan(y):
            points.add((x, y))
    front: list[Point] = []
    for x, y in sorted(points, key=lambda point: (sign * point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def whole_image(cost: CostAxis, rows: Sequence[Row], roles: SelectorRoles, group: str = "all") -> Point:
    """Cost and value of the whole image, each NaN where it is not known; arguments as of `pareto_front`."""
    whole = [row for row in rows if roles.keeps_every_patch(str(row["selector"]))]
    own = cost.value(whole[0]) if whole else math.nan
    return cost.whole_image(rows) if math.isnan(own) else own, number(whole[0], group) if whole else math.nan
