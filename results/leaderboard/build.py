"""The leaderboard as it is shown: rows of cells with intervals, ranks, areas, break-even points and cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import COLUMNS as ROW_COLUMNS
from ltrp_bench.results.leaderboard.aggregate import LEADING, leaderboard
from ltrp_bench.results.leaderboard.cost import BREAK_EVEN, COST, add_economy
from ltrp_bench.results.leaderboard.folds import COLUMNS as FOLD_COLUMNS
from ltrp_bench.results.leaderboard.folds import crossover
from ltrp_bench.results.leaderboard.intervals import (
    ADJUSTED_COLUMNS,
    INTERVALS,
    LABEL_FREE,
    RANKS,
    Line,
    Pairing,
    add_statistics,
    area_lines,
    lines_of,
)
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.statistics.bootstrap import RESAMPLES, Method
from ltrp_bench.results.statistics.replicates import Replicates
from ltrp_bench.results.store.run_store import RunStore

_HEAD: Final = (*LEADING[:3], "ratios", *LEADING[3:])
COLUMNS: Final = (
    *(*_HEAD, *INTERVALS, *ADJUSTED_COLUMNS, *RANKS, *BREAK_EVEN, *COST),
    *(name for name in ROW_COLUMNS if name not in LEADING),
)
"""Columns of the table and of the CSV, in this order; docs/results.md says what each holds."""

FOLDED: Final = (
    *(*_HEAD, *INTERVALS, *ADJUSTED_COLUMNS, *RANKS),
    *(name for name in FOLD_COLUMNS if name not in (*LEADING, *ADJUSTED_COLUMNS)),
)
"""Those of the crossover over folds."""

PAIR_COLUMNS: Final = (
    *("task", "reduction", "metric", "ratios", "value", "first", "second"),
    *("difference", "low", "high", "p", "p_holm", "task_id", "first_id", "second_id"),
)
_SIZES: Final = re.compile(r"(_small|_medium|_large|s|m|l)")


@dataclass(frozen=True)
class BoardOptions:
    """How a board is made.

    Attributes:
        metrics: names in the place of each task's headline; tasks without any of them are left out.
        sizes: the headline within COCO's three sizes of objects.
        intervals: resample; without, the table holds what the records say alone.
        resamples, method: of the bootstrap.
        controls: what the adjusted gap is adjusted by.
        folds: the crossover over folds.
    """

    metrics: tuple[str, ...] = ()
    sizes: bool = False
    intervals: bool = True
    resamples: int = RESAMPLES
    method: Method = "bca"
    controls: tuple[str, ...] = LABEL_FREE
    folds: bool = False


DEFAULT: Final = BoardOptions()


@dataclass(frozen=True)
class Board:
    """The table, `COLUMNS` (or `FOLDED`), and all differences between selectors, `PAIR_COLUMNS`."""

    frame: pd.DataFrame
    pairs: pd.DataFrame


def load_board(
    root: Path,
    options: BoardOptions = DEFAULT,
    notice: Callable[[str], None] = lambda line: None,
    progress: Callable[[Sequence[CellRecord]], Iterable[CellRecord]] = iter,
) -> Board:
    """The board of a run folder.

    Args:
        root: a folder that `run --out` made.
        options: see there.
        notice: told, one line each, what the table does not hold.
        progress: wraps the records while they are resampled.

    Raises:
        ResultsError: the folder is missing, a record or its evidence is damaged, or nothing has the metrics asked for.
    """
    store = RunStore(root)
    records = store.read_cells()
    if not records:
        notice(f"{root} holds no finished cell yet")
    return board(records, store, options, notice, progress)


def board(
    records: Sequence[CellRecord],
    store: RunStore,
    options: BoardOptions = DEFAULT,
    notice: Callable[[str], None] = lambda line: None,
    progress: Callable[[Sequence[CellRecord]], Iterable[CellRecord]] = iter,
) -> Board:
    """As `load_board`, of records at hand."""
    replicates = Replicates(store, options.resamples)
    if options.folds:
        folded = set(" ".join(crossover(records)["fingerprints"]).split())
        others = sorted({r.task.name for r in records if r.fingerprint[:16] not in folded})
        if others:
            notice(f"no folds, so no crossover: {', '.join(others)}")
        if not folded:
            notice("no finished cell of a task with folds; run both with --task-option fold=0 and fold=1")
        records = [record for record in records if record.fingerprint[:16] in folded]
    without = 0
    for record in progress(records) if options.intervals else ():
        without += all(replicates.of(record, name) is None for name in _metrics(record, options))
    if without:
        notice(
            f"{without} of {len(records)} cells left no evidence to resample: no intervals there; start their runs "
            "again, which adds it without measuring anew"
        )
    lines: list[Line] = []
    for metric in sorted({name for record in records for name in _metrics(record, options)}):
        own = [record for record in records if metric in _metrics(record, options)]
        frame = crossover(own, metric) if options.folds else leaderboard(own, metric)
        rows = lines_of(frame, own, replicates.of if options.intervals else lambda record, name: None)
        lines += [*rows, *area_lines(rows)]
    if records and not lines:
        known = sorted({row.metric for record in records for row in record.metrics if row.category is None})
        raise ResultsError(f"no cell has the metric {' or '.join(options.metrics)}; there are {', '.join(known)}")
    pairings = add_statistics(lines, options.controls, options.method)
    if not options.folds:
        add_economy(lines, [record.fingerprint for record in records], store.read_provenance)
    columns = list(FOLDED if options.folds else COLUMNS)
    frame = pd.DataFrame([{name: line.row[name] for name in columns} for line in lines], columns=columns)
    order = ["task", "task_id", "reduction", "metric", "keep_ratio", "selector", "selector_id"]
    return Board(frame.sort_values(order, kind="stable", ignore_index=True), _pairs(pairings))


def _metrics(record: CellRecord, options: BoardOptions) -> tuple[str, ...]:
    """Metrics of a record that a board is of: what was asked for, as far as it has them, or its headline."""
    headline = record.task.headline
    if not options.metrics and not options.sizes:
        return (headline,)
    own = dict.fromkeys(row.metric for row in record.metrics if row.category is None and row.group == "all")
    sizes = [name for name in own if name.startswith(headline) and _SIZES.fullmatch(name[len(headline) :])]
    return tuple(name for name in own if name in options.metrics or (options.sizes and name in sizes))


def _pairs(pairings: Sequence[Pairing]) -> pd.DataFrame:
    rows = []
    for one in pairings:
        pair = one.difference
        (first, first_id), (second, second_id) = (who.rsplit(" ", 1) for who in (pair.first, pair.second))
        rows.append(
            {
                **one.table,
                **{"value": one.value, "first": first, "second": second, "difference": pair.point},
                **{"low": pair.low, "high": pair.high, "p": pair.p, "p_holm": pair.p_holm},
                **{"first_id": first_id, "second_id": second_id},
            }
        )
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
