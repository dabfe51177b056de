"""`ltrp-bench leaderboard` and `ltrp-bench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import typer

from ltrp_bench.selectors.errors import UsageError


def leaderboard(
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="A run folder."),
    csv: Path | None = typer.Option(None, help="Also write the table to this CSV file."),
    out: list[Path] = typer.Option([], metavar="FILE", help="Also write it as .csv, .parquet, .md or .tex; repeat."),
    pairs: Path | None = typer.Option(None, metavar="FILE", help="All differences between selectors; .csv, ..."),
    folds: bool = typer.Option(False, "--folds", help="Both folds of `shapes` side by side, and averaged."),
    metric: list[str] = typer.Option([], help="A metric in the place of each task's headline; repeat."),
    sizes: bool = typer.Option(False, "--sizes", help="The headline metric of small, medium and large objects."),
    control: list[str] = typer.Option(["variance", "center"], help="What the adjusted gap is adjusted by; repeat."),
    resamples: int = typer.Option(1000, min=100, help="Resamples of the images behind each interval."),
    interval: str = typer.Option("bca", metavar="bca | percentile", help="Which bootstrap interval."),
    no_intervals: bool = typer.Option(False, "--no-intervals", help="No resampling: what the records say alone."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Show all stored cells, one row per task, reduction, keep ratio and selector, with intervals and ranks."""
    from ltrp_bench.harness.cli.progress import console, tracked
    from ltrp_bench.harness.cli.tables import results_table
    from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
    from ltrp_bench.results.leaderboard.export import check_suffix, write_table

    if interval not in ("bca", "percentile"):
        raise UsageError(f"--interval {interval}: write bca or percentile")
    files = [*([csv] if csv is not None else []), *out]
    for file in [*out, *([pairs] if pairs is not None else [])]:
        check_suffix(file)
    options = LeaderboardOptions(
        metrics=tuple(metric),
        sizes=sizes,
        intervals=not no_intervals,
        resamples=resamples,
        method="bca" if interval == "bca" else "percentile",
        controls=tuple(dict.fromkeys(control)),
        folds=folds,
    )
    board = load_leaderboard(folder, options, notice=_note, progress=tracked("resampling"))
    if len(board.frame):
        console().print(results_table(board.frame))
    for file in files:
        write_table(board.frame, file, ".csv" if file == csv else None)
    if pairs is not None:
        write_table(board.pairs, pairs)


def _note(line: str) -> None:
    typer.echo(f"note: {line}", err=True)


def compare(
    base: Path = typer.Argument(metavar="BASE", help="What should hold: a leaderboard's CSV or a run folder."),
    current: Path = typer.Argument(metavar="CURRENT", help="What was measured now: likewise."),
    tolerance: float = typer.Option(0.005, min=0.0, help="Absolute fall of a value that is still accepted."),
    test: str = typer.Option(
        "auto", metavar="auto | paired | tolerance", help="A paired test where cells left evidence, or the tolerance."
    ),
    resamples: int = typer.Option(1000, min=100, help="Resamples of the paired test."),
    out: Path | None = typer.Option(None, help="Write the Markdown table here as well."),
    junit: Path | None = typer.Option(None, help="Write JUnit XML here."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Compare two leaderboards; print a Markdown table, and exit with 1 if anything got worse."""
    from ltrp_bench.results.comparison.compare import CompareOptions, Test
    from ltrp_bench.results.comparison.compare import compare as compare_tables
    from ltrp_bench.results.schema.atomic_io import atomic_write

    if test not in get_args(Test):
        raise UsageError(f"--test {test}: write {', '.join(get_args(Test))}")
    comparison = compare_tables(
        base, current, CompareOptions(tolerance=tolerance, test=cast(Test, test), resamples=resamples)
    )
    text = comparison.markdown()
    typer.echo(text, nl=False)
    if out is not None:
        atomic_write(out, text.encode())
    if junit is not None:
        atomic_write(junit, comparison.junit())
    for row in comparison.regressions:
        typer.echo(f"regression: {row.line()}", err=True)
    if comparison.regressions:
        raise typer.Exit(1)
