"""`ltrp-bench compare`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import typer

from ltrp_bench.harness.cli.option_groups import SplitChoice
from ltrp_bench.harness.cli.terminal.messages import print_note


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The two results to compare."""

    base: Path = field(
        metadata={
            "help": "Reference results: a run directory, or the CSV of a leaderboard.",
            "metavar": "BASE",
            "argument": True,
        }
    )
    current: Path = field(
        metadata={
            "help": "Results to check: a run directory, or the CSV of a leaderboard.",
            "metavar": "CURRENT",
            "argument": True,
        }
    )


@dataclass(frozen=True, kw_only=True)
class RegressionOptions:
    """Criterion for a regression."""

    test: Literal["auto", "paired", "tolerance"] = field(
        default="auto",
        metadata={"help": "Paired bootstrap test, fixed tolerance, or the paired test wherever results allow it."},
    )
    tolerance: float = field(
        default=0.005, metadata={"help": "Largest decrease of a value that is accepted, absolute.", "min": 0.0}
    )
    resamples: int = field(
        default=1000, metadata={"help": "Number of bootstrap resamples of the paired test.", "min": 100}
    )


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Files to write beside the printed table."""

    out: Path | None = field(default=None, metadata={"help": "Path of a Markdown file for the table."})
    junit: Path | None = field(default=None, metadata={"help": "Path of a JUnit XML file for the table."})


def compare(sides: Sides, options: RegressionOptions, groups: SplitChoice, files: ReportFiles) -> None:
    """Compare two sets of results: print a table, in Markdown to files and pipes; exit code 1 if a value regressed."""
    from ltrp_bench.harness.cli.terminal.comparison_table import comparison_table
    from ltrp_bench.harness.progress.terminal import console
    from ltrp_bench.results.comparison.compare import CompareOptions
    from ltrp_bench.results.comparison.compare import compare as compare_tables
    from ltrp_bench.results.schema.atomic_io import atomic_write
    from ltrp_bench.tasks.splits import label_sets

    groups.check()
    settings = CompareOptions(
        tolerance=options.tolerance,
        test=options.test,
        resamples=options.resamples,
        unseen_by=groups.unseen_by,
        narrow_as=groups.narrow_as,
    )
    comparison = compare_tables(sides.base, sides.current, settings, label_sets=label_sets, notice=print_note)
    text = comparison.markdown()
    terminal = console()
    if terminal.is_terminal:
        terminal.print(comparison_table(comparison))
    else:
        typer.echo(text, nl=False)
    if files.out is not None:
        atomic_write(files.out, text.encode())
    if files.junit is not None:
        atomic_write(files.junit, comparison.junit())
    for row in comparison.regressions:
        typer.echo(f"regression: {row.line()}", err=True)
    if comparison.regressions:
        raise typer.Exit(1)
