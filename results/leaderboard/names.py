"""Names of tasks and selectors in tables, figures and files.

A label that the user gave stands for the name. Where several weights, options or data sets have one name, what differs
among them follows: "entropy bins=9", "shapes-det limit 60". Ids of eight hex digits are left for those that differ in
nothing that can be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import pandas as pd

from ltrp_bench.results.leaderboard.variants import differences, model_in, options_text, shown_model
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.labels import Labels
from ltrp_bench.selectors.errors import UsageError, near_or

LABELS: Final = ("selector_label", "task_label")
"""Columns of labels."""

OPTIONS: Final = ("selector_options", "task_options", "model")
"""Columns of the options that tell variants apart, and of the task's model."""

NAMES: Final = ("selector_name", "task_name")
"""Columns of the names that are shown."""

Row = Mapping[str, Any]
ReadProvenance = Callable[[str], Mapping[str, Any]]
"""Fingerprint -> provenance of a cell."""


def labels(what: Literal["task", "selector"], rows: Iterable[Mapping[Any, Any]]) -> Callable[[Row], str]:
    """Function that returns the name of a row's task or selector, with what tells it from others of that name.

    Args:
        what: column of the name; those of the id, label and options are "<what>_id", "<what>_label", "<what>_options".
        rows: all rows that are shown together.
    """
    options: dict[str, dict[str, str]] = {}
    for row in rows:
        options.setdefault(_shown(what, row), {}).setdefault(str(row.get(f"{what}_id")), _text(row, f"{what}_options"))
    names: dict[tuple[str, str], str] = {}
    for name, own in options.items():
        if len(own) > 1:
            found = [f"{name} {text}".strip() for text in differences(list(own.values()))]
            for key, text in zip(own, found, strict=True):
                names[name, key] = text if found.count(text) == 1 else f"{text} {key}"

    def label(row: Row) -> str:
        name = _shown(what, row)
        return names.get((name, str(row.get(f"{what}_id"))), name)

    return label


def _shown(what: str, row: Row) -> str:
    """Label or name; a table without labels has none, and one from a CSV file has NaN."""
    return _text(row, f"{what}_label") or str(row[what])


def _text(row: Row, column: str) -> str:
    text = row.get(column)
    return text if isinstance(text, str) else ""


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


def add_labels(
    rows: Iterable[dict[str, Any]],
    stored: Labels,
    records: Iterable[CellRecord] = (),
    read_provenance: ReadProvenance = lambda fingerprint: {},
) -> None:
    """Fill the columns `LABELS` and `OPTIONS` of rows with names and ids; "" where there is nothing.

    Args:
        rows: the rows.
        stored: labels of the run folder, and the names of models and files of weights.
        records: the cells behind the rows.
        read_provenance: for cells of versions that did not store the name of the task's model.
    """
    options: dict[str, str] = {}
    models: dict[str, str] = {}
    for record in records:
        selector, task = record.selector.identity, record.task.identity
        if selector.short not in options:
            options[selector.short] = options_text(selector.value, weights=stored.weights.get(selector.short, ""))
        if task.short not in models:
            identity = task.value
            models[task.short] = stored.models.get(task.short) or model_in(identity)
            if not models[task.short] and record.reduction != "none":
                models[task.short] = _model_of_command(read_provenance(record.fingerprint).get("command"), identity)
            options[task.short] = options_text(identity, model=models[task.short])
    for row in rows:
        row["selector_label"] = stored.selectors.get(str(row["selector_id"]), "")
        row["task_label"] = stored.tasks.get(str(row["task_id"]), "")
        row["selector_options"] = options.get(str(row["selector_id"]), "")
        row["task_options"] = options.get(str(row["task_id"]), "")
        row["model"] = models.get(str(row["task_id"]), "")


