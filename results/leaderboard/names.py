"""Names of tasks and selectors in tables, with ids where one name stands for several weights, options or data sets.

A label that the user gave stands for the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import pandas as pd

from ltrp_bench.results.store.labels import Labels

LABELS: Final = ("selector_label", "task_label")
"""Columns of labels."""

Row = Mapping[str, Any]


def labels(what: Literal["task", "selector"], rows: Iterable[Mapping[Any, Any]]) -> Callable[[Row], str]:
    """Function that returns the name of a row's task or selector; with its id if the name has several in `rows`.

    Args:
        what: column of the name; those of the id and the label are "<what>_id" and "<what>_label".
        rows: all rows that are shown together.
    """
    ids: dict[str, set[str]] = {}
    for row in rows:
        ids.setdefault(_shown(what, row), set()).add(str(row.get(f"{what}_id")))

    def label(row: Row) -> str:
        name = _shown(what, row)
        return f"{name} {row[f'{what}_id']}" if len(ids.get(name, ())) > 1 else name

    return label


def _shown(what: str, row: Row) -> str:
    """Label or name; a table without labels has none, and one from a CSV file has NaN."""
    label = row.get(f"{what}_label")
    return label if isinstance(label, str) and label else str(row[what])


def selector_labels(rows: Iterable[Row]) -> Callable[[Row], str]:
    """`labels` of the selectors of each task by itself: the id of a selector may depend on the task's patches.

    Args:
        rows: rows of any tasks.
    """
    tasks: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        tasks.setdefault((str(row["task"]), str(row["task_id"])), []).append(row)
    label = {task: labels("selector", own) for task, own in tasks.items()}
    return lambda row: label[str(row["task"]), str(row["task_id"])](row)


def add_labels(rows: Iterable[dict[str, Any]], stored: Labels) -> None:
    """Fill the columns `LABELS` of rows with names and ids; "" where there is no label."""
    for row in rows:
        row["selector_label"] = stored.selectors.get(str(row["selector_id"]), "")
        row["task_label"] = stored.tasks.get(str(row["task_id"]), "")


def with_labels(frame: pd.DataFrame, stored: Labels) -> pd.DataFrame:
    """A table with the columns `LABELS` as well."""
    return frame.assign(
        selector_label=[stored.selectors.get(str(one), "") for one in frame["selector_id"]],
        task_label=[stored.tasks.get(str(one), "") for one in frame["task_id"]],
    )
