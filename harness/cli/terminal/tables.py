"""Leaderboards and crossovers as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.results.leaderboard.cost import break_even_text
from ltrp_bench.results.leaderboard.export import rank_text
from ltrp_bench.results.leaderboard.exposure_text import (
    LISTED,
    exposure_mark,
    exposure_options,
    few_text,
    split_text,
)
from ltrp_bench.results.leaderboard.latency import break_even_time_text, latency_text
from ltrp_bench.results.leaderboard.names import labels, selector_labels
from ltrp_bench.results.leaderboard.replicate_spread import replicate_text
from ltrp_bench.results.leaderboard.table_notes import row_notes, selector_notes

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Column:
    """A column of the table.

    Attributes:
        title: title of the column.
        text: text of a row.
        number: True for numbers, which are aligned at the right.
        short: text of a row in narrow terminals.
        marked: True if values of exposed rows get a mark.
    """

    title: str
    text: Callable[[Row], str]
    number: bool = True
    short: Callable[[Row], str] | None = None
    marked: bool = False


HEADINGS: Final = ("task", "reduction", "metric")
"""Columns that become headings in a narrow terminal."""

LOW_PRIORITY: Final = (
    *("unseen retention", "gap from whole", "images", "seeds", "supervision", "retention"),
    *("as fast as whole at", "ms at batch 1", "as random at", "images/s", "rank on unseen", "adjusted"),
)
"""Columns that are left out of a narrow terminal, first to last."""

SPACE: Final = 2
"""Characters between columns. A mark takes one of them, so marks make no column wider."""

NOTE_WIDTH: Final = 20
"""Least width of notes in a narrow terminal."""


def results_table(frame: pd.DataFrame, width: int | None = None) -> RenderableType:
    """Table of a leaderboard or crossover of `results/leaderboard`, without columns that are empty in every row.

    Incomplete rows are dim and name what is missing. Headlines say how categories are split, and lines below the table
    explain the marks of exposed rows.

    Args:
        frame: the leaderboard.
        width: available width in characters; None for any. Where the table is wider, task, reduction and metric become
            headings, and columns of lower priority are left out, then intervals; a last line names them.
    """
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    columns = [one for one in _columns(rows) if not one.number or any(one.text(row) not in ("", "-") for row in rows)]
    headings = [one for one in columns if one.title in HEADINGS]
    parts = [list(part) for _, part in groupby(rows, key=lambda row: _heading(headings, row))]
    shown: list[RenderableType]
    if width is None or _table_width(columns, rows) <= width:
        starts = [i for i in range(1, len(rows)) if _kind(rows[i]) != _kind(rows[i - 1])]
        lines = [line for part in parts if split_text(part) for line in _headline(headings, part)]
        shown = [*lines, _table(columns, rows, _widths(columns, rows), starts=starts), *_note_lines(parts)]
    else:
        shown = _narrow_tables([one for one in columns if one not in headings], headings, parts, width)
    if options := exposure_options(rows):
        shown.append(Text(options, style="dim"))
    return Group(*shown) if len(shown) > 1 else shown[0]


def _narrow_tables(
    columns: Sequence[_Column], headings: Sequence[_Column], parts: Sequence[Sequence[Row]], width: int
) -> list[RenderableType]:
    """A table with a headline for each part, with as many of the columns as fit."""
    rows = [row for part in parts for row in part]
    columns, hidden = _fitting(columns, rows, width)
    shown: list[RenderableType] = []
    for part in parts:
        shown += [*_headline(headings, part), _table(columns, part, _widths(columns, rows))]
        shown += _note_lines([part])
    if hidden:
        line = f"left out to fit {width} columns: {', '.join(hidden)}; a CSV (leaderboard --csv) has all"
        shown.append(Text(line, style="dim"))
    return shown


def _fitting(columns: Sequence[_Column], rows: Sequence[Row], width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the names of what is left out: columns of low priority, then intervals."""
    hidden: list[str] = []
    intervals: list[str] = []
    shown = list(columns)
    for title in LOW_PRIORITY:
        if _table_width(shown, rows) > width and any(one.title == title for one in shown):
            shown = [one for one in shown if one.title != title]
            hidden.append(title)
    for title in ("gap", "all"):
        if _table_width(shown, rows) > width:
            shown = [_short(one) if one.title == title else one for one in shown]
            intervals.append(f"intervals of {title}")
    if intervals:
        # There may be room for columns again.
        for title in hidden[::-1]:
            kept = {one.title: one for one in shown}
            more = [kept.get(one.title) or _short(one) for one in columns if one.title in kept or one.title == title]
            if _table_width(more, rows) <= width:
                shown = more
                hidden.remove(title)
    if _table_width(shown, rows) > width:
        shown = [one for one in shown if one.title != "rank"]
        hidden.append("rank")
    return shown, hidden + intervals


def _short(column: _Column) -> _Column:
    return replace(column, text=column.short or column.text)


def _heading(headings: Sequence[_Column], row: Row) -> str:
    return ", ".join(one.text(row) for one in headings)


def _headline(headings: Sequence[_Column], part: Sequence[Row]) -> list[Text]:
    """Heading of a part with its split, and a line if it has few unseen categories."""
    split, few = split_text(part), few_text(part)
    head = Text(_heading(headings, part[0]) + (f"; {split}" if split else ""), style="bold")
    return [head, Text(few)] if few else [head]


