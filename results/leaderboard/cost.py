"""What a row costs, and at which keep ratio a control is as good: for those who cut inference cost."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from ltrp_bench.results.leaderboard.aggregate import FULL
from ltrp_bench.results.leaderboard.intervals import Line

BREAK_EVEN: Final = ("break_even_random", "break_even_downsample")
COST: Final = ("selector_ms", "selector_gflops", "model_ms", "images_per_second", "machine")
"""Columns that `add_economy` fills in."""

Provenance = Callable[[str], Mapping[str, Any]]
"""Fingerprint -> what is stored beside a cell (`RunStore.read_provenance`)."""


def add_economy(lines: Sequence[Line], fingerprints: Iterable[str], provenance: Provenance) -> None:
    """Fill `BREAK_EVEN` and `COST` into the rows.

    Args:
        lines: all of a leaderboard.
        fingerprints: of all cells, whole.
        provenance: of a cell, by fingerprint.
    """
    whole = {fingerprint[:16]: fingerprint for fingerprint in fingerprints}
    tables: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        row = line.row
        tables[tuple(row[name] for name in ("task", "task_id", "reduction", "metric"))].append(line)
        single = not math.isnan(row["keep_ratio"])
        behind = [provenance(whole[short]) for short in str(row["fingerprints"]).split()] if single else []
        row.update(_cost(behind))
    for table in tables.values():
        curves = {name: _curve(table, name) for name in ("random", "downsample")}
        for line in table:
            for name, curve in curves.items():
                line.row[f"break_even_{name}"] = _break_even(line.row, name, curve)


def _cost(behind: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over cells (seeds); empty where a cell does not say."""
    out: dict[str, Any] = {**dict.fromkeys(COST, math.nan), "machine": ""}
    costs = [made.get("cost") for made in behind]
    known = [cost for cost in costs if isinstance(cost, Mapping)]
    if not behind or len(known) < len(behind):
        return out
    for name in ("selector_ms", "selector_gflops", "model_ms"):
        values = [cost.get(name) for cost in known]
        if all(isinstance(value, int | float) for value in values):
            out[name] = statistics.fmean(float(value) for value in values if value is not None)
    total = out["selector_ms"] + out["model_ms"]
    out["images_per_second"] = 1000 / total if total > 0 else math.nan
    out["machine"] = "; ".join(sorted({f"{made.get('machine', '?')}, {made.get('device', '?')}" for made in behind}))
    return out


def _curve(table: Sequence[Line], control: str) -> list[tuple[float, float]]:
    """(keep ratio, value) of a control, ascending; whole images (`full`) are its end if it has none there.

    Empty unless there is one such control, and complete.
    """
    own = [line.row for line in table if line.row["selector"] == control and not math.isnan(line.row["keep_ratio"])]
    if not own or len({row["selector_id"] for row in own}) > 1 or any(math.isnan(row["all"]) for row in own):
        return []
    points = {float(row["keep_ratio"]): float(row["all"]) for row in own}
    for line in table:
        if line.row["selector"] == FULL and not math.isnan(line.row["all"]):
            points.setdefault(1.0, float(line.row["all"]))
    return sorted(points.items())


def _break_even(row: Mapping[str, Any], control: str, curve: Sequence[tuple[float, float]]) -> float:
    """Least keep ratio at which the control's broken line reaches the row's value; inf if it never does."""
    value, ratio = float(row["all"]), float(row["keep_ratio"])
    if not curve or math.isnan(value) or math.isnan(ratio):
        return math.nan
    if row["selector"] == control:
        return ratio
    if curve[0][1] >= value:
        return curve[0][0]
    for (r0, v0), (r1, v1) in pairwise(curve):
        if v1 >= value:
            return r0 + (r1 - r0) * (value - v0) / (v1 - v0)
    return math.inf
