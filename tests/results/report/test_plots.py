"""Plots: what is drawn for which rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.roles import BUILT_IN_ROLES, SelectorRoles
from ltrp_bench.results.report.plots import Panels, draw_curves, draw_gaps, draw_pareto
from ltrp_bench.results.report.style import figure_bytes, plot_style, style_of


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


@pytest.fixture
def exposed(frame: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard, with a selector whose labels contain four of the five unseen categories."""
    frame = frame.assign(split_by="imagenet1k", seen_categories=75, unseen_categories=5, unseen_objects=60)
    marked = frame["selector"] == "evit.shapes0"
    frame = frame.assign(unseen_measured=5, exposed_unseen=np.where(marked, 0.8, 0.0))
    frame.loc[marked, ["unseen_rank", "unseen_rank_last", "gap_adjusted"]] = math.nan
    return frame.assign(
        supervision=np.where(marked, "imagenet21k+imagenet1k", "self"),
        exposure=np.where(marked, "exposed", "none"),
        exposed_categories=np.where(marked, "a; b; c; kite (narrow)", ""),
    )


NOTES = (
    "5 categories are few: their mean says little about unseen categories in general "
    "† evit.shapes0: labels of imagenet21k+imagenet1k contain 4 (1 narrow) of the 5 categories called unseen: a, b, c, "
    "kite (narrow); not ranked on unseen"
)


def test_curves_of_exposed_selectors(frame: pd.DataFrame, exposed: pd.DataFrame) -> None:
    with plot_style():
        figure, before = draw_curves(_panels(exposed)), draw_curves(_panels(frame))
    assert figure._suptitle.get_text() == (  # type: ignore[attr-defined]
        "title\nunseen by imagenet1k: 5 of 80 categories, 60 objects"
    )
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["ltrp.shapes", "evit.shapes0 †", "variance", "center", "random"]
    notes = figure._supxlabel.get_text()  # type: ignore[attr-defined]
    assert " ".join(notes.splitlines()) == f"{NOTES} incomplete, with gaps: evit.shapes0"
    # Markers are hollow on unseen categories only.
    for axis, hollow in zip(figure.axes, (0, 1), strict=True):
        assert sum(line.get_markerfacecolor() == "white" for line in axis.get_lines()) == hollow
    assert figure.get_figheight() > before.get_figheight()
    assert before._suptitle.get_text().startswith("title\nunseen by imagenet1k: 1 of 2")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (["variance"], "the control center was\nnot measured"),
        ([], "the controls variance and center were\nnot measured"),
        (["variance", "center"], "no row has an adjusted gap"),
    ],
)
def test_gaps_name_the_controls_that_are_missing(frame: pd.DataFrame, left: list[str], text: str) -> None:
    kept = frame["selector"].isin(left) | ~frame["selector"].isin(["variance", "center"])
    with plot_style():
        adjusted = draw_gaps(_panels(frame[kept].assign(gap_adjusted=math.nan), 0.25)).axes[1]
    assert [one.get_text() for one in adjusted.texts] == [text]


def test_gaps_of_exposed_selectors_are_pale(exposed: pd.DataFrame) -> None:
    with plot_style():
        figure = draw_gaps(_panels(exposed, 0.25))
    plain, adjusted = figure.axes
    labels = [text.get_text() for text in plain.get_yticklabels()]
    assert labels == ["random", "center", "variance", "evit.shapes0 †", "ltrp.shapes"]
    lines = plain.get_lines()[1:]  # the first is at 0
    assert [line.get_alpha() for line in lines[::2]] == [1.0, 1.0, 1.0, 0.4, 1.0]
    assert [line.get_markerfacecolor() == "white" for line in lines[1::2]] == [False, False, False, True, False]
    assert math.isnan(next(iter(adjusted.get_lines()[8].get_xdata())))
    assert " ".join(figure._supxlabel.get_text().split()) == NOTES  # type: ignore[attr-defined]


