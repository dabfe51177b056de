"""Leaderboards and crossovers as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.results.leaderboard.export import rank_text

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Column:
    """A column of the table: its title, the text of a row, and a shorter text for narrow terminals."""

    title: str
    text: Callable[[Row], str]
    number: bool = True
    short: Callable[[Row], str] | None = None


HEADINGS: Final = ("task", "reduction", "metric")
"""Columns that become headings in a narrow terminal."""

LOW_PRIORITY: Final = ("images", "seeds", "supervision", "as random at", "images/s", "rank on unseen", "adjusted")
"""Columns that are left out of a narrow terminal, first to last."""

NOTE_WIDTH: Final = 20
"""Least width of notes in a narrow terminal."""


def results_table(frame: pd.DataFrame, width: int | None = None) -> RenderableType:
    """Table of a leaderboard or crossover of `results/leaderboard`, without columns that are empty in every row.

    Incomplete rows are dim and name what is missing.

    Args:
        frame: the leaderboard.
        width: available width in characters; None for any. Where the table is wider, task, reduction and metric become
            headings, and columns of lower priority are left out, then intervals; a last line names them.
    """
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    mixed = {
        name for name in ("task", "selector") if len(frame) and frame.groupby(name)[f"{name}_id"].nunique().max() > 1
    }
    columns = [one for one in _columns(mixed) if not one.number or any(one.text(row) not in ("", "-") for row in rows)]
    notes = [_note(row) for row in rows]
    if width is None or _table_width(columns, rows, notes) <= width:
        return _table(
            columns, rows, notes, starts=[i for i in range(1, len(rows)) if _kind(rows[i]) != _kind(rows[i - 1])]
        )
    headings = [one for one in columns if one.title in HEADINGS]
    columns = [one for one in columns if one.title not in HEADINGS]
    hidden = []
    for title in LOW_PRIORITY:
        if _table_width(columns, rows, notes) <= width:
            break
        if any(one.title == title for one in columns):
            columns = [one for one in columns if one.title != title]
            hidden.append(title)
    for title in ("gap", "all"):
        if _table_width(columns, rows, notes) > width:
            columns = [replace(one, text=one.short or one.text) if one.title == title else one for one in columns]
            hidden.append(f"intervals of {title}")
    parts: list[RenderableType] = []
    for heading, group in groupby(range(len(rows)), key=lambda i: ", ".join(one.text(rows[i]) for one in headings)):
        own = list(group)
        parts.append(Text(heading, style="bold"))
        parts.append(_table(columns, [rows[i] for i in own], [notes[i] for i in own], widths=_widths(columns, rows)))
    if hidden:
        line = f"left out to fit {width} columns: {', '.join(hidden)}; a CSV (leaderboard --csv) has all"
        parts.append(Text(line, style="dim"))
    return Group(*parts)


def _table(
    columns: Sequence[_Column],
    rows: Sequence[Row],
    notes: Sequence[str],
    *,
    starts: Sequence[int] = (),
    widths: Sequence[int] | None = None,
) -> Table:
    """The rows as a table, with a section before each row of `starts` and columns of at least these widths."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, one in enumerate(columns):
        justify: Literal["left", "right"] = "right" if one.number else "left"
        table.add_column(one.title, justify=justify, no_wrap=True, min_width=widths[i] if widths else None)
    table.add_column("")
    for i, (row, note) in enumerate(zip(rows, notes, strict=True)):
        if i in starts:
            table.add_section()
        table.add_row(*(one.text(row) for one in columns), note, style=None if row["complete"] else "dim")
    return table


def _note(row: Row) -> str:
    notes = [] if row["complete"] else ["incomplete: lacks " + str(row["missing"]).removeprefix("lacks ")]
    if row.get("skipped"):
        notes.append(f"{counted(row['skipped'], 'image')} left out")
    return "; ".join(notes)


def _kind(row: Row) -> tuple[Any, ...]:
    """Rows of one kind can be compared with each other."""
    return row["task"], row["task_id"], row["reduction"], row["metric"], _ratio(row)


def _widths(columns: Sequence[_Column], rows: Sequence[Row]) -> list[int]:
    return [max([len(one.title), *(len(one.text(row)) for row in rows)]) for one in columns]


def _table_width(columns: Sequence[_Column], rows: Sequence[Row], notes: Sequence[str]) -> int:
    """Width in characters; notes may wrap."""
    return sum(_widths(columns, rows)) + 2 * len(columns) + (NOTE_WIDTH if any(notes) else 0)


def _columns(mixed: set[str]) -> list[_Column]:
    def name(what: str) -> Callable[[Row], str]:
        return lambda row: f"{row[what]} {row[f'{what}_id']}" if what in mixed else str(row[what])

    return [
        _Column("task", name("task"), number=False),
        _Column("reduction", lambda row: str(row["reduction"]), number=False),
        _Column("keep", _ratio),
        _Column("selector", name("selector"), number=False),
        _Column("supervision", lambda row: str(row["supervision"]), number=False),
        _Column("metric", lambda row: str(row["metric"]), number=False),
        _Column("all", _value("all"), short=_value("all", interval=False)),
        *(_Column(group, _value(group, interval=False)) for group in ("seen", "unseen")),
        _Column("gap", _value("gap", "+.4f"), short=_value("gap", "+.4f", interval=False)),
        _Column("adjusted", _value("gap_adjusted", "+.4f")),
        *(_Column(f"gap {fold}", _value(f"gap_{fold}", "+.4f")) for fold in (0, 1)),
        _Column("rank", lambda row: rank_text(row, "")),
        _Column("rank on unseen", lambda row: rank_text(row, "unseen_")),
        _Column("as random at", _value("break_even_random", ".2f")),
        _Column("images/s", _value("images_per_second", ".1f")),
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
        if not math.isfinite(value):
            return "-" if math.isnan(value) else "beyond"
        if interval and not math.isnan(low):
            return f"{value:{form}} [{low:{form}} {high:{form}}]"
        return f"{value:{form}}" if math.isnan(spread) else f"{value:{form}} ±{spread:.4f}"

    return text