def _note_lines(parts: Sequence[Sequence[Row]]) -> list[Text]:
    """Lines below a table of these parts. Where parts differ, a line names its tasks."""
    tasks: dict[str, list[str]] = {}
    for part in parts:
        for note in selector_notes(part, listed=LISTED):
            tasks.setdefault(note, []).append(str(part[0]["task"]))
    replicates = [(str(part[0]["task"]), line) for part in parts if (line := replicate_text(part))]
    if len({str(part[0]["task"]) for part in parts}) == 1:
        return [Text(note) for note in (*tasks, *(line for _, line in replicates))]
    split = ((note.partition(": "), list(dict.fromkeys(own))) for note, own in tasks.items())
    lines = [f"{who} on {', '.join(own)}: {what}" for (who, _, what), own in split]
    return [Text(line) for line in (*lines, *(f"{task}: {line}" for task, line in replicates))]


def _table(
    columns: Sequence[_Column],
    rows: Sequence[Row],
    widths: Sequence[int],
    *,
    starts: Sequence[int] = (),
) -> Table:
    """The rows as a table with columns of these widths, and with a section before each row of `starts`."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=0)
    for one, width in zip(columns, widths, strict=True):
        table.add_column(_aligned(one, one.title, width), no_wrap=True, min_width=width + SPACE)
    table.add_column("")
    for i, row in enumerate(rows):
        if i in starts:
            table.add_section()
        texts = [
            _aligned(one, one.text(row), width) + _mark(one, row) for one, width in zip(columns, widths, strict=True)
        ]
        table.add_row(*texts, _note(row), style=None if row["complete"] else "dim")
    return table


def _aligned(column: _Column, text: str, width: int) -> str:
    """Text of this width if it is to be at the right; in a column at the right, marks would shift numbers."""
    return text.rjust(width) if column.number else text


def _mark(column: _Column, row: Row) -> str:
    return exposure_mark(row) if column.marked and column.text(row) not in ("", "-") else ""


def _note(row: Row) -> str:
    skipped = [f"{counted(row['skipped'], 'image')} left out"] if row.get("skipped") else []
    return "; ".join([*row_notes(row), *skipped])


def _kind(row: Row) -> tuple[Any, ...]:
    """Rows of one kind can be compared with each other."""
    return row["task"], row["task_id"], row["reduction"], row["metric"], _ratio(row)


def _widths(columns: Sequence[_Column], rows: Sequence[Row]) -> list[int]:
    return [max([len(one.title), *(len(one.text(row)) for row in rows)]) for one in columns]


def _table_width(columns: Sequence[_Column], rows: Sequence[Row]) -> int:
    """Width in characters; notes may wrap."""
    noted = any(_note(row) for row in rows)
    return sum(_widths(columns, rows)) + SPACE * len(columns) + (NOTE_WIDTH if noted else 0)


def _columns(rows: Sequence[Row]) -> list[_Column]:
    return [
        _Column("task", labels("task", rows), number=False),
        _Column("reduction", lambda row: str(row["reduction"]), number=False),
        _Column("keep", _ratio),
        _Column("selector", selector_labels(rows), number=False, marked=True),
        _Column("supervision", lambda row: str(row["supervision"]), number=False),
        _Column("metric", lambda row: str(row["metric"]), number=False),
        _Column("all", _value("all"), short=_value("all", interval=False)),
        _Column("seen", _value("seen", interval=False)),
        _Column("unseen", _value("unseen", interval=False), marked=True),
        _Column("gap", _value("gap", "+.4f"), short=_value("gap", "+.4f", interval=False), marked=True),
        _Column("adjusted", _value("gap_adjusted", "+.4f"), short=_value("gap_adjusted", "+.4f", interval=False)),
        _Column("gap from whole", _value("gap_from_whole", "+.4f", interval=False), marked=True),
        *(_Column(f"gap {fold}", _value(f"gap_{fold}", "+.4f")) for fold in (0, 1)),
        _Column("retention", _value("retention_all", ".3f", interval=False)),
        _Column("unseen retention", _value("retention_unseen", ".3f", interval=False), marked=True),
        _Column("rank", lambda row: rank_text(row, "")),
        _Column("rank on unseen", lambda row: rank_text(row, "unseen_")),
        _Column("as random at", lambda row: break_even_text(row, "random") or "-"),
        _Column("images/s", _value("images_per_second", ".1f")),
        _Column("ms at batch 1", lambda row: latency_text(row, "both") or "-"),
        _Column("as fast as whole at", lambda row: break_even_time_text(row, 1) or "-"),
        _Column("seeds", lambda row: str(row["seeds"])),
        _Column("images", lambda row: str(row["images"])),
    ]


def _ratio(row: Row) -> str:
    return str(row.get("ratios") or f"{row['keep_ratio']:g}")


def _value(name: str, form: str = ".4f", interval: bool = True) -> Callable[[Row], str]:
    """Formatter of a value with its interval, or else its standard deviation over seeds; "-" if undefined."""

    def text(row: Row) -> str:
        value = float(row.get(name, math.nan))
        low, high = (float(row.get(f"{name}_{end}", math.nan)) for end in ("low", "high"))
        spread = float(row.get(f"{name}_std", math.nan))
        if math.isnan(value):
            return "-"
        if interval and not math.isnan(low):
            return f"{value:{form}} [{low:{form}} {high:{form}}]"
        return f"{value:{form}}" if math.isnan(spread) else f"{value:{form}} ±{spread:.4f}"

    return text
