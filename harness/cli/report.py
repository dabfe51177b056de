"""`ltrp-bench report`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import typer

from ltrp_bench.harness.cli.option_groups import ExposureOptions, IntervalOptions, RunDirectory
from ltrp_bench.harness.cli.terminal.messages import print_note


@dataclass(frozen=True, kw_only=True)
class ReportFile:
    """Where the report is written."""

    out: Path = field(default=Path("report.html"), metadata={"help": "Path of the HTML file."})


def report(directory: RunDirectory, file: ReportFile, groups: ExposureOptions, intervals: IntervalOptions) -> None:
    """Write all results to one HTML file that works offline: tables, curves, categories, agreement, example images."""
    from ltrp_bench.harness.cli.terminal.progress import tracked
    from ltrp_bench.results.leaderboard.build import LeaderboardOptions
    from ltrp_bench.results.report.html import write_report
    from ltrp_bench.tasks.splits import label_sets

    groups.check()
    options = LeaderboardOptions(
        intervals=not intervals.no_intervals,
        resamples=intervals.resamples,
        unseen_by=groups.unseen_by,
        narrow_as=groups.narrow_as,
        count_exposed=groups.count_exposed,
    )
    size = write_report(
        directory.folder, file.out, options, label_sets=label_sets, notice=print_note, progress=tracked("resampling")
    )
    typer.echo(f"{file.out}: {size / 1e6:.1f} MB", err=True)
