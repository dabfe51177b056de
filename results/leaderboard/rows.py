"""Rows of a leaderboard with their bootstrap estimates, and the rows of areas under the curve.

A row of the leaderboard or the crossover is a mean over cells (seeds and folds), so its estimate is the mean of theirs,
draw by draw. Areas are sums over keep ratios, draw by draw as well.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import VALUES
from ltrp_bench.results.leaderboard.folds import FOLDS
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.statistics.bootstrap import Estimate, area, area_factors, mean

Groups = Mapping[str, Estimate]
EstimatesOf = Callable[[CellRecord, str], Groups | None]
"""(cell, metric) -> group -> estimate; None for a cell without a resampling summary (`Replicates.of`)."""

TASK: Final = ("task", "task_id", "reduction", "metric")
"""Columns that identify a task's part of the leaderboard."""

TABLE: Final = (*TASK, "ratios")
"""Columns that identify one table of comparable rows: a task at one keep ratio, or its areas."""


@dataclass
class TableRow:
    """One row of a leaderboard.

    Attributes:
        values: column -> value; later stages add columns.
        estimates: "all", "seen", "unseen" and "gap" -> estimate; None for a row that is incomplete or has a cell
            without a resampling summary.
    """

    values: dict[str, Any]
    estimates: Groups | None


def number(row: Mapping[str, Any], column: str) -> float:
    """Value of a column as a float; NaN if it is missing or not a number."""
    value = row.get(column, math.nan)
    return float(value) if isinstance(value, int | float) else math.nan


def by_rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key of rows for readers: by task and keep ratio, areas last; then by rank, and rows without one by value.

    CSV and Parquet files are in the order of `build` instead, which is by names.
    """
    ratio, rank, last, value = (float(row.get(name, math.nan)) for name in ("keep_ratio", "rank", "rank_last", "all"))
    table = (*(str(row[name]) for name in TASK), *_last(ratio), str(row["ratios"]))
    return (*table, *_last(rank), *_last(last), *_last(-value), str(row["selector"]), str(row["selector_id"]))


def _last(value: float) -> tuple[bool, float]:
    """Key that places NaN last."""
    return (True, 0.0) if math.isnan(value) else (False, value)


def rows_of(frame: pd.DataFrame, records: Iterable[CellRecord], estimates_of: EstimatesOf) -> list[TableRow]:
    """Rows of a leaderboard or crossover, with the estimates of the cells behind them.

    Args:
        frame: what `aggregate_cells` or `crossover` returned.
        records: all cells that the table was made from.
        estimates_of: estimates of a cell.
    """
    cells = {record.short_fingerprint: record for record in records}
    out = []
    for given in frame.to_dict("records"):
        values = {str(name): value for name, value in given.items()}
        values["ratios"] = f"{values['keep_ratio']:g}"
        behind = [cells[short] for short in str(values["fingerprints"]).split()] if values["complete"] else []
        found = [estimates_of(record, str(values["metric"])) for record in behind]
        known = [groups for groups in found if groups is not None]
        estimates = None
        if known and len(known) == len(found):
            by_group = {group: mean(groups[group] for groups in known) for group in GROUPS}
            estimates = {**by_group, "gap": by_group["seen"] - by_group["unseen"]}
        out.append(TableRow(values, estimates))
    return out


def area_rows(rows: Sequence[TableRow], roles: SelectorRoles = BUILT_IN_ROLES) -> list[TableRow]:
    """Area under each selector's curve over keep ratios, divided by their span; one row per curve of two or more.

    The keep ratio of such a row is NaN and `ratios` is like "auc 0.1-1". It is incomplete if any row of the curve is.
    """
    ranked = [row for row in rows if not roles.keeps_every_patch(row.values["selector"])]
    curves = group_rows(ranked, (*TASK, "selector", "selector_id"))
    return [_area_row(curve) for curve in curves if len(curve) > 1]


def group_rows(rows: Iterable[TableRow], columns: Sequence[str]) -> list[list[TableRow]]:
    """Rows with equal values in `columns` together, in the order of their first appearance."""
    groups: dict[tuple[Any, ...], list[TableRow]] = defaultdict(list)
    for row in rows:
        groups[tuple(row.values[name] for name in columns)].append(row)
    return list(groups.values())


def _area_row(curve: Sequence[TableRow]) -> TableRow:
    curve = sorted(curve, key=lambda row: row.values["keep_ratio"])
    ratios = [float(row.values["keep_ratio"]) for row in curve]
    factors = area_factors(ratios)
    incomplete = [row.values for row in curve if not row.values["complete"]]
    values = {
        **curve[0].values,
        "keep_ratio": math.nan,
        "ratios": f"auc {ratios[0]:g}-{ratios[-1]:g}",
        "complete": not incomplete,
        "missing": "; ".join(f"at {one['keep_ratio']:g}: {one['missing']}" for one in incomplete),
        "fingerprints": " ".join(str(row.values["fingerprints"]) for row in curve).strip(),
    }
    for name in VALUES:
        parts = [factor * row.values[name] for factor, row in zip(factors, curve, strict=True)]
        values[name] = math.nan if incomplete else math.fsum(parts)
        values[f"{name}_std"] = math.nan
    for name in [f"{value}_{fold}" for value in VALUES for fold in FOLDS if f"{value}_{fold}" in values]:
        values[name] = math.fsum(factor * row.values[name] for factor, row in zip(factors, curve, strict=True))
    for name in ("seeds", "images"):
        values[name] = min(int(row.values[name]) for row in curve)
    known = [row.estimates for row in curve if row.estimates is not None]
    if incomplete or len(known) < len(curve):
        return TableRow(values, None)
    points = {name: [(ratio, one[name]) for ratio, one in zip(ratios, known, strict=True)] for name in VALUES}
    return TableRow(values, {name: area(points[name]) for name in VALUES})
