"""Plots: what is drawn for which rows."""

from __future__ import annotations

import math

import pandas as pd

from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.report.plots import Panels, draw_curves, draw_gaps, draw_pareto, number, pareto_front
from ltrp_bench.results.report.style import plot_style, style_of


def _panels(frame: pd.DataFrame, ratio: float | None = None, roles: SelectorRoles = BUILT_IN_ROLES) -> Panels:
    shown = frame[(frame["task"] == "shapes-cls") & frame["keep_ratio"].notna()]
    if ratio is not None:
        shown = shown[shown["keep_ratio"] == ratio]
    return Panels("title", [{str(k): v for k, v in row.items()} for row in shown.to_dict("records")], roles)


def test_series_are_sorted_and_labelled() -> None:
    rows = [
        {"selector": name, "selector_id": selector_id, "keep_ratio": ratio, "metric": "AP"}
        for name, selector_id in (("random", "a"), ("ltrp", "c"), ("ltrp", "b"), ("mine:M", "d"))
        for ratio in (0.5, 0.25)
    ]
    panels = Panels("title", rows)
    assert [one.label for one in panels.series] == ["ltrp b", "ltrp c", "mine:M", "random"]
    assert [row["keep_ratio"] for row in panels.series[0].rows] == [0.25, 0.5] and panels.metric == "AP"
    control = Panels("title", rows, SelectorRoles({"ltrp": "control"}))
    assert [one.selector for one in control.series] == ["mine:M", "ltrp", "ltrp", "random"]


def test_number() -> None:
    assert number({"a": 1}, "a") == 1.0 and math.isnan(number({"a": "text"}, "a")) and math.isnan(number({}, "a"))


def test_curves_have_bands_and_gaps_where_cells_are_missing(frame: pd.DataFrame) -> None:
    with plot_style():
        figure = draw_curves(_panels(frame))
    seen, unseen = figure.axes
    assert (seen.get_title(), unseen.get_title()) == ("seen", "unseen")
    lines = seen.get_lines()
    assert len(lines) == 5 and len(seen.collections) == 5
    evit = next(line for line in lines if line.get_color() == style_of("evit").color() and line.get_marker() == "s")
    values = list(evit.get_ydata())
    assert len(values) == 3 and math.isnan(values[1])
    assert "incomplete, with gaps: evit.shapes0" in figure._supxlabel.get_text()  # type: ignore[attr-defined]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["ltrp.shapes", "evit.shapes0", "variance", "center", "random"]


def test_gaps_have_intervals_around_their_points(frame: pd.DataFrame) -> None:
    panels = _panels(frame, 0.25)
    with plot_style():
        plain, adjusted = draw_gaps(panels).axes
    row = next(row for row in panels.rows if row["selector"] == "evit.shapes0")
    segments = [list(line.get_xdata()) for line in plain.get_lines()]
    assert [row["gap_low"], row["gap_high"]] in segments and [row["gap"]] in segments
    assert [row["gap_adjusted"]] in [list(line.get_xdata()) for line in adjusted.get_lines()]


def test_pareto_front(frame: pd.DataFrame) -> None:
    assert pareto_front([(1, 0.9), (2, 0.8), (2, 0.7), (3, 0.75), (0.5, 0.9), (4, 0.1)]) == [
        (1, 0.9),
        (2, 0.8),
        (3, 0.75),
        (4, 0.1),
    ]
    with plot_style():
        (axis,) = draw_pareto(_panels(frame)).axes
    assert axis.get_xscale() == "log" and len(axis.get_lines()) == 5 + 1


def test_references_are_not_on_the_pareto_front_but_the_whole_image_is(frame: pd.DataFrame) -> None:
    with plot_style():
        (axis,) = draw_pareto(_panels(frame)).axes
        front = axis.get_lines()[-1]
        best = max(frame[(frame["task"] == "shapes-cls") & (frame["selector"] == "ltrp.shapes")]["all"].dropna()[:3])
        assert best in front.get_ydata()
        (axis,) = draw_pareto(_panels(frame, roles=SelectorRoles({"ltrp.shapes": "reference"}))).axes
        assert best not in axis.get_lines()[-1].get_ydata()
        roles = SelectorRoles({"ltrp.shapes": "reference"}, frozenset({"ltrp.shapes"}))
        (axis,) = draw_pareto(_panels(frame, roles=roles)).axes
        assert best in axis.get_lines()[-1].get_ydata()
