"""Leaderboards and crossovers as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ltrp_bench.harness.cli.terminal.columns import (
    ESSENTIAL,
    GROUPS,
    HEADINGS,
    INTERVALS,
    LOW_PRIORITY,
    Column,
    Row,
    areas_of,
    columns_of,
    find_columns,
    legend,
    ratio_text,
)
from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.results.leaderboard.exposure_text import (
    LISTED,
    exposure_mark,
    exposure_options,
    few_text,
    split_text,
)
from ltrp_bench.results.leaderboard.names import labels, selector_labels
from ltrp_bench.results.leaderboard.replicate_spread import replicate_text
from ltrp_bench.results.leaderboard.table_notes import row_notes, selector_notes

if TYPE_CHECKING:
    import pandas as pd

SPACE: Final = 2
"""Characters between columns. A mark takes one of them, so marks make no column wider."""

LEAST: Final = 12
"""Least width of a column of texts, whose parts wrap before an interval is left out."""

_OF_GROUP: Final = {
    "all": ("all", "rank", "retention", "as random at"),
    "seen": ("seen",),
    "unseen": ("unseen", "rank on unseen", "unseen retention"),
}
"""Group -> columns that are about it alone; all other columns of numbers compare seen with unseen categories."""
_COMPARING: Final = ("gap", "adjusted", "gap from whole", "gap 0", "gap 1")


@dataclass(frozen=True, kw_only=True)
class TableView:
    """What of a leaderboard is shown, and how.

    Attributes:
        width: width of the terminal in characters; None for files and pipes, which get one table with all columns.
        columns: titles of the columns to show, in this order; empty for as many as fit.
        groups: groups of categories whose values are shown; empty for all.
        sort: column that sorts the rows of each keep ratio; "" for the rank. "selector" puts its keep ratios together.
    """

    width: int | None = None
    columns: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sort: str = ""


def terminal_width(terminal: Console) -> int | None:
    """Width for `TableView`."""
    return terminal.width if terminal.is_terminal else None


def results_table(frame: pd.DataFrame, view: TableView | None = None) -> RenderableType:
    """Table of a leaderboard or crossover of `results/leaderboard`, without columns that are empty in every row.

    Incomplete rows are dim and say what is missing. Headlines say how categories are split, and lines below the table
    explain the marks of exposed rows, and name what a narrow terminal lacks: first columns of `LOW_PRIORITY`, then
    `INTERVALS`; words wrap rather than being cut.

    Args:
        frame: the leaderboard.
        view: what is shown.

    Raises:
        UsageError: `view` names a column that the table has not.
    """
    view = view or TableView()
    rows: list[Row] = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    every = columns_of(rows, exact=view.width is None)
    there = [one for one in every if not one.number or any(one.text(row) not in ("", "-") for row in rows)]
    headings = [one for one in there if one.title in HEADINGS]
    parts = [list(part) for _, part in groupby(rows, key=lambda row: _heading(headings, row))]
    parts = [_sorted(part, every, view) for part in parts]
    rows = [row for part in parts for row in part]
    shown: list[RenderableType]
    if view.width is None:
        columns = find_columns(view.columns, every, "--columns") or _of_groups(there, view.groups)
        starts = [i for i in range(1, len(rows)) if _kind(rows[i]) != _kind(rows[i - 1])]
        lines = [line for part in parts if split_text(part) for line in _headline(headings, part)]
        shown = [*lines, _table(columns, rows, _widths(columns, rows), starts=starts, noted=True), *_note_lines(parts)]
    else:
        shown = _terminal_tables(there if not view.columns else every, headings, parts, view)
    if options := exposure_options(rows):
        shown.append(Text(options, style="dim"))
    return Group(*shown) if len(shown) > 1 else shown[0]


def _sorted(part: Sequence[Row], columns: Sequence[Column], view: TableView) -> list[Row]:
    """Rows of one table in order: by keep ratio, then by the column, then by the value of the first group shown."""
    by = {one.title: one for one in columns}
    first = next((group for group in GROUPS if group in view.groups), "all")
    title = view.sort or {"all": "rank", "unseen": "rank on unseen"}.get(first, first)
    (column,) = find_columns([title], columns, "--sort")

    def key(row: Row) -> tuple[Any, ...]:
        own = column.key(row) if column.key else (column.text(row),)
        keep = by["keep"].key or (lambda row: ())
        rest = by[first].key or (lambda row: ())
        ratio = (*keep(row), ratio_text(row))
        return (*own, *ratio) if column.title == "selector" else (*ratio, *own, *rest(row), by["selector"].text(row))

    return sorted(part, key=key)


def _of_groups(columns: Sequence[Column], groups: Sequence[str]) -> list[Column]:
    """The columns without those about other groups of categories."""
    if not groups:
        return list(columns)
    hidden = {title for group in GROUPS if group not in groups for title in _OF_GROUP[group]}
    hidden |= set() if {"seen", "unseen"} <= set(groups) else set(_COMPARING)
    return [one for one in columns if one.title not in hidden]


def _terminal_tables(
    columns: Sequence[Column], headings: Sequence[Column], parts: Sequence[Sequence[Row]], view: TableView
) -> list[RenderableType]:
    """A table with a headline for each part, with as many of the columns as fit."""
    rows = [row for part in parts for row in part]
    width = view.width or 0
    optional: tuple[str, ...] = ()
    if view.columns:
        columns = find_columns(view.columns, columns, "--columns")
    else:
        left = [one for one in columns if one.title not in (*HEADINGS, "model")]
        columns, optional = _of_groups(left, view.groups), _optional(view.groups)
    columns, widths, hidden = _fitting(columns, rows, width, optional)
    models = len({str(row.get("model") or "") for row in rows}) > 1
    shown: list[RenderableType] = []
    for part in parts:
        if shown:
            shown.append(Text(""))
        starts = [i for i in range(1, len(part)) if ratio_text(part[i]) != ratio_text(part[i - 1])]
        starts = [] if view.sort == "selector" else starts
        shown += [*_headline(headings, part, model=models), _table(columns, part, widths, starts=starts)]
        shown += [Text(line, style="dim") for line in _part_notes(part, columns)]
        shown += _note_lines([part])
    shown += [Text(line, style="dim") for line in legend([one.title for one in columns], rows)]
    if hidden:
        line = f"left out to fit {width} columns: {', '.join(hidden)}; --columns, --csv and wider terminals show them"
        shown.append(Text(line, style="dim"))
    return shown


def _optional(groups: Sequence[str]) -> tuple[str, ...]:
    """Columns that may be left out; a table of the unseen group alone needs the rank on it."""
    needed = {"rank on unseen"} if groups and "all" not in groups else set()
    return tuple(title for title in LOW_PRIORITY if title not in needed and title not in ESSENTIAL)


def _fitting(
    columns: Sequence[Column], rows: Sequence[Row], width: int, optional: Sequence[str]
) -> tuple[list[Column], list[int], list[str]]:
    """The columns that fit, their widths, and the names of what is left out."""
    hidden: list[str] = []
    intervals: list[str] = []
    shown = list(columns)
    for title in optional:
        if _table_width(shown, rows) > width and any(one.title == title for one in shown):
            shown = [one for one in shown if one.title != title]
            hidden.append(title)
    for title in INTERVALS:
        if _sum(_wrapped(shown, rows, width), shown) > width and any(
            one.title == title and _has_interval(one, rows) for one in shown
        ):
            shown = [_short(one) if one.title == title else one for one in shown]
            intervals.append(f"intervals of {title}")
    for title in hidden[::-1] if intervals else ():
        # There may be room for columns again.
        kept = {one.title: one for one in shown}
        more = [kept.get(one.title) or _short(one) for one in columns if one.title in kept or one.title == title]
        if _table_width(more, rows) <= width:
            shown = more
            hidden.remove(title)
    widths = _wrapped(shown, rows, width)
    while _sum(widths, shown) > width and len(shown) > 1:
        last = next((one for one in reversed(shown) if one.title != "rank"), shown[-1])
        shown.remove(last)
        hidden.append(last.title)
        widths = _wrapped(shown, rows, width)
    return shown, widths, hidden + intervals


def _wrapped(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[int]:
    """Widths of the columns; where they are too wide for the terminal, columns of texts are narrowed, so they wrap."""
    widths = _widths(columns, rows)
    texts = [i for i, one in enumerate(columns) if not one.number]
    while _sum(widths, columns) > width and any(widths[i] > LEAST for i in texts):
        widest = max(texts, key=lambda i: widths[i])
        widths[widest] -= 1
    return widths


def _short(column: Column) -> Column:
    return replace(column, text=column.short or column.text)


def _has_interval(column: Column, rows: Sequence[Row]) -> bool:
    return column.short is not None and any(column.text(row) != column.short(row) for row in rows)


def _heading(headings: Sequence[Column], row: Row) -> str:
    return ", ".join(one.text(row) for one in headings)


def _headline(headings: Sequence[Column], part: Sequence[Row], *, model: bool = False) -> list[Text]:
    """Heading of a part with its split, and a line if it has few unseen categories."""
    split, few = split_text(part), few_text(part)
    title, name = _heading(headings, part[0]), str(part[0].get("model") or "")
    title += f", {name}" if model and name and name not in title else ""
    head = Text(title + (f"; {split}" if split else ""), style="bold")
    return [head, Text(few)] if few else [head]


def _part_notes(part: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Lines below a table in a terminal: what rows lack, and what "auc" stands for."""
    label = selector_labels(part)
    rows: dict[str, dict[str, None]] = {}
    for row in part:
        if note := _note(row):
            rows.setdefault(note, {})[f"{label(row)} at {ratio_text(row)}"] = None
    areas = areas_of(part) if any(one.title == "keep" for one in columns) else []
    named = [f"auc: area under the curve over keep ratios {areas[0].partition(' ')[2]}"] if len(areas) == 1 else []
    return [*named, *(f"{', '.join(own)}: {note}" for note, own in rows.items())]