def test_marks_have_glyphs(exposed: pd.DataFrame, recwarn: pytest.WarningsRecorder) -> None:
    exposed.loc[exposed["selector"] == "center", "exposure"] = "open"
    with plot_style():
        figure_bytes(draw_gaps(_panels(exposed, 0.25)), ".svg")
    assert not [one for one in recwarn if "missing from font" in str(one.message)]


def test_pareto_plots_have_curves_and_a_front(frame: pd.DataFrame) -> None:
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


def _timed(frame: pd.DataFrame, whole: float = 0.99) -> pd.DataFrame:
    """Latencies of 2 ms a unit of keep ratio, and the whole image at 4 ms with the value `whole`."""
    rows = frame[(frame["task"] == "shapes-cls") & frame["keep_ratio"].notna()]
    full = rows.iloc[:1].assign(selector="full", selector_id="f", keep_ratio=1.0, all=whole)
    timed = pd.concat([rows, full], ignore_index=True)
    both = 2 * timed["keep_ratio"].where(timed["selector"] != "full", 2.0)
    return timed.assign(
        latency_both_ms=both,
        latency_whole_ms=4.0,
        throughput_both_b8=1000 / both,
        throughput_whole_b8=250.0,
        latency_device="a device",
    )


def test_pareto_figures_have_a_panel_for_each_cost_and_the_whole_image(frame: pd.DataFrame) -> None:
    with plot_style():
        figure = draw_pareto(_panels(_timed(frame)))
    latency, throughput = figure.axes
    assert latency.get_xlabel() == "milliseconds at batch size 1 (selector and model)"
    assert throughput.get_xlabel() == "images per second in batches of 8 (selector and model)"
    for axis, whole, best in ((latency, 4.0, 0.5), (throughput, 250.0, 2000.0)):
        vertical, horizontal, *curves = axis.get_lines()
        assert list(vertical.get_xdata()) == [whole] * 2 and list(horizontal.get_ydata()) == [0.99] * 2
        assert len(curves) == 6 + 1
        ring = dict(zip(curves[-1].get_xdata(), curves[-1].get_ydata(), strict=True))
        assert best in ring and ring[whole] == 0.99  # the fastest, and the whole image, which is best
    note = figure._supxlabel.get_text()  # type: ignore[attr-defined]
    assert note.startswith("measured on a device; rings: Pareto front; dotted: whole image")


def test_pareto_figures_show_the_cost_that_was_asked_for(frame: pd.DataFrame) -> None:
    timed = _timed(frame)
    with plot_style():
        (axis,) = draw_pareto(replace(_panels(timed), costs=("latency",))).axes
        assert axis.get_xlabel().startswith("milliseconds")
        assert [axis.get_lines()[0].get_xdata()[0], axis.get_lines()[-1].get_xdata()[0]] == [4.0, 4.0]


def test_figures_of_groups(frame: pd.DataFrame) -> None:
    shown = replace(_panels(frame), groups=("all",))
    with plot_style():
        (axis,) = draw_curves(shown).axes
    ltrp = frame[(frame["task"] == "shapes-cls") & (frame["selector"] == "ltrp.shapes") & frame["keep_ratio"].notna()]
    assert axis.get_title() == "all" and list(axis.get_lines()[0].get_ydata()) == list(ltrp["all"])
    with plot_style():
        (axis,) = draw_pareto(replace(_panels(frame), groups=("unseen",))).axes
    assert list(axis.get_lines()[0].get_ydata()) == list(ltrp["unseen"])
    assert axis.get_ylabel() == "coverage on unseen categories"


def test_without_its_own_time_the_whole_image_is_where_other_rows_saw_it(frame: pd.DataFrame) -> None:
    timed = _timed(frame)
    timed.loc[timed["selector"] == "full", "latency_both_ms"] = math.nan
    timed.loc[timed["selector"] == "random", "latency_whole_ms"] = 100.0  # an outlier
    with plot_style():
        (axis,) = draw_pareto(replace(_panels(timed), costs=("latency",))).axes
    assert list(axis.get_lines()[0].get_xdata()) == [4.0, 4.0]
