"""Plots of leaderboard rows with matplotlib: curves over keep ratios, gaps, and the metric over time."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from ltrp_bench.results.leaderboard.exposure_text import (
    LISTED,
    exposure_mark,
    few_text,
    split_text,
)
from ltrp_bench.results.leaderboard.intervals import controls_text, missing_controls
from ltrp_bench.results.leaderboard.names import labels
from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.leaderboard.rows import number
from ltrp_bench.results.leaderboard.table_notes import selector_notes
from ltrp_bench.results.report.cost_axes import Cost, CostAxis, cost_axes, pareto_front, whole_image
from ltrp_bench.results.report.style import legend_order, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL: Final = 2.9
"""Approximate width and height of a panel in inches."""

_MANY_CURVES: Final = 8

_HOLLOW: Final[Mapping[str, Any]] = {"markerfacecolor": "white"}
_PALE: Final = 0.4
"""Opacity of the intervals of exposed selectors."""

_LINE: Final = 0.1
"""Height of a line of a note in inches."""

_NOTE_LETTERS: Final = 21
"""Approximate number of letters of a note per inch."""

_NARROW: Final = 6
"""Ratio of the largest to the smallest cost below which an axis has more ticks."""

Row = Mapping[str, Any]
Group = Literal["all", "seen", "unseen"]


@dataclass(frozen=True)
class Series:
    """Rows of one selector, by keep ratio.

    Attributes:
        label: name of the selector; with its id where a name stands for several.
        selector: name of the selector.
        rows: its rows.
    """

    label: str
    selector: str
    rows: Sequence[Row]

    @property
    def mark(self) -> str:
        """Mark of an exposed selector; "" for others."""
        return next((mark for row in self.rows if (mark := exposure_mark(row))), "")

    @property
    def marked_label(self) -> str:
        """Label with the mark."""
        return f"{self.label} {self.mark}" if self.mark else self.label


@dataclass(frozen=True)
class Panels:
    """Content of a figure.

    Attributes:
        title: title of the figure.
        rows: rows of a leaderboard, of one task and metric.
        roles: roles of the selectors.
        costs: costs of a Pareto figure; empty for all that were measured.
        groups: groups of categories: a panel each in curves, the first in a Pareto figure. Empty for seen and unseen in
            curves, all categories in a Pareto figure.
    """

    title: str
    rows: Sequence[Row]
    roles: SelectorRoles = BUILT_IN_ROLES
    costs: tuple[Cost, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return str(self.rows[0]["metric"])

    @cached_property
    def series(self) -> list[Series]:
        """One series per selector, in the order of legends."""
        by_id: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            by_id.setdefault((str(row["selector"]), str(row["selector_id"])), []).append(row)
        names = [name for name, _ in by_id]
        order = legend_order(names, self.roles)
        label = labels("selector", self.rows)
        out = []
        for name, selector_id in sorted(by_id, key=lambda key: (order.index(key[0]), key[1])):
            rows = sorted(by_id[name, selector_id], key=lambda row: float(row["keep_ratio"]))
            out.append(Series(label(rows[0]), name, rows))
        return out


def draw_curves(panels: Panels) -> Figure:
    """The metric over the keep ratio, by default on seen and on unseen categories, with bands of 95 % intervals.

    Exposed selectors have hollow markers on unseen categories.
    """
    groups = panels.groups or ("seen", "unseen")
    figure, axes = _figure(panels, len(groups), share_y=True, width=1.0 if len(groups) > 1 else 1.5)
    alpha = 0.14 if len(panels.series) <= _MANY_CURVES else 0.07  # bands overlap
    for axis, group in zip(axes, groups, strict=True):
        for series in panels.series:
            options = style_of(series.selector).plot_options()
            x = [row["keep_ratio"] for row in series.rows]
            low, high = ([number(row, f"{group}_{end}") for row in series.rows] for end in ("low", "high"))
            axis.fill_between(x, low, high, color=options["color"], alpha=alpha, linewidth=0)
            if group == "unseen" and series.mark:
                options |= _HOLLOW
            axis.plot(x, [number(row, group) for row in series.rows], markersize=3.6, linewidth=1.1, **options)
        axis.set_title(group, fontsize=8)
        axis.set_xlabel("keep ratio")
    axes[0].set_ylabel(panels.metric)
    _finish(figure, axes, panels, unseen=groups != ("all",))
    return figure


def draw_gaps(panels: Panels) -> Figure:
    """The gap (seen - unseen) and the gap less that of the controls, with intervals; one line per selector.

    Above 0, categories that the labels name are favored. The lines of exposed selectors are pale and their markers
    hollow: their gaps say nothing about unseen categories.
    """
    series = panels.series[::-1]
    figure, axes = _figure(panels, 2, height=0.75 + 0.17 * len(series), legend=False)
    titles = {"gap": "gap (seen − unseen)", "gap_adjusted": "adjusted gap (gap − controls)"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        axis.axvline(0.0, color="#888888", linewidth=0.7)
        for place, one in enumerate(series):
            row, style = one.rows[0], style_of(one.selector)
            value, low, high = (number(row, name) for name in (column, f"{column}_low", f"{column}_high"))
            hollow, alpha = (_HOLLOW, _PALE) if one.mark else ({}, 1.0)
            axis.plot([low, high], [place, place], color=style.color(), linewidth=1.2, alpha=alpha)
            point = {"color": style.color(), "marker": style.marker, "markersize": 4.2, "linestyle": "none"}
            axis.plot([value], [place], **{**point, **hollow})
        labels = [one.marked_label for one in series] if axis is axes[0] else [""] * len(series)
        axis.set_yticks(range(len(series)), labels)
        axis.set_ylim(-0.7, len(series) - 0.3)
        axis.set_xlabel(f"{title}, {panels.metric}")
    if all(math.isnan(number(row, "gap_adjusted")) for row in panels.rows):
        missing = missing_controls([{**row, "gap": number(row, "gap")} for row in panels.rows])
        text = f"{controls_text(missing)}\nnot measured" if missing else "no row has an adjusted gap"
        axes[1].text(0.5, 0.5, text, transform=axes[1].transAxes, ha="center")
    _finish(figure, axes, panels, legend=False, unseen=True)
    return figure


def draw_pareto(panels: Panels) -> Figure:
    """The metric over latency and over throughput, as far as measured: a curve over keep ratios per selector.

    It is that on all categories, or on the first group of the panels.

    Rings mark the Pareto front, dotted lines the whole image.
    """
    costs = cost_axes(panels.rows, panels.costs)
    figure, axes = _figure(panels, len(costs), share_y=True, width=1.5 if len(costs) == 1 else 1.25)
    group = panels.groups[0] if panels.groups else "all"
    for axis, cost in zip(axes, costs, strict=True):
        _draw_cost(axis, cost, panels, group)
    axes[0].set_ylabel(panels.metric if group == "all" else f"{panels.metric} on {group} categories")
    columns = {cost.device for cost in costs}
    machines = sorted({row[name] for row in panels.rows for name in columns if isinstance(row.get(name), str)} - {""})
    note = f"measured on {', '.join(machines)}; rings: Pareto front; dotted: whole image"
    _finish(figure, axes, panels, unseen=group != "all", note=note)
    return figure


def _draw_cost(axis: Axes, cost: CostAxis, panels: Panels, group: str) -> None:
    """The metric on a group of categories over one cost."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    _draw_whole_image(axis, cost, panels, group)
    for series in panels.series:
        known = [row for row in series.rows if not math.isnan(cost.value(row)) and not math.isnan(number(row, group))]
        x, y = [cost.value(row) for row in known], [number(row, group) for row in known]
        options = style_of(series.selector).plot_options()
        if group == "unseen" and series.mark:
            options |= _HOLLOW
        axis.plot(x, y, markersize=3.6, linewidth=0.8, **options)
    front = pareto_front(cost, panels.rows, panels.roles, group)
    rings: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "color": "#1a1a1a"}
    axis.plot([x for x, _ in front], [y for _, y in front], linewidth=0.5, **rings)
    axis.set_xscale("log")
    drawn = [one for row in panels.rows if not math.isnan(one := cost.value(row))]
    narrow = max(drawn, default=math.inf) < _NARROW * min(drawn, default=1.0)
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if narrow else (1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(cost.title)


def _draw_whole_image(axis: Axes, cost: CostAxis, panels: Panels, group: str) -> None:
    """Dotted lines at the cost and the value of the whole image, as far as they are known."""
    dotted: dict[str, Any] = {"color": "#888888", "linewidth": 0.7, "linestyle": ":", "zorder": 0}
    x, y = whole_image(cost, panels.rows, panels.roles, group)
    for draw, value in ((axis.axvline, x), (axis.axhline, y)):
        if not math.isnan(value):
            draw(value, **dotted)


def _figure(
    panels: Panels,
    columns: int,
    *,
    share_y: bool = False,
    width: float = 1.0,
    height: float = _PANEL,
    legend: bool = True,
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    side = 1.5 if legend else 0.4
    height = max(height, 0.16 * len(panels.series) + 0.7 if legend else height)
    figure = Figure(figsize=(width * _PANEL * columns + side, height), layout="constrained")
    axes = figure.subplots(1, columns, sharey=share_y, squeeze=False)[0]
    return figure, list(axes)


def _finish(
    figure: Figure,
    axes: Sequence[Axes],
    panels: Panels,
    *,
    legend: bool = True,
    unseen: bool = False,
    note: str = "",
) -> None:
    """Add grid, legend, title and notes; with `unseen`, also the split and the marks of exposed selectors."""
    from matplotlib.lines import Line2D

    for axis in axes:
        axis.grid(True, linewidth=0.3, color="#dddddd")
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    if legend:
        texts = [one.marked_label if unseen else one.label for one in panels.series]
        styles = [style_of(one.selector).plot_options() for one in panels.series]
        handles = [
            Line2D([], [], label=text, markersize=3.6, linewidth=1.1, **style)
            for text, style in zip(texts, styles, strict=True)
        ]
        figure.legend(handles=handles, loc="outside right center", frameon=False, handlelength=3.2)
    label = labels("selector", panels.rows)
    incomplete = sorted({label(row) for row in panels.rows if not row.get("complete", True)})
    notes = [note] if note else []
    notes += [f"incomplete, with gaps: {', '.join(incomplete)}"] if incomplete else []
    figure.suptitle(panels.title, fontsize=8.5)
    if unseen:
        split, few = split_text(panels.rows), few_text(panels.rows)
        if split:
            figure.suptitle(f"{panels.title}\n{split}", fontsize=8.5)
        exposed = _wrapped([*([few] if few else []), *selector_notes(panels.rows, listed=LISTED)], figure)
        notes = [*exposed, *notes]
        # Panels keep their size.
        figure.set_figheight(figure.get_figheight() + _LINE * (len(exposed) + 2 * bool(split)))
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=6, color="#555555")


def _wrapped(notes: Sequence[str], figure: Figure) -> list[str]:
    """Lines of notes that are about as wide as the figure."""
    return [line for note in notes for line in textwrap.wrap(note, int(_NOTE_LETTERS * figure.get_figwidth()))]
