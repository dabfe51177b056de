"""Power of a run folder's tasks: standard errors of the differences between its selectors, and what they can tell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.build import check_metrics
from ltrp_bench.results.leaderboard.category_groups import Notice
from ltrp_bench.results.leaderboard.names import select_rows, with_labels, with_names
from ltrp_bench.results.leaderboard.roles import SelectorRoles
from ltrp_bench.results.leaderboard.rows import TABLE, TableRow, group_rows, rows_of
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.statistics.bootstrap import RESAMPLES
from ltrp_bench.results.statistics.power import detectable_difference, images_needed
from ltrp_bench.results.statistics.replicates import Replicates
from ltrp_bench.results.store.labels import read_labels
from ltrp_bench.results.store.run_store import ReadOnceStore

COLUMNS: Final = (
    *("task_name", "reduction", "metric", "keep_ratio", "group", "pairs", "images", "error", "error_max"),
    *("detectable", "detectable_max", "difference", "needed", "needed_max"),
)
"""Columns of the table; those without "_max" are of the median pair, the others of the pair with the largest error."""


@dataclass(frozen=True, kw_only=True)
class PowerOptions:
    """Options of `power_table`.

    Attributes:
        difference: difference between two selectors that is to be told, in units of the metric.
        alpha: level of the two-sided test.
        power: probability of a significant difference.
        groups: groups of categories, or "gap".
        tasks, selectors, keep_ratios: rows that are used, as `names.select_rows` takes them.
        metrics: metrics instead of each task's headline metric.
        resamples: number of bootstrap resamples of the images.
    """

    difference: float = 0.01
    alpha: float = 0.05
    power: float = 0.8
    groups: tuple[str, ...] = ("all",)
    tasks: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    keep_ratios: tuple[float, ...] = ()
    metrics: tuple[str, ...] = ()
    resamples: int = RESAMPLES


def power_table(root: Path, options: PowerOptions, notice: Notice = lambda line: None) -> pd.DataFrame:
    """What the images of a run folder can tell apart, a row for each task, metric, keep ratio and group.

    The errors are those of all pairs of selectors, from the paired bootstrap; references are left out unless they are
    chosen by name. Pairs without a difference in any resample are left out, too: they keep the same patches.

    Args:
        root: a folder that `run --out` made.
        options: what is to be told apart.
        notice: called with one line for each task without two selectors to compare.

    Returns:
        A table with `COLUMNS`.

    Raises:
        ResultsError: the folder is missing, damaged or has no finished cell.
        UsageError: a name that is in no row, or an option out of range.
    """
    images_needed(options.difference, 1.0, 1, options.alpha, options.power)  # refuses options before any work
    store = ReadOnceStore(root)
    records = store.read_cells()
    roles = SelectorRoles.read(records, store)
    replicates = Replicates(store, options.resamples)
    known = {row.metric for record in records for row in record.metrics if row.category is None}
    check_metrics(known, options.metrics)
    found: list[dict[str, Any]] = []
    frames = []
    for metric in options.metrics or sorted({record.task.headline for record in records}):
        own = [
            record
            for record in records
            if (metric in {row.metric for row in record.metrics} if options.metrics else record.task.headline == metric)
        ]
        frame = with_labels(aggregate_cells(own, metric, roles), read_labels(root), own, store.read_provenance)
        frames.append(with_names(frame))
    if not frames:
        raise ResultsError(f"{root} holds no finished cell; `ltrp-bench run --out {root}` adds cells")
    frame = select_rows(pd.concat(frames), options.tasks, options.selectors, options.keep_ratios)
    rows = [row for row in rows_of(frame, records, replicates.of) if row.estimates is not None]
    rows = [row for row in rows if options.selectors or not roles.is_reference(str(row.values["selector"]))]
    for table in group_rows(rows, TABLE):
        for group in options.groups:
            if (line := _line(table, group, options)) is not None:
                found.append(line)
    tasks = {str(line["task_name"]) for line in found}
    for task in dict.fromkeys(str(name) for name in frame["task_name"]):
        if task not in tasks:
            notice(f"{task}: no two selectors with resampling summaries that differ")
    return pd.DataFrame(found, columns=list(COLUMNS))


def _line(table: Sequence[TableRow], group: str, options: PowerOptions) -> dict[str, Any] | None:
    """Row of a task at one keep ratio; None without two selectors that differ."""
    pairs = []
    for one, other in combinations(table, 2):
        if one.estimates is None or other.estimates is None or one.estimates[group].key != other.estimates[group].key:
            continue
        error = (one.estimates[group] - other.estimates[group]).standard_error
        if error > 0:
            pairs.append(error)
    if not pairs:
        return None
    values = table[0].values
    images = min(int(row.values["images"]) for row in table)
    line = {name: values[name] for name in ("task_name", "reduction", "metric", "keep_ratio")}
    line |= {"group": group, "pairs": len(pairs), "images": images, "difference": options.difference}
    for end, error in (("", statistics.median(pairs)), ("_max", max(pairs))):
        line[f"error{end}"] = error
        line[f"detectable{end}"] = detectable_difference(error, options.alpha, options.power)
        line[f"needed{end}"] = images_needed(options.difference, error, images, options.alpha, options.power)
    return line if not math.isnan(line["needed"]) else None
