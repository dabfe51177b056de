"""The leaderboard: one row per task, reduction, selector and keep ratio, from all stored cells.

Two rules keep it honest. `fill` and `drop` never share a row. And what is missing is shown: a selector that
lacks a keep ratio or a seed which others have on the same task gets a row marked incomplete, without values.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.store.run_store import RunStore

VALUES: Final = (*GROUPS, "gap")

LEADING: Final = ("task", "reduction", "keep_ratio", "selector", "supervision", "metric", *VALUES)
"""Columns that this table and the crossover begin with."""

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
"""Columns of the table and of the CSV, in this order; docs/results.md says what each holds."""

FULL: Final = "full"
"""The control that keeps every patch. It runs at keep ratio 1 alone, and nobody else is owed that ratio."""


@dataclass(frozen=True)
class _Key:
    """What a row is about; selectors and tasks by identity, as a name may stand for several weights."""

    task: str
    task_id: str
    reduction: str
    keep_ratio: float
    selector: str
    selector_id: str


def leaderboard(records: Iterable[CellRecord], metric: str | None = None) -> pd.DataFrame:
    """All cells as one table.

    Args:
        records: finished cells, in any order; a cell given twice counts once.
        metric: in the place of each task's headline.

    Returns:
        Columns `COLUMNS`; one row per (task, reduction, keep ratio, selector), sorted so. Values are means
        over seeds; `*_std` the sample standard deviation over seeds (NaN for one seed); `gap` is
        seen - unseen. Rows with `complete` False have NaN for values, and `missing` says what is not there.
    """
    cells: dict[_Key, dict[int, CellRecord]] = defaultdict(dict)
    for record in records:
        key = _Key(
            record.task.name,
            record.task.identity.short,
            record.reduction,
            record.keep_ratio,
            record.selector.name,
            record.selector.identity.short,
        )
        cells[key][record.seed] = record
    rows: list[dict[str, Any]] = []
    tables: dict[tuple[str, str, str], dict[_Key, dict[int, CellRecord]]] = defaultdict(dict)
    for key, by_seed in cells.items():
        tables[key.task, key.task_id, key.reduction][key] = by_seed
    for table in tables.values():
        rows += _table_rows(table, metric)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    order = ["task", "task_id", "reduction", "keep_ratio", "selector", "selector_id"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _table_rows(table: dict[_Key, dict[int, CellRecord]], metric: str | None) -> list[dict[str, Any]]:
    """Rows of one task and reduction; what is owed is what any other selector has there."""
    ratios = {key.keep_ratio for key in table if key.selector != FULL}
    seeds = {seed for by_seed in table.values() for seed, record in by_seed.items() if record.selector.stochastic}
    fewest = {_skipped(by_seed) for by_seed in table.values()}
    least_skipped = min(fewest, key=lambda ids: (len(ids), sorted(ids)))
    rows = []
    for key, by_seed in table.items():
        missing = []
        some = next(iter(by_seed.values()))
        if some.selector.stochastic and (lacking := sorted(seeds - by_seed.keys())):
            missing.append("seed " + " ".join(str(seed) for seed in lacking))
        if extra := sorted(_skipped(by_seed) - least_skipped):
            missing.append(f"{len(extra)} images that others have")
        rows.append(_row(key, by_seed, missing, metric))
    first = {(key.selector, key.selector_id): (key, by_seed) for key, by_seed in table.items()}
    for (name, _), (key, by_seed) in first.items():
        held = {k.keep_ratio for k in table if (k.selector, k.selector_id) == (key.selector, key.selector_id)}
        for ratio in sorted(ratios - held) if name != FULL else ():
            empty = _Key(key.task, key.task_id, key.reduction, ratio, key.selector, key.selector_id)
            rows.append(_row(empty, by_seed, [f"keep ratio {ratio:g}"], metric, absent=True))
    return rows


def _skipped(by_seed: dict[int, CellRecord]) -> frozenset[str]:
    return frozenset(image for record in by_seed.values() for image in record.skipped)


def _row(
    key: _Key, by_seed: dict[int, CellRecord], missing: Sequence[str], metric: str | None, absent: bool = False
) -> dict[str, Any]:
    records = [by_seed[seed] for seed in sorted(by_seed)]
    info, headline = records[0].selector, metric or records[0].task.headline
    values = [_values(record, headline) for record in records]
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
        "fingerprints": "" if absent else " ".join(record.fingerprint[:16] for record in records),
    }
    for name in VALUES:
        column = [value[name] for value in values]
        row[name] = math.nan if missing else statistics.fmean(column)
        spread = len(column) > 1 and not missing and not any(math.isnan(x) for x in column)
        row[f"{name}_std"] = statistics.stdev(column) if spread else math.nan
    return row


def _values(record: CellRecord, headline: str) -> dict[str, float]:
    values = {group: record.value(headline, group) for group in GROUPS}
    return {**values, "gap": values["seen"] - values["unseen"]}


def load_leaderboard(root: Path, notice: Callable[[str], None] | None = None) -> pd.DataFrame:
    """The leaderboard of a run folder.

    Args:
        root: a folder that `run --out` made.
        notice: told when there is nothing to show.

    Raises:
        ResultsError: if the folder is missing or a record in it is damaged.
    """
    records = RunStore(root).read_cells()
    if not records and notice is not None:
        notice(f"{root} holds no finished cell yet")
    return leaderboard(records)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """The table as CSV, whole or not at all; floats so that reading gives the same values back."""
    atomic_write(path, frame.to_csv(index=False, lineterminator="\n").encode())


def _float_or_nan(text: str) -> float:
    return float(text) if text else math.nan


def read_csv(path: Path) -> pd.DataFrame:
    """What `write_csv` wrote.

    Raises:
        ResultsError: if the file is missing or no leaderboard.
    """
    try:
        # As text first: pandas' own parsing of floats is not exact in every version.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise ResultsError(f"{path} is not there; give a leaderboard's CSV or a run folder") from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is no CSV that `ltrp-bench leaderboard --csv` wrote: {error}") from error
    absent = [name for name in COLUMNS if name not in frame.columns]
    if absent:
        raise ResultsError(f"{path} is no leaderboard: it lacks the columns {', '.join(absent)}")
    # Areas under the curve follow from the other rows.
    frame = frame.loc[frame["keep_ratio"] != "", list(COLUMNS)].reset_index(drop=True)
    for name, parse in _PARSE.items():
        try:
            frame[name] = [parse(text) for text in frame[name]]
        except (ValueError, KeyError) as error:
            raise ResultsError(f"{path} is no leaderboard: column {name!r} holds {error}") from error
    return frame


_PARSE: Final[dict[str, Callable[[str], Any]]] = {
    "keep_ratio": float,
    **{name: _float_or_nan for name in (*VALUES, *(f"{name}_std" for name in VALUES))},
    **dict.fromkeys(("seeds", "images", "skipped"), int),
    "complete": {"True": True, "False": False}.__getitem__,
}


def read_any(path: Path) -> pd.DataFrame:
    """A leaderboard from a CSV, or from a folder of cells. Raises ResultsError."""
    return load_leaderboard(path) if path.is_dir() else read_csv(path)
