"""Figures of a leaderboard: which ones to draw, from which rows, and the files.

`plots` draws them. An incomplete row leaves a gap in its curve, and the figure says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd
from matplotlib.figure import Figure

from ltrp_bench.results.leaderboard.build import check_metrics
from ltrp_bench.results.leaderboard.names import labels
from ltrp_bench.results.leaderboard.names import select_rows as select_named
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import number
from ltrp_bench.results.leaderboard.table_notes import NOTHING, nothing_measured
from ltrp_bench.results.report.cost_axes import COSTS, Cost, cost_axes
from ltrp_bench.results.report.plots import Group, Panels, draw_curves, draw_gaps, draw_pareto
from ltrp_bench.results.report.style import figure_bytes, plot_style
from ltrp_bench.results.schema.atomic_io import atomic_write
from ltrp_bench.results.schema.record import ResultsError

Kind = Literal["curves", "gap", "pareto"]
KINDS: Final[tuple[Kind, ...]] = ("curves", "gap", "pareto")
Format = Literal["png", "svg", "pdf"]
FORMATS: Final[tuple[Format, ...]] = ("png", "svg", "pdf")

GROUPS: Final[tuple[Group, ...]] = ("all", "seen", "unseen")

GAP_KEEP_RATIO: Final = 0.25
"""Gap figures show the keep ratio nearest to this by default."""

Notice = Callable[[str], None]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Selection of the figures to draw.

    Attributes:
        kinds: kinds of figures; empty draws all.
        tasks: names of tasks; empty draws all.
        selectors: names of selectors; empty draws all. "evit" also stands for "evit.shapes0".
        keep_ratios: keep ratios of the gap figures; empty takes the one nearest to `GAP_KEEP_RATIO`.
        formats: file formats.
        costs: costs of the Pareto figures, a panel each; empty draws all that were measured.
        groups: groups of categories: a panel each in curves, a Pareto figure each; gap figures need seen and unseen.
            Empty draws seen and unseen in curves and gap figures, and all categories in Pareto figures.
        metrics: metrics, a figure each; empty draws all that the leaderboard has.
    """

    kinds: tuple[Kind, ...] = ()
    tasks: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    keep_ratios: tuple[float, ...] = ()
    formats: tuple[Format, ...] = ("png",)
    costs: tuple[Cost, ...] = ()
    groups: tuple[Group, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class FigureSpec:
    """A figure to be drawn.

    Attributes:
        name: file name without suffix.
        kind: kind of figure.
        panels: title and rows.
    """

    name: str
    kind: Kind
    panels: Panels


@dataclass(frozen=True)
class _Part:
    """The rows of one task, reduction and metric; `name` is for files, `title` for readers."""

    name: str
    title: str
    rows: Sequence[Row]

    @property
    def keep_ratios(self) -> list[float]:
        return sorted({row["keep_ratio"] for row in self.rows})

    @property
    def measures_nothing(self) -> bool:
        complete = [row for row in self.rows if row["complete"]]
        return bool(complete) and all(map(nothing_measured, complete))


def select_rows(frame: pd.DataFrame, options: FigureOptions) -> pd.DataFrame:
    """Rows of the tasks, selectors and metrics that the options name.

    Raises:
        UsageError: a name that no row has. ResultsError: an empty leaderboard.
    """
    if not len(frame):
        raise ResultsError("the leaderboard has no rows to draw")
    check_metrics(map(str, frame["metric"]), options.metrics)
    frame = frame[frame["metric"].isin(options.metrics)] if options.metrics else frame
    return select_named(frame, options.tasks, options.selectors)


def plan_figures(
    frame: pd.DataFrame,
    options: FigureOptions,
    *,
    roles: SelectorRoles = BUILT_IN_ROLES,
    notice: Notice = lambda line: None,
) -> list[FigureSpec]:
    """List the figures that can be drawn from a leaderboard.

    Args:
        frame: a leaderboard, with `build.COLUMNS`.
        options: which figures to draw.
        roles: roles of the selectors.
        notice: called with one line for each figure that cannot be drawn.

    Raises:
        UsageError: no row has one of the tasks, selectors, metrics or keep ratios.
    """
    single = select_rows(frame, options)
    single = single[single["keep_ratio"].notna()]
    select_named(single, keep_ratios=options.keep_ratios)
    parts = list(_parts(single))
    out: list[FigureSpec] = []
    for kind in dict.fromkeys(options.kinds or KINDS):
        for part in parts:
            if kind == "curves":
                out += _plan_curves(part, options, roles, notice)
            elif kind == "pareto":
                out += _plan_pareto(part, options, roles, notice)
            else:
                out += _plan_gaps(part, options, roles, notice)
    return out


def draw_figure(spec: FigureSpec) -> Figure:
    """Draw a figure; call it inside `plot_style`."""
    draw = {"curves": draw_curves, "gap": draw_gaps, "pareto": draw_pareto}[spec.kind]
    return draw(spec.panels)


def save_figure(spec: FigureSpec, folder: Path, suffix: Format = "png") -> Path:
    """Draw a figure and write it to `folder`, which is created if needed; returns the path of the file."""
    with plot_style():
        data = figure_bytes(draw_figure(spec), f".{suffix}")
    path = folder / f"{spec.name}.{suffix}"
    atomic_write(path, data)
    return path


def _parts(frame: pd.DataFrame) -> Iterator[_Part]:
    """Rows by task, reduction and metric; titles have the task's id where a name stands for several tasks."""
    for key, part in frame.groupby(["task", "task_id", "reduction", "metric"], sort=True):
        task, _, reduction, metric = (str(value) for value in key)
        same = frame[(frame["task"] == task) & (frame["reduction"] == reduction) & (frame["metric"] == metric)]
        rows = [{str(k): v for k, v in row.items()} for row in part.to_dict("records")]
        label = labels("task", same.to_dict("records"))(rows[0])
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{label} {metric} {reduction}").strip("-")
        yield _Part(name, f"{label} ({reduction})", rows)


def _plan_curves(part: _Part, options: FigureOptions, roles: SelectorRoles, notice: Notice) -> Iterator[FigureSpec]:
    if part.measures_nothing:
        notice(f"no curves of {part.title}: {NOTHING}")
    elif len(part.keep_ratios) < 2:
        notice(f"no curves of {part.title}: it has a single keep ratio ({part.keep_ratios[0]:g})")
    else:
        groups = tuple(group for group in GROUPS if group in options.groups)
        name = "-".join(["curves", part.name, *groups])
        yield FigureSpec(name, "curves", Panels(part.title, part.rows, roles, groups=groups))


def _plan_pareto(part: _Part, options: FigureOptions, roles: SelectorRoles, notice: Notice) -> Iterator[FigureSpec]:
    there = [cost for cost in dict.fromkeys(options.costs or COSTS) if cost_axes(part.rows, [cost])]
    if part.rows[0]["reduction"] != "drop":
        notice(f"no pareto figure of {part.title}: only the reduction drop makes models faster")
    elif part.measures_nothing:
        notice(f"no pareto figure of {part.title}: {NOTHING}")
    elif not there and "latency" in options.costs:
        notice(f"no pareto figure of {part.title}: no latency was measured; `ltrp-bench latency` does")
    elif not there:
        notice(f"no pareto figure of {part.title}: no cell has a measured time; run it again with this version")
    else:
        chosen = f"{there[0]}-" if len(set(options.costs)) == 1 else ""
        panels = Panels(part.title, part.rows, roles, tuple(there))
        if not options.groups:
            yield FigureSpec(f"pareto-{chosen}{part.name}", "pareto", panels)
        for group in dict.fromkeys(options.groups):
            yield FigureSpec(f"pareto-{chosen}{part.name}-{group}", "pareto", replace(panels, groups=(group,)))


def _plan_gaps(part: _Part, options: FigureOptions, roles: SelectorRoles, notice: Notice) -> Iterator[FigureSpec]:
    if options.groups and not {"seen", "unseen"} <= set(options.groups):
        notice(f"no gap figure of {part.title}: a gap compares the groups seen and unseen")
        return
    keep_ratios = options.keep_ratios
    shown = [ratio for ratio in part.keep_ratios if any(math.isclose(ratio, one) for one in keep_ratios)]
    if not shown and not keep_ratios:
        shown = [min(part.keep_ratios, key=lambda ratio: abs(ratio - GAP_KEEP_RATIO))]
    for ratio in shown:
        rows = [
            row for row in part.rows if row["keep_ratio"] == ratio and not roles.keeps_every_patch(str(row["selector"]))
        ]
        if any(not math.isnan(number(row, "gap")) for row in rows):
            title = f"{part.title}, keep ratio {ratio:g}"
            yield FigureSpec(f"gap-{part.name}-{ratio:g}", "gap", Panels(title, rows, roles))
        else:
            notice(f"no gap figure of {part.title} at keep ratio {ratio:g}: no row has values on both seen and unseen")
