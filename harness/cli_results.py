"""`ltrp-bench leaderboard` and `ltrp-bench compare`."""

from __future__ import annotations

from pathlib import Path

import typer


def leaderboard(
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="A run folder."),
    csv: Path | None = typer.Option(None, help="Also write the table to this CSV file."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Show all stored cells, one row per task, reduction, keep ratio and selector."""
    from ltrp_bench.harness.cli_progress import console, results_table
    from ltrp_bench.results.leaderboard import load_leaderboard, write_csv

    frame = load_leaderboard(folder, notice=lambda line: typer.echo(f"note: {line}", err=True))
    if len(frame):
        console().print(results_table(frame))
    if csv is not None:
        write_csv(frame, csv)


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
