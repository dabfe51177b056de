"""`ltrp-bench report`."""

from __future__ import annotations

from pathlib import Path

import typer


def report(
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="A run folder."),
    out: Path = typer.Option(Path("report.html"), help="The HTML file."),
    resamples: int = typer.Option(1000, min=100, help="Resamples of the images behind each interval."),
    no_intervals: bool = typer.Option(False, "--no-intervals", help="No resampling: what the records say alone."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Everything measured as one HTML file that needs no network: table, curves, categories, agreement, gallery."""
    from ltrp_bench.harness.cli.progress import tracked
    from ltrp_bench.results.leaderboard.build import LeaderboardOptions
    from ltrp_bench.results.report.html import write_report

    options = LeaderboardOptions(intervals=not no_intervals, resamples=resamples)
    size = write_report(
        folder,
        out,
        options,
        notice=lambda line: typer.echo(f"note: {line}", err=True),
        progress=tracked("resampling"),
    )
    typer.echo(f"{out}: {size / 1e6:.1f} MB", err=True)
