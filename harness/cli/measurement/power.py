"""`ltrp-bench power`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ltrp_bench.harness.cli.option_groups import MetricChoice, ResamplingOptions, RowFilter, RunDirectory
from ltrp_bench.harness.cli.terminal.messages import print_note


@dataclass(frozen=True, kw_only=True)
class PowerChoice(MetricChoice):
    """What is to be told apart."""

    difference: float = field(
        default=0.01, metadata={"help": "Difference between two selectors to tell, in units of the metric."}
    )
    alpha: float = field(default=0.05, metadata={"help": "Level of the two-sided test, in (0, 1)."})
    power: float = field(
        default=0.8, metadata={"help": "Probability that such a difference is significant, in (0, 1)."}
    )
    group: tuple[Literal["all", "seen", "unseen", "gap"], ...] = field(
        default=("all",), metadata={"help": "Categories whose values are compared; several as a,b or repeated."}
    )
    csv: Path | None = field(default=None, metadata={"help": "Path of a CSV file to write the table to as well."})


def power(directory: RunDirectory, choice: PowerChoice, shown: RowFilter, resampling: ResamplingOptions) -> None:
    """Say how many images a task needs to tell two selectors apart, at the variance of stored results."""
    from ltrp_bench.harness.cli.terminal.power_table import power_tables
    from ltrp_bench.harness.progress.terminal import console
    from ltrp_bench.results.comparison.power import PowerOptions, power_table
    from ltrp_bench.results.leaderboard.export import write_table

    options = PowerOptions(
        difference=choice.difference,
        alpha=choice.alpha,
        power=choice.power,
        groups=choice.group,
        tasks=shown.task,
        selectors=shown.selector,
        keep_ratios=shown.keep_ratio,
        metrics=choice.metric,
        resamples=resampling.resamples,
    )
    frame = power_table(directory.folder, options, print_note)
    if len(frame):
        console().print(power_tables(frame, choice.alpha, choice.power))
    if choice.csv is not None:
        write_table(frame, choice.csv, ".csv")
