"""`ltrp-bench leaderboard`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ltrp_bench.harness.cli.boards import board_options, board_sources
from ltrp_bench.harness.cli.option_groups import (
    ExposureOptions,
    GroupChoice,
    IntervalOptions,
    LatencyChoice,
    MetricChoice,
    RowFilter,
    RunDirectory,
)


@dataclass(frozen=True, kw_only=True)
class TableFiles:
    """Files to write beside the printed table."""

    csv: Path | None = field(default=None, metadata={"help": "Path of a CSV file to write the table to as well."})
    out: tuple[Path, ...] = field(
        default=(),
        metadata={
            "help": "Path of a .csv, .parquet, .md or .tex file to write the table to; repeat for several.",
            "metavar": "FILE",
        },
    )
    pairs: Path | None = field(
        default=None,
        metadata={
            "help": "Path of a file for the differences between all pairs of selectors; file types as for --out.",
            "metavar": "FILE",
        },
    )


@dataclass(frozen=True, kw_only=True)
class TableContent(MetricChoice):
    """Rows and columns of the table."""

    sizes: bool = field(
        default=False, metadata={"help": "Headline metric on small, medium and large objects separately."}
    )
    folds: bool = field(
        default=False, metadata={"help": "Both folds of the `shapes` categories side by side, and their average."}
    )
    control: tuple[str, ...] = field(
        default=("variance", "center"),
        metadata={
            "help": "Control whose gap is subtracted in the adjusted gap; several as a,b or repeated.",
            "commas": True,
        },
    )


@dataclass(frozen=True, kw_only=True)
class TableLayout(GroupChoice):
    """Look of the printed table."""

    sort: str = field(
        default="rank",
        metadata={
            "help": "Column that sorts the rows of each keep ratio; `selector` puts its keep ratios together.",
            "metavar": "COLUMN",
        },
    )
    columns: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Column to print, and to write to --out's Markdown and LaTeX; several as a,b or repeated. By "
            "default as many as fit the terminal; all, with four digits, where the output goes to a file or pipe.",
            "metavar": "COLUMN",
            "commas": True,
        },
    )


@dataclass(frozen=True, kw_only=True)
class TableIntervals(IntervalOptions):
    """Intervals in the table."""

    interval: Literal["bca", "percentile"] = field(default="bca", metadata={"help": "Type of bootstrap interval."})


def leaderboard(
    directory: RunDirectory,
    content: TableContent,
    shown: RowFilter,
    layout: TableLayout,
    groups: ExposureOptions,
    intervals: TableIntervals,
    latencies: LatencyChoice,
    files: TableFiles,
) -> None:
    """Print stored results: one row per task, reduction, keep ratio and selector, with intervals and ranks."""
    from ltrp_bench.harness.cli.terminal.messages import print_note
    from ltrp_bench.harness.cli.terminal.tables import TableView, results_table, terminal_width
    from ltrp_bench.harness.progress.terminal import console
    from ltrp_bench.results.leaderboard.build import load_leaderboard
    from ltrp_bench.results.leaderboard.export import check_suffix, write_table
    from ltrp_bench.results.leaderboard.folds import without_other_fold
    from ltrp_bench.results.leaderboard.names import select_pairs, select_rows, with_names
    from ltrp_bench.selectors.errors import UsageError

    options = board_options(groups, intervals)
    if content.folds and groups.unseen_by not in (None, "common"):
        raise UsageError(
            f"--folds averages groups that the folds swap; by {groups.unseen_by} both folds have the same groups: "
            "give one of --folds and --unseen-by"
        )
    for file in [*files.out, *([files.pairs] if files.pairs is not None else [])]:
        check_suffix(file)
    options = replace(
        options,
        metrics=content.metric,
        sizes=content.sizes,
        intervals=not intervals.no_intervals,
        method=intervals.interval,
        controls=tuple(dict.fromkeys(content.control)),
        folds=content.folds,
        latency_device=latencies.latency_device,
    )
    board = load_leaderboard(directory.folder, options, **board_sources())
    frame, pairs = board.frame, board.pairs
    if len(frame) and (shown.task or shown.selector or shown.keep_ratio):
        frame = with_names(select_rows(frame, shown.task, shown.selector, shown.keep_ratio)).reset_index(drop=True)
        pairs = select_pairs(pairs, frame, both=len(shown.selector) != 1)
    shown_rows, lines = without_other_fold(frame) if content.folds else (frame, [])
    for line in lines:
        print_note(line)
    if len(shown_rows):
        terminal = console()
        sort = "" if layout.sort == "rank" else layout.sort
        view = TableView(width=terminal_width(terminal), columns=layout.columns, groups=layout.group, sort=sort)
        terminal.print(results_table(shown_rows, view))
    if files.csv is not None:
        write_table(frame, files.csv, ".csv")
    for file in files.out:
        suffix = check_suffix(file)
        write_table(frame if suffix in (".csv", ".parquet") else shown_rows, file, columns=layout.columns)
    if files.pairs is not None:
        write_table(pairs, files.pairs)
        print_note(f"wrote {len(pairs)} differences between two selectors to {files.pairs}")
