"""`ltrp-bench leaderboard` and `ltrp-bench compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def leaderboard(
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="A run folder."),
    csv: Path | None = typer.Option(None, help="Also write the table to this CSV file."),
    folds: bool = typer.Option(False, "--folds", help="Both folds of `shapes` side by side, and averaged."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Show all stored cells, one row per task, reduction, keep ratio and selector."""
    from ltrp_bench.harness.cli_progress import console, results_table
    from ltrp_bench.results.crossover import load_crossover, with_adjusted_gap
    from ltrp_bench.results.leaderboard import load_leaderboard, write_csv

    if folds:
        frame = load_crossover(folder, notice=_note)
        if len(frame):
            console().print(folds_table(frame))
    else:
        frame = load_leaderboard(folder, notice=_note)
        if len(frame):
            console().print(results_table(with_adjusted_gap(frame)))
    if csv is not None:
        write_csv(frame, csv)


def folds_table(frame: pd.DataFrame) -> Table:
    """The crossover for a terminal: averages over the folds, the gap of each, and what is missing."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("task", "reduction", "keep", "selector", "supervision", "metric"):
        table.add_column(name, justify="right" if name == "keep" else "left", no_wrap=True)
    for name in ("all", "seen", "unseen", "gap", "adjusted", "gap 0", "gap 1", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    previous: object = None
    for row in frame.to_dict("records"):
        kind = (row["task"], row["task_id"], row["reduction"], row["keep_ratio"])
        if previous is not None and kind != previous:
            table.add_section()
        previous = kind
        table.add_row(
            *(row["task"], row["reduction"], f"{row['keep_ratio']:g}"),
            *(row["selector"], row["supervision"], row["metric"]),
            _number(row["all"], row["all_std"]),
            *(_number(row[name]) for name in ("seen", "unseen")),
            _number(row["gap"], row["gap_std"], "+.4f"),
            *(_number(row[name], form="+.4f") for name in ("gap_adjusted", "gap_0", "gap_1")),
            str(row["seeds"]),
            "" if row["complete"] else f"incomplete: {row['missing']}",
            style=None if row["complete"] else "dim",
        )
    return table


def _number(value: float, spread: float = math.nan, form: str = ".4f") -> str:
    if math.isnan(value):
        return "-"
    return f"{value:{form}}" if math.isnan(spread) else f"{value:{form}} ±{spread:.4f}"


def _note(line: str) -> None:
    typer.echo(f"note: {line}", err=True)


def compare(
    base: Path = typer.Argument(metavar="BASE", help="What should hold: a leaderboard's CSV or a run folder."),
    current: Path = typer.Argument(metavar="CURRENT", help="What was measured now: likewise."),
    tolerance: float = typer.Option(0.005, min=0.0, help="Absolute fall of a value that is still accepted."),
    out: Path | None = typer.Option(None, help="Write the Markdown table here as well."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Compare two leaderboards; print a Markdown table, and exit with 1 if anything got worse."""
    from ltrp_bench.results.files import atomic_write
    from ltrp_bench.results.regression import compare as compare_tables

    comparison = compare_tables(base, current, tolerance)
    text = comparison.markdown()
    typer.echo(text, nl=False)
    if out is not None:
        atomic_write(out, text.encode())
    for row in comparison.regressions:
        typer.echo(f"regression: {row.line()}", err=True)
    if comparison.regressions:
        raise typer.Exit(1)
