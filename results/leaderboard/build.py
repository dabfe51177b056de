"""The complete leaderboard: aggregated cells with intervals, ranks, areas, break-even points and cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import COLUMNS as ROW_COLUMNS
from ltrp_bench.results.leaderboard.aggregate import LEADING, aggregate_cells
from ltrp_bench.results.leaderboard.category_groups import OWN_SPLITS, GroupReader, LabelSets, NarrowAs, Notice, regroup
from ltrp_bench.results.leaderboard.ceilings import CEILING, add_ceilings
from ltrp_bench.results.leaderboard.cost import BREAK_EVEN, COST, add_break_even, add_cost
from ltrp_bench.results.leaderboard.exposure import COLUMNS as EXPOSURE
from ltrp_bench.results.leaderboard.exposure import add_exposure
from ltrp_bench.results.leaderboard.folds import COLUMNS as FOLD_COLUMNS
from ltrp_bench.results.leaderboard.folds import crossover
from ltrp_bench.results.leaderboard.intervals import (
    ADJUSTED_COLUMNS,
    INTERVALS,
    LABEL_FREE,
    RANKS,
    RowDifference,
    add_statistics,
    control_notices,
)
from ltrp_bench.results.leaderboard.latency import LATENCY, add_latencies, chosen_latencies
from ltrp_bench.results.leaderboard.names import LABELS, NAMES, OPTIONS, add_labels, with_names
from ltrp_bench.results.leaderboard.replicate_spread import REPLICATES, add_replicates
from ltrp_bench.results.leaderboard.retention import RETENTION_COLUMNS, add_retention
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import TableRow, area_rows, rows_of
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.statistics.bootstrap import RESAMPLES, Method
from ltrp_bench.results.statistics.replicates import Replicates
from ltrp_bench.results.store.labels import Labels, read_labels
from ltrp_bench.results.store.latency import read_latencies
from ltrp_bench.results.store.run_store import ReadOnceStore, RunStore
from ltrp_bench.selectors.errors import UsageError, near_or

_HEAD: Final = (*LEADING[:3], "ratios", *LEADING[3:])
COLUMNS: Final = (
    *(*_HEAD, *INTERVALS, *ADJUSTED_COLUMNS, *RETENTION_COLUMNS, *RANKS, *EXPOSURE, CEILING, *BREAK_EVEN, *COST),
    *(name for name in ROW_COLUMNS if name not in LEADING),
    *REPLICATES,
    *LABELS,
    *LATENCY,
    *OPTIONS,
    *NAMES,
)
"""Columns of the table and of the CSV, in this order; docs/results.md describes them."""

FOLD_TABLE_COLUMNS: Final = (
    *(*_HEAD, *INTERVALS, *ADJUSTED_COLUMNS, *RETENTION_COLUMNS, *RANKS, *EXPOSURE, CEILING),
    *(name for name in FOLD_COLUMNS if name not in (*LEADING, *ADJUSTED_COLUMNS)),
    *REPLICATES,
    *LABELS,
    *OPTIONS,
    *NAMES,
)
"""Columns of the crossover over folds."""

PAIR_COLUMNS: Final = (
    *("task", "reduction", "metric", "ratios", "value", "first", "second"),
    *("difference", "low", "high", "p", "p_holm", "task_id", "first_id", "second_id"),
    *("first_label", "second_label", "task_label", "first_name", "second_name", "task_name"),
)
"""Columns of the differences between selectors."""

_ENDS: Final = ("first", "second")

_SIZES: Final = re.compile(r"(_small|_medium|_large|s|m|l)")


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions:
    """Options of a leaderboard.

    Attributes:
        metrics: metrics to show; tasks without any of them are left out. Empty shows each task's headline metric.
        sizes: True shows the headline metric on small, medium and large objects (COCO's size ranges) instead.
        controls: controls whose mean gap is subtracted for the adjusted gap.
        folds: True shows the crossover over folds.
        intervals: False leaves out everything that needs resampling: intervals and ranks.
        resamples: number of bootstrap resamples of the images.
        method: kind of bootstrap interval.
        unseen_by: label set by which categories are grouped into seen and unseen; "common" for the categories that no
            selector of the table has seen; None for the groups of the run.
        narrow_as: group of the categories that the label set contains in part only; None for that of the run. For
            `unseen_by`.
        count_exposed: True ranks selectors on the unseen group that were or may have been shown its categories.
        latency_device: device whose latencies are shown, or a part of its name; None for the one measured last.
    """

    metrics: tuple[str, ...] = ()
    sizes: bool = False
    controls: tuple[str, ...] = LABEL_FREE
    folds: bool = False
    intervals: bool = True
    resamples: int = RESAMPLES
    method: Method = "bca"
    unseen_by: str | None = None
    narrow_as: NarrowAs | None = None
    count_exposed: bool = False
    latency_device: str | None = None


DEFAULT: Final = LeaderboardOptions()


@dataclass(frozen=True)
class Leaderboard:
    """A leaderboard.

    Attributes:
        frame: the table, with `COLUMNS` (`FOLD_TABLE_COLUMNS` for a crossover).
        pairs: all differences between selectors, with `PAIR_COLUMNS`.
        roles: roles of the selectors.
    """

    frame: pd.DataFrame
    pairs: pd.DataFrame
    roles: SelectorRoles = BUILT_IN_ROLES


Progress = Callable[[Sequence[CellRecord]], Iterable[CellRecord]]


def load_leaderboard(
    root: Path,
    options: LeaderboardOptions = DEFAULT,
    *,
    label_sets: LabelSets = OWN_SPLITS,
    notice: Notice = lambda line: None,
    progress: Progress = iter,
) -> Leaderboard:
    """Build the leaderboard of a run folder.

    Args:
        root: a folder that `run --out` made.
        options: options of the leaderboard.
        label_sets: knowledge of label sets, `tasks.splits.label_sets`. Without it, the exposure of a selector is known
            only if it was trained on the label set of the run's split.
        notice: called with one line for each thing that the table lacks.
        progress: wraps the records while they are resampled.

    Raises:
        ResultsError: the folder is missing or has no finished cell, or a record or its resampling summary is damaged.
        UsageError: no cell has one of the metrics.
    """
    store, groups = regroup(ReadOnceStore(root), options.unseen_by, label_sets, notice, narrow_as=options.narrow_as)
    records = store.read_cells()
    if not records:
        raise ResultsError(f"{root} holds no finished cell; `ltrp-bench run --out {root}` adds cells")
    return build_leaderboard(records, store, options, groups=groups, notice=notice, progress=progress)


def build_leaderboard(
    records: Sequence[CellRecord],
    store: RunStore,
    options: LeaderboardOptions = DEFAULT,
    *,
    groups: GroupReader | None = None,
    notice: Notice = lambda line: None,
    progress: Progress = iter,
) -> Leaderboard:
    """`load_leaderboard` of some records of a store, in the groups of `category_groups.regroup`."""
    roles = SelectorRoles.read(records, store)
    _check_metrics(records, options.metrics)
    if options.folds:
        records = _with_folds(records, notice)
    replicates = Replicates(store, options.resamples)
    if options.intervals:
        _resample(records, replicates, options, notice, progress)
    rows: list[TableRow] = []
    for metric in sorted({name for record in records for name in _metrics(record, options)}):
        own = [record for record in records if metric in _metrics(record, options)]
        frame = crossover(own, metric, roles) if options.folds else aggregate_cells(own, metric, roles)
        found = rows_of(frame, own, replicates.of if options.intervals else lambda record, name: None)
        rows += [*found, *area_rows(found, roles)]
    if records and not rows:
        raise UsageError("no cell has its headline metric by size of objects, which --sizes shows")
    groups = groups or GroupReader(store)
    add_exposure(rows, records, groups)
    add_ceilings(rows, records, groups)
    pairs = add_statistics(rows, options.controls, options.method, roles, count_exposed=options.count_exposed)
    for line in control_notices([row.values for row in rows], options.controls):
        notice(line)
    add_retention(rows, options.method, roles, notice, count_exposed=options.count_exposed)
    add_replicates(rows, records, store)
    stored = read_labels(store.root)
    add_labels((row.values for row in rows), stored, records, store.read_provenance)
    if not options.folds:
        add_cost(rows, records, store.read_provenance)
        add_break_even(rows, roles)
        add_latencies(rows, chosen_latencies(read_latencies(store.root), options.latency_device, notice))
    frame = _frame(rows, FOLD_TABLE_COLUMNS if options.folds else COLUMNS)
    return Leaderboard(frame, _pairs_frame(pairs, stored, frame), roles)


def _check_metrics(records: Sequence[CellRecord], metrics: Sequence[str]) -> None:
    """Raise UsageError for a metric that no cell has."""
    rows = (row for record in records for row in record.metrics)
    check_metrics({row.metric for row in rows if row.category is None and row.group == "all"}, metrics)


def check_metrics(there: Iterable[str], wanted: Sequence[str]) -> None:
    """Raise UsageError for a metric that is not there, with the name that is most like it.

    Args:
        there: metrics of all cells; nothing is wrong where there is none, since there is no cell.
        wanted: names as given by the user.
    """
    known = sorted(set(there))
    for name in wanted if known else ():
        if name not in known:
            raise UsageError(f"no cell has the metric {name!r}; {near_or(name, known)}")


def _with_folds(records: Sequence[CellRecord], notice: Notice) -> list[CellRecord]:
    """Records of tasks that have folds."""
    folded = set(" ".join(crossover(records)["fingerprints"]).split())
    if others := sorted({r.task.name for r in records if r.short_fingerprint not in folded}):
        notice(f"tasks without folds are left out: {', '.join(others)}")
    if not folded:
        notice("no finished cell of a task with folds; run both with --task-option fold=0 and fold=1")
    return [record for record in records if record.short_fingerprint in folded]


def _resample(
    records: Sequence[CellRecord],
    replicates: Replicates,
    options: LeaderboardOptions,
    notice: Notice,
    progress: Progress,
) -> None:
    """Fill the cache of estimates, and count the cells that cannot be resampled."""
    wanted = [(record, name) for record in records for name in _metrics(record, options)]
    filled = replicates.fill(wanted)
    for _ in progress([record for record, _ in wanted]):
        next(filled)
    shown = [[replicates.of(record, name) for name in _metrics(record, options)] for record in records]
    if without := sum(bool(own) and all(one is None for one in own) for own in shown):
        notice(
            f"{without} of {len(records)} cells have no resampling summary, so no intervals; start their runs again to "
            "add it (nothing is measured again)"
        )


def _metrics(record: CellRecord, options: LeaderboardOptions) -> tuple[str, ...]:
    """Metrics of a record that the leaderboard shows."""
    headline = record.task.headline
    if not options.metrics and not options.sizes:
        return (headline,)
    own = dict.fromkeys(row.metric for row in record.metrics if row.category is None and row.group == "all")
    sizes = [name for name in own if name.startswith(headline) and _SIZES.fullmatch(name[len(headline) :])]
    return tuple(name for name in own if name in options.metrics or (options.sizes and name in sizes))


def _frame(rows: Sequence[TableRow], columns: Sequence[str]) -> pd.DataFrame:
    own = [name for name in columns if name not in NAMES]
    frame = with_names(pd.DataFrame([{name: row.values[name] for name in own} for row in rows], columns=own))
    order = ["task", "task_id", "reduction", "metric", "keep_ratio", "selector", "selector_id"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _pairs_frame(pairs: Sequence[RowDifference], stored: Labels, frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    selectors = dict(zip(zip(frame["task_id"], frame["selector_id"], strict=True), frame["selector_name"], strict=True))
    tasks = dict(zip(frame["task_id"], frame["task_name"], strict=True))
    for one in pairs:
        pair = one.difference
        names, ids = zip(*(name.rsplit(" ", 1) for name in (pair.first, pair.second)), strict=True)
        rows.append(
            {
                **one.table,
                **{"value": one.value, **dict(zip(_ENDS, names, strict=True)), "difference": pair.point},
                **{"low": pair.low, "high": pair.high, "p": pair.p, "p_holm": pair.p_holm},
                **{f"{end}_id": key for end, key in zip(_ENDS, ids, strict=True)},
                **{f"{end}_label": stored.selectors.get(key, "") for end, key in zip(_ENDS, ids, strict=True)},
                **{"task_label": stored.tasks.get(str(one.table["task_id"]), "")},
                **{f"{end}_name": selectors[one.table["task_id"], key] for end, key in zip(_ENDS, ids, strict=True)},
                **{"task_name": tasks[one.table["task_id"]]},
            }
        )
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
