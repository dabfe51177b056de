"""Leaderboards and crossovers as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ltrp_bench.harness.cli.terminal.messages import counted
from ltrp_bench.results.leaderboard.export import rank_text

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Column:
    title: str
    text: Callable[[Row], str]
    number: bool = True


def results_table(frame: pd.DataFrame) -> Table:
    """Table of a leaderboard or crossover of `results/leaderboard`, without columns that are empty in every row.

    Incomplete rows are dim and name what is missing.
    """
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    mixed = {
        name for name in ("task", "selector") if len(frame) and frame.groupby(name)[f"{name}_id"].nunique().max() > 1
    }
    columns = [one for one in _columns(mixed) if not one.number or any(one.text(row) not in ("", "-") for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for one in columns:
        table.add_column(one.title, justify="right" if one.number else "left", no_wrap=True)
    table.add_column("")
    previous: Any = None
    for row in rows:
        section = (row["task"], row["task_id"], row["reduction"], row["metric"], _ratio(row))
        if previous is not None and section != previous:
            table.add_section()
        previous = section
        notes = [] if row["complete"] else ["incomplete: lacks " + str(row["missing"]).removeprefix("lacks ")]
        if row.get("skipped"):
            notes.append(f"{counted(row['skipped'], 'image')} left out")
        table.add_row(*(one.text(row) for one in columns), "; ".join(notes), style=None if row["complete"] else "dim")
    return table


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
        _Column("all", _value("all")),
        *(_Column(group, _value(group, interval=False)) for group in ("seen", "unseen")),
        _Column("gap", _value("gap", "+.4f")),
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
