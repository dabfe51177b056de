"""`ltrp-bench plot`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import typer

from ltrp_bench.selectors.errors import UsageError


def plot(
    folder: Path = typer.Argument(Path("runs"), metavar="[DIR]", help="A run folder."),
    csv: Path | None = typer.Option(None, metavar="FILE", help="A leaderboard's CSV in the place of a folder."),
    kind: list[str] = typer.Option([], metavar="curves | gap | pareto", help="Which figures; repeat. All by default."),
    task: list[str] = typer.Option([], help="Only this task; repeat."),
    selector: list[str] = typer.Option([], help="Only this selector; repeat."),
    keep_ratio: list[float] = typer.Option([], help="Of the gap figures; repeat. The one nearest to 0.25 by default."),
    out: Path = typer.Option(Path("figures"), help="Folder of the figures."),
    form: list[str] = typer.Option(["png"], "--format", metavar="png | svg | pdf", help="Repeat for several."),
    resamples: int = typer.Option(1000, min=100, help="Resamples of the images behind each interval."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Draw the metric over keep ratios (seen beside unseen, with intervals), the gaps, and accuracy over throughput."""
    from ltrp_bench.harness.cli.progress import tracked
    from ltrp_bench.results.leaderboard.build import COLUMNS, LeaderboardOptions, load_leaderboard
    from ltrp_bench.results.leaderboard.csv_files import read_all_columns
    from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES
    from ltrp_bench.results.report import figures

    for name, given, known in (("kind", kind, figures.KINDS), ("format", form, figures.FORMATS)):
        if unknown := [one for one in given if one not in known]:
            raise UsageError(f"--{name} {unknown[0]}: write {', '.join(known)}")
    if csv is not None:
        frame, roles = read_all_columns(csv, COLUMNS), BUILT_IN_ROLES
    else:
        resampling = LeaderboardOptions(resamples=resamples)
        board = load_leaderboard(folder, resampling, notice=_note, progress=tracked("resampling"))
        frame, roles = board.frame, board.roles
    options = figures.FigureOptions(
        kinds=cast("tuple[figures.Kind, ...]", tuple(kind)),
        tasks=tuple(task),
        selectors=tuple(selector),
        keep_ratios=tuple(keep_ratio),
        formats=cast("tuple[figures.Format, ...]", tuple(dict.fromkeys(form))),
    )
    for spec in figures.plan_figures(frame, options, roles=roles, notice=_note):
        for suffix in options.formats:
            typer.echo(str(figures.save_figure(spec, out, suffix)))


def _note(line: str) -> None:
    typer.echo(f"note: {line}", err=True)
