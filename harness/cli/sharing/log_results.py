"""`ltrp-bench results log`."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ltrp_bench.harness.cli.boards import board_options, board_sources
from ltrp_bench.harness.cli.option_groups import ExposureOptions, IntervalOptions
from ltrp_bench.harness.training.options.training import LogTo

if TYPE_CHECKING:
    import pandas as pd

    from ltrp_bench.harness.cli.sharing.result_trackers import LoggedResults


@dataclass(frozen=True, kw_only=True)
class RunDirectories:
    """Results to log."""

    folder: tuple[Path, ...] = field(
        default=(),
        metadata={
            "help": "Directories with results of `ltrp-bench run`, `runs` by default; each is a run of the tracker.",
            "metavar": "DIR",
            "argument": True,
        },
    )


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """Where to log."""

    to: tuple[LogTo, ...] = field(
        default=("tensorboard",), metadata={"help": "Tracker to log to; several as a,b or repeated.", "commas": True}
    )
    out: Path | None = field(
        default=None,
        metadata={"help": "Directory for what is not sent to a server; DIR/logs by default."},
    )


def log_results(
    directories: RunDirectories, options: LogOptions, groups: ExposureOptions, table: IntervalOptions
) -> None:
    """Log leaderboards to TensorBoard, Weights & Biases or MLflow: values over keep ratios, and the table.

    Paths and the names of users and hosts are left out.
    """
    from ltrp_bench.harness.training.trackers import check_installed

    check_installed(options.to, "--to")
    from ltrp_bench.harness.cli.sharing.result_trackers import TRACKERS
    from ltrp_bench.results.leaderboard.build import load_leaderboard
    from ltrp_bench.selectors.errors import UsageError

    settings = replace(board_options(groups, table), intervals=not table.no_intervals)
    folders = list({folder.resolve(): folder for folder in directories.folder or (Path("runs"),)}.values())
    names = [folder.resolve().name for folder in folders]
    if options.out is not None and (twice := next((name for name in names if names.count(name) > 1), None)):
        raise UsageError(
            f"--out: several directories are named {twice!r}, whose logs would be mixed: log them one by one"
        )
    for folder in folders:
        frame = load_leaderboard(folder, settings, **board_sources()).frame
        with tempfile.TemporaryDirectory() as temporary:
            results = logged(folder, frame, Path(temporary))
            out = folder / "logs" if options.out is None else options.out
            if options.out is not None and len(folders) > 1:
                out /= folder.resolve().name
            for tracker in dict.fromkeys(options.to):
                below, log = TRACKERS[tracker]
                typer.echo(f"{tracker}: {log(results, out / below)}", err=True)


def logged(folder: Path, frame: pd.DataFrame, temporary: Path) -> LoggedResults:
    """What trackers are given of a leaderboard; its files lie in a temporary folder."""
    from ltrp_bench.harness.cli.sharing.result_trackers import LoggedResults, unique_names
    from ltrp_bench.results.leaderboard.aggregate import VALUES
    from ltrp_bench.results.leaderboard.export import write_table
    from ltrp_bench.results.schema.redaction import here

    redaction = here()
    frame = frame.map(lambda value: redaction.text(value) if isinstance(value, str) else value)
    rows: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    reductions = {(row["task_name"], row["reduction"]) for row in rows}
    several = [sum(task == row["task_name"] for task, _ in reductions) > 1 for row in rows]
    tasks = [
        f"{row['task_name']} {row['reduction']}" if many else row["task_name"]
        for row, many in zip(rows, several, strict=True)
    ]
    heads = zip(tasks, (row["metric"] for row in rows), (row["selector_name"] for row in rows), strict=True)
    columns = [unique_names([str(name) for name in names]) for names in zip(*heads, strict=True)]
    curves: dict[int, dict[str, float]] = {}
    for row, *head in zip(rows, *columns, strict=True):
        if math.isnan(row["keep_ratio"]):  # an area under the curve
            continue
        values = curves.setdefault(round(1000 * row["keep_ratio"]), {})
        values |= {"/".join((*head, value)): float(row[value]) for value in VALUES if not math.isnan(row[value])}
    files = [temporary / "leaderboard.csv", temporary / "leaderboard.md"]
    for file in files:
        write_table(frame, file)
    about = {
        "ltrp-bench": version("ltrp-bench"),
        "tasks": ", ".join(dict.fromkeys(frame["task_name"])),
        "selectors": ", ".join(dict.fromkeys(frame["selector_name"])),
        "keep ratios": ", ".join(f"{step / 1000:g}" for step in sorted(curves)),
    }
    name = redaction.names(folder.resolve().name)
    return LoggedResults(name=name, about=about, curves=dict(sorted(curves.items())), table=frame, files=files)
