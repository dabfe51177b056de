"""`ltrp-bench report`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import typer

from ltrp_bench.harness.cli.boards import board_options, board_sources
from ltrp_bench.harness.cli.option_groups import ExposureOptions, IntervalOptions, RunDirectory, SharingOptions


@dataclass(frozen=True, kw_only=True)
class ReportFile:
    """Where the report is written."""

    out: Path = field(default=Path("report.html"), metadata={"help": "Path of the HTML file."})


def report(
    directory: RunDirectory,
    file: ReportFile,
    groups: ExposureOptions,
    intervals: IntervalOptions,
    sharing: SharingOptions,
) -> None:
    """Write all results to one HTML file that works offline: tables, curves, categories, agreement, example images."""
    from ltrp_bench.results.report.html import write_report

    options = replace(board_options(groups, intervals), intervals=not intervals.no_intervals)
    size = write_report(directory.folder, file.out, options, with_paths=sharing.with_paths, **board_sources())
    typer.echo(f"{file.out}: {size / 1e6:.1f} MB", err=True)