def with_labels(
    frame: pd.DataFrame,
    stored: Labels,
    records: Sequence[CellRecord] = (),
    read_provenance: ReadProvenance = lambda fingerprint: {},
) -> pd.DataFrame:
    """A table with the columns `LABELS` and `OPTIONS` as well."""
    rows = [
        {"selector_id": one, "task_id": other}
        for one, other in zip(frame["selector_id"], frame["task_id"], strict=True)
    ]
    add_labels(rows, stored, records, read_provenance)
    return frame.assign(**{name: [row[name] for row in rows] for name in (*LABELS, *OPTIONS)})


def select_rows(
    frame: pd.DataFrame, tasks: Sequence[str] = (), selectors: Sequence[str] = (), keep_ratios: Sequence[float] = ()
) -> pd.DataFrame:
    """Rows of a leaderboard that have one of these tasks, selectors and keep ratios; all where none are given.

    Args:
        frame: the leaderboard.
        tasks, selectors: names, labels, or names as tables show them. "evit" also stands for "evit.shapes0".
        keep_ratios: shares of kept patches; areas over keep ratios have none of them.

    Raises:
        UsageError: a name or keep ratio that no row has.
    """
    for column, names in (("task", tasks), ("selector", selectors)):
        others = [frame[name] for name in (f"{column}_label", f"{column}_name") if name in frame]
        known = [
            {name, name.partition(".")[0], *map(str, rest)} for name, *rest in zip(frame[column], *others, strict=True)
        ]
        for name in names:
            if not any(name in own for own in known):
                there = [*frame[column], *(str(one) for other in others for one in other if one)]
                hint = near_or(name, there, f"there are {', '.join(sorted(set(frame[column])))}")
                raise UsageError(f"no {column} {name!r} in the results; {hint}")
        if names:
            frame = frame[[not own.isdisjoint(names) for own in known]]
    ratios = sorted(set(frame["keep_ratio"].dropna()))
    for ratio in keep_ratios:
        if not any(math.isclose(ratio, one) for one in ratios):
            raise UsageError(f"no keep ratio {ratio:g} in the results; there are {', '.join(f'{r:g}' for r in ratios)}")
    if keep_ratios:
        near = [any(math.isclose(ratio, one) for one in keep_ratios) for ratio in frame["keep_ratio"]]
        frame = frame[near]
    return frame


def select_pairs(pairs: pd.DataFrame, rows: pd.DataFrame, *, both: bool) -> pd.DataFrame:
    """Differences between selectors of some rows of a leaderboard.

    Args:
        pairs: differences, with `build.PAIR_COLUMNS`.
        rows: the rows, as of `select_rows`.
        both: False also keeps differences between a selector of the rows and one that is not among them.
    """
    keys = ["task_id", "reduction", "metric", "ratios"]
    shown = set(rows[[*keys, "selector_id"]].itertuples(index=False, name=None))
    first, second = (
        [row in shown for row in pairs[[*keys, end]].itertuples(index=False, name=None)]
        for end in ("first_id", "second_id")
    )
    kept = [(one and other) if both else (one or other) for one, other in zip(first, second, strict=True)]
    return pairs[kept].reset_index(drop=True)


def with_names(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with the columns `NAMES` as its rows are called where all of them are shown."""
    columns = [f"{what}{end}" for what in ("task", "selector") for end in ("", "_id", "_label", "_options")]
    rows: list[Row] = [
        {str(name): value for name, value in row.items()}
        for row in frame[[name for name in columns if name in frame]].to_dict("records")
    ]
    selector, task = selector_labels(rows), labels("task", rows)
    return frame.assign(selector_name=[selector(row) for row in rows], task_name=[task(row) for row in rows])


def _model_of_command(command: Any, identity: Mapping[str, Any]) -> str:
    """Name of the model that a command line of `run` gives a task; "" if it gives none."""
    if not isinstance(command, Sequence) or isinstance(command, str):
        return ""
    words = [str(word) for word in command]
    found = ""
    for word, value in zip(words, [*words[1:], ""], strict=True):
        flag, equals, own = word.partition("=")
        value = own if equals else value
        if flag == "--model":
            found = value
        elif flag == "--task-option" and value.partition("=")[0] in ("model", f"{identity.get('name')}.model"):
            found = value.partition("=")[2]
    return shown_model(found)
