"""Aggregation of cells into rows: one row per task, reduction, selector and keep ratio.

The reductions `fill` and `drop` never share a row. Missing cells are shown: a selector that lacks a keep ratio or a
seed that other selectors have on the same task gets a row marked incomplete, without values.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.store.run_store import RunStore

VALUES: Final = (*GROUPS, "gap")
"""Columns of values; the gap is seen - unseen."""

LEADING: Final = ("task", "reduction", "keep_ratio", "selector", "supervision", "metric", *VALUES)
"""First columns of this table and of the crossover."""

COLUMNS: Final = (
    *LEADING,
    *(f"{name}_std" for name in VALUES),
    "seeds",
    "images",
    "skipped",
    "complete",
    "missing",
    "task_id",
    "selector_id",
    "fingerprints",
)
"""Columns of the table and of the CSV, in this order; docs/results.md describes them."""


@dataclass(frozen=True)
class RowKey:
    """Key of a row.

    Attributes:
        task, selector: names in tables.
        task_id, selector_id: first digits of their identities, since one name may stand for several weights or options.
        reduction: "drop", "fill" or "none".
        keep_ratio: share of kept patches.
    """

    task: str
    task_id: str
    reduction: str
    keep_ratio: float
    selector: str
    selector_id: str


def aggregate_cells(
    records: Iterable[CellRecord], metric: str | None = None, roles: SelectorRoles = BUILT_IN_ROLES
) -> pd.DataFrame:
    """Aggregate cells over seeds into one table.

    Args:
        records: finished cells, in any order; a cell given twice counts once.
        metric: metric to aggregate; None takes the headline metric of each task.
        roles: roles of the selectors.

    Returns:
        A table with `COLUMNS`, one row per (task, reduction, keep ratio, selector), sorted by these. Values are means
        over seeds, `*_std` the sample standard deviation over seeds (NaN for one seed), and `gap` is seen - unseen.
        Rows with `complete` False have NaN as values, and `missing` lists what they lack.
    """
    cells: dict[RowKey, dict[int, CellRecord]] = defaultdict(dict)
    for record in records:
        key = RowKey(
            record.task.name,
            record.task.identity.short,
            record.reduction,
            record.keep_ratio,
            record.selector.name,
            record.selector.identity.short,
        )
        cells[key][record.seed] = record
    rows: list[dict[str, Any]] = []
    tables: dict[tuple[str, str, str], dict[RowKey, dict[int, CellRecord]]] = defaultdict(dict)
    for key, by_seed in cells.items():
        tables[key.task, key.task_id, key.reduction][key] = by_seed
    for table in tables.values():
        rows += _table_rows(table, metric, roles)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    order = ["task", "task_id", "reduction", "keep_ratio", "selector", "selector_id"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _table_rows(
    table: dict[RowKey, dict[int, CellRecord]], metric: str | None, roles: SelectorRoles
) -> list[dict[str, Any]]:
    """Rows of one task and reduction. A selector should have every keep ratio and seed that any other has there.

    Selectors that keep every patch run at keep ratio 1 only: they lack no other ratio, and others need not have theirs.
    """
    ratios = {key.keep_ratio for key in table if not roles.keeps_every_patch(key.selector)}
    seeds = {seed for by_seed in table.values() for seed, record in by_seed.items() if record.selector.stochastic}
    skipped = min((_skipped(by_seed) for by_seed in table.values()), key=lambda ids: (len(ids), sorted(ids)))
    rows = [_row(key, by_seed, _missing(by_seed, seeds, skipped), metric) for key, by_seed in table.items()]
    measured: dict[RowKey, set[float]] = defaultdict(set)
    example: dict[RowKey, dict[int, CellRecord]] = {}
    for key, by_seed in table.items():
        curve = replace(key, keep_ratio=0.0)  # one key for all keep ratios of a selector
        measured[curve].add(key.keep_ratio)
        example[curve] = by_seed
    for curve, own_ratios in measured.items():
        for ratio in () if roles.keeps_every_patch(curve.selector) else sorted(ratios - own_ratios):
            key = replace(curve, keep_ratio=ratio)
            rows.append(_row(key, example[curve], [f"keep ratio {ratio:g}"], metric, absent=True))
    return rows


def _missing(by_seed: dict[int, CellRecord], seeds: set[int], skipped: frozenset[str]) -> list[str]:
    """Seeds and images that a row lacks compared with the other rows of its table."""
    out = []
    stochastic = any(record.selector.stochastic for record in by_seed.values())
    if stochastic and (lacking := sorted(seeds - by_seed.keys())):
        out.append("seed " + " ".join(str(seed) for seed in lacking))
    if extra := _skipped(by_seed) - skipped:
        out.append(f"{len(extra)} images that others have")
    return out


def _skipped(by_seed: dict[int, CellRecord]) -> frozenset[str]:
    return frozenset(image for record in by_seed.values() for image in record.skipped)


def _row(
    key: RowKey, by_seed: dict[int, CellRecord], missing: Sequence[str], metric: str | None, *, absent: bool = False
) -> dict[str, Any]:
    records = [by_seed[seed] for seed in sorted(by_seed)]
    info, headline = records[0].selector, metric or records[0].task.headline
    values = [record_values(record, headline) for record in records]
    row: dict[str, Any] = {
        "task": key.task,
        "reduction": key.reduction,
        "keep_ratio": key.keep_ratio,
        "selector": key.selector,
        "supervision": info.supervision_text,
        "metric": headline,
        "seeds": 0 if absent else len(records),
        "images": 0 if absent else max(record.images for record in records),
        "skipped": 0 if absent else max(len(record.skipped) for record in records),
        "complete": not missing,
        "missing": ", ".join(missing),
        "task_id": key.task_id,
        "selector_id": key.selector_id,
        "fingerprints": "" if absent else " ".join(record.short_fingerprint for record in records),
    }
    for name in VALUES:
        column = [value[name] for value in values]
        row[name] = math.nan if missing else statistics.fmean(column)
        spread = len(column) > 1 and not missing and not any(math.isnan(x) for x in column)
        row[f"{name}_std"] = statistics.stdev(column) if spread else math.nan
    return row


def record_values(record: CellRecord, metric: str) -> dict[str, float]:
    """Values of one cell, for each of `VALUES`."""
    values = {group: record.value(metric, group) for group in GROUPS}
    return {**values, "gap": values["seen"] - values["unseen"]}


def aggregate_folder(root: Path, notice: Callable[[str], None] = lambda line: None) -> pd.DataFrame:
    """`aggregate_cells` of all cells in a run folder.

    Args:
        root: a folder that `run --out` made.
        notice: called with a line if the folder holds no finished cell.

    Raises:
        ResultsError: the folder is missing or a record in it is damaged.
    """
    return aggregate_store(RunStore(root), notice)


def aggregate_store(store: RunStore, notice: Callable[[str], None] = lambda line: None) -> pd.DataFrame:
    """`aggregate_folder` of a run folder that is open already."""
    records = store.read_cells()
    if not records:
        notice(f"{store.root} holds no finished cell yet")
    return aggregate_cells(records, roles=SelectorRoles.read(records, store))
