"""Names of tasks and selectors in tables, with ids where one name stands for several weights, options or data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

Row = Mapping[str, Any]


def labels(what: Literal["task", "selector"], rows: Iterable[Mapping[Any, Any]]) -> Callable[[Row], str]:
    """Function that returns the name of a row's task or selector; with its id if the name has several in `rows`.

    Args:
        what: column of the name; that of the id is "<what>_id".
        rows: all rows that are shown together.
    """
    ids: dict[str, set[str]] = {}
    for row in rows:
        ids.setdefault(str(row[what]), set()).add(str(row.get(f"{what}_id")))

    def label(row: Row) -> str:
        name = str(row[what])
        return f"{name} {row[f'{what}_id']}" if len(ids.get(name, ())) > 1 else name

    return label


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
