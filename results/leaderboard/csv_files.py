"""Leaderboards read from CSV files that `ltrp-bench leaderboard --csv` wrote (see `export.write_table`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ltrp_bench.results.leaderboard.aggregate import COLUMNS, VALUES
from ltrp_bench.results.leaderboard.names import LABELS, OPTIONS
from ltrp_bench.results.schema.record import ResultsError

_PLOTTED: Final = ("task", "task_id", "reduction", "metric", "keep_ratio", "selector", "all", "seen", "unseen", "gap")


TableGroups = tuple[str, int, int]
"""Label set that a table is split by, and its numbers of seen and unseen categories."""


class CsvTable:
    """A leaderboard in a CSV file, which is read once.

    Args:
        path: the file.

    Attributes:
        path: the file.

    Raises:
        ResultsError: the file is missing or is not a leaderboard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Read as text first, because pandas does not parse floats exactly in every version.
        self._text = _read(path, COLUMNS, dtype=str, keep_default_na=False)

    def rows(self) -> pd.DataFrame:
        """Rows at single keep ratios, with the exact values of `aggregate.aggregate_cells`.

        Returns:
            A table with `aggregate.COLUMNS`, and with labels and options where the file has them; intervals, ranks
            and areas are left out.

        Raises:
            ResultsError: a column has a value of another type.
        """
        # Rows of areas have no keep ratio; they follow from the other rows.
        columns = [*COLUMNS, *(name for name in (*LABELS, *OPTIONS) if name in self._text)]
        frame = self._text.loc[self._text["keep_ratio"] != "", columns].reset_index(drop=True)
        for name, parse in _PARSERS.items():
            try:
                frame[name] = [parse(text) for text in frame[name]]
            except (ValueError, KeyError) as error:
                raise ResultsError(f"{self.path} is not a leaderboard: column {name!r} holds {error}") from error
        return frame

    def groups(self) -> dict[str, TableGroups]:
        """Groups of the tables of each task; empty for files of versions that did not write them.

        Tasks whose rows are split in several ways (folds) are left out.
        """
        columns = ("split_by", "seen_categories", "unseen_categories")
        if not set(columns) <= set(self._text.columns):
            return {}
        known = self._text[(self._text["split_by"] != "") & (self._text["unseen_categories"] != "")]
        found: dict[str, set[TableGroups]] = {}
        for task, split_by, seen, unseen in known[["task", *columns]].itertuples(index=False):
            found.setdefault(task, set()).add((split_by, int(float(seen)), int(float(unseen))))
        return {task: next(iter(groups)) for task, groups in found.items() if len(groups) == 1}


def read_csv(path: Path) -> pd.DataFrame:
    """`CsvTable.rows` of a file."""
    return CsvTable(path).rows()


def read_all_columns(path: Path, columns: Collection[str]) -> pd.DataFrame:
    """A CSV file with all its columns and rows.

    Args:
        path: the CSV file.
        columns: columns that the result has in any case, in this order; filled with NaN where the file lacks them.

    Raises:
        ResultsError: the file is missing, or lacks a column that figures need.
    """
    text = {"task_id": str, "selector_id": str, "ratios": str}
    frame = _read(path, _PLOTTED, dtype=text, keep_default_na=True)
    return frame.reindex(columns=list(dict.fromkeys([*columns, *frame.columns])))


def _read(path: Path, needed: Collection[str], **options: Any) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except FileNotFoundError as error:
        raise ResultsError(
            f"{path} does not exist; give a CSV file that `ltrp-bench leaderboard --csv` wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is not a CSV file that `ltrp-bench leaderboard --csv` wrote: {error}") from error
    if absent := [name for name in needed if name not in frame.columns]:
        raise ResultsError(f"{path} is not a leaderboard: it lacks the columns {', '.join(absent)}")
    return frame


def _float_or_nan(text: str) -> float:
    return float(text) if text else math.nan


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "keep_ratio": float,
    **{name: _float_or_nan for name in (*VALUES, *(f"{name}_std" for name in VALUES))},
    **dict.fromkeys(("seeds", "images", "skipped"), int),
    "complete": {"True": True, "False": False}.__getitem__,
}
