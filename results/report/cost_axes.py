"""Axes of Pareto figures: what a row costs, by the best measurement that the rows have."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ltrp_bench.results.leaderboard.latency import throughput_batch
from ltrp_bench.results.leaderboard.rows import number

Cost = Literal["latency", "throughput"]
COSTS: Final[tuple[Cost, ...]] = ("latency", "throughput")

Row = Mapping[str, Any]


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
        return found if found > 0 else float("nan")

    def speed(self, cost: float) -> float:
        """A number that is greater for a better cost."""
        return -cost if self.less_is_better else cost

    def whole_image(self, rows: Sequence[Row]) -> float:
        """Cost of the whole image: median of those beside the rows; NaN if there is none."""
        found = [cost for row in rows if self.whole is not None and (cost := number(row, self.whole)) > 0]
        return statistics.median(found) if found else float("nan")


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
