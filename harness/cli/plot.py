"""`ltrp-bench plot`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import typer

from ltrp_bench.harness.cli.boards import board_options, board_sources
from ltrp_bench.harness.cli.option_groups import (
    ExposureOptions,
    GroupChoice,
    LatencyChoice,
    MetricChoice,
    ResamplingOptions,
    ResultFilter,
    RunDirectory,
)
from ltrp_bench.harness.cli.terminal.messages import print_note


@dataclass(frozen=True, kw_only=True)
class PlotOptions(MetricChoice, GroupChoice):
    """Figures to draw."""

    csv: Path | None = field(
        default=None,
        metadata={"help": "Path to the CSV of a leaderboard, instead of a run directory.", "metavar": "FILE"},
    )
    kind: tuple[Literal["curves", "gap", "pareto"], ...] = field(
        default=(), metadata={"help": "Type of figure; several as a,b or repeated, all by default."}
    )
    cost: tuple[Literal["latency", "throughput"], ...] = field(
        default=(),
        metadata={"help": "Cost in the Pareto figures; several as a,b or repeated, all that were measured by default."},
    )
    keep_ratio: tuple[float, ...] = field(
        default=(),
        metadata={"help": "Keep ratio of the gap figures; several as .25,.5 or repeated; closest to 0.25 by default."},
    )
    out: Path = field(default=Path("figures"), metadata={"help": "Directory of the figures."})
    form: tuple[Literal["png", "svg", "pdf"], ...] = field(
        default=("png",), metadata={"help": "File format; several as a,b or repeated.", "flag": "--format"}
    )


def plot(
    directory: RunDirectory,
    options: PlotOptions,
    selected: ResultFilter,
    groups: ExposureOptions,
    resampling: ResamplingOptions,
    latencies: LatencyChoice,
) -> None:
    """Draw metrics over keep ratios on seen and unseen categories, their gaps, and accuracy over time."""
    from ltrp_bench.results.leaderboard.build import COLUMNS, load_leaderboard
    from ltrp_bench.results.leaderboard.csv_files import read_all_columns
    from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES
    from ltrp_bench.results.report.figures import FigureOptions, plan_figures, save_figure
    from ltrp_bench.selectors.errors import UsageError

    if options.csv is not None and groups != ExposureOptions():
        raise UsageError(
            "--unseen-by, --narrow-as and --count-exposed need a run directory; the rows of --csv are fixed"
        )
    if options.csv is not None and latencies.latency_device is not None:
        raise UsageError("--latency-device needs a run directory; the times of --csv are those of one device")
    settings = replace(
        board_options(groups, resampling), metrics=options.metric, latency_device=latencies.latency_device
    )
    if options.csv is not None:
        frame, roles = read_all_columns(options.csv, COLUMNS), BUILT_IN_ROLES
    else:
        board = load_leaderboard(directory.folder, settings, **board_sources())
        frame, roles = board.frame, board.roles
    figures = FigureOptions(
        kinds=options.kind,
        tasks=selected.task,
        selectors=selected.selector,
        keep_ratios=options.keep_ratio,
        formats=tuple(dict.fromkeys(options.form)),
        costs=options.cost,
        groups=options.group,
        metrics=options.metric,
    )
    for figure in plan_figures(frame, figures, roles=roles, notice=print_note):
        for suffix in figures.formats:
            typer.echo(str(save_figure(figure, options.out, suffix)))