def _note_lines(parts: Sequence[Sequence[Row]]) -> list[Text]:
    """Lines below a table of these parts. Where parts differ, a line names its tasks."""
    tasks: dict[str, list[str]] = {}
    task = labels("task", [row for part in parts for row in part])
    for part in parts:
        for note in selector_notes(part, listed=LISTED):
            tasks.setdefault(note, []).append(task(part[0]))
    replicates = [(task(part[0]), line) for part in parts if (line := replicate_text(part))]
    if len({task(part[0]) for part in parts}) == 1:
        return [Text(note) for note in (*tasks, *(line for _, line in replicates))]
    split = ((note.partition(": "), list(dict.fromkeys(own))) for note, own in tasks.items())
    lines = [f"{who} on {', '.join(own)}: {what}" for (who, _, what), own in split]
    return [Text(line) for line in (*lines, *(f"{task}: {line}" for task, line in replicates))]


def _table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    widths: Sequence[int],
    *,
    starts: Sequence[int] = (),
    noted: bool = False,
) -> Table:
    """The rows as a table with columns of these widths, and with a section before each row of `starts`."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=0)
    for i, (one, width) in enumerate(zip(columns, widths, strict=True)):
        space = SPACE if noted or i < len(columns) - 1 else int(one.marked)
        table.add_column(_aligned(one, one.title, width), no_wrap=one.number, overflow="fold", width=width + space)
    if noted:
        table.add_column("")
    for i, row in enumerate(rows):
        if i in starts and noted:
            table.add_section()
        elif i in starts:
            table.add_row()
        texts: list[RenderableType] = [
            Text(_folded(_aligned(one, one.text(row), width) + _mark(one, row), width + len(_mark(one, row))))
            for one, width in zip(columns, widths, strict=True)
        ]
        table.add_row(*texts, *([_note(row)] if noted else []), style=None if row["complete"] else "dim")
    return table


def _aligned(column: Column, text: str, width: int) -> str:
    """Text of this width if it is to be at the right; in a column at the right, marks would shift numbers."""
    return text.rjust(width) if column.number else text


def _folded(text: str, width: int) -> str:
    """The text in lines of this width, broken after a space, hyphen, dot, slash or "+" where there is one."""
    lines = []
    while len(text) > width:
        end = max((text.rfind(sign, 0, width) for sign in " -./+="), default=-1) + 1 or width
        lines.append(text[:end].rstrip())
        text = text[end:]
    return "\n".join([*lines, text])


def _mark(column: Column, row: Row) -> str:
    return exposure_mark(row) if column.marked and column.text(row) not in ("", "-") else ""


def _note(row: Row) -> str:
    skipped = [f"{counted(row['skipped'], 'image')} left out"] if row.get("skipped") else []
    return "; ".join([*row_notes(row), *skipped])


def _kind(row: Row) -> tuple[Any, ...]:
    """Rows of one kind can be compared with each other."""
    return row["task"], row["task_id"], row["reduction"], row["metric"], ratio_text(row)


def _widths(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    return [max([len(one.title), *(len(one.text(row)) for row in rows)]) for one in columns]


def _table_width(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    """Width in characters."""
    return _sum(_widths(columns, rows), columns)


def _sum(widths: Sequence[int], columns: Sequence[Column]) -> int:
    """Width of a table; the space after the last column is needed for a mark only."""
    return sum(widths) + SPACE * (len(widths) - 1) + int(bool(columns) and columns[-1].marked)
