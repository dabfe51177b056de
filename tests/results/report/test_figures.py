"""Figures: which ones are drawn from which rows, and equal bytes for equal figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from ltrp_bench.results.leaderboard.build import COLUMNS, load_leaderboard
from ltrp_bench.results.leaderboard.csv_files import read_all_columns
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.report.figures import (
    KINDS,
    FigureOptions,
    FigureSpec,
    Format,
    Kind,
    plan_figures,
    save_figure,
    select_rows,
)
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.selectors.errors import UsageError


def _spec(frame: pd.DataFrame, kind: Kind, task: str = "shapes-cls") -> FigureSpec:
    (found,) = plan_figures(frame, FigureOptions(kinds=(kind,), tasks=(task,)), notice=print)
    return found


def test_all_figures(frame: pd.DataFrame) -> None:
    notices: list[str] = []
    found = plan_figures(frame, FigureOptions(), notice=notices.append)
    assert [(spec.kind, spec.name) for spec in found] == [
        ("curves", "curves-shapes-cls-coverage-drop"),
        ("gap", "gap-shapes-cls-coverage-drop-0.25"),
        ("gap", "gap-shapes-coverage-coverage-none-0.25"),
        ("pareto", "pareto-shapes-cls-coverage-drop"),
    ]
    assert [spec.panels.title for spec in found][:2] == ["shapes-cls (drop)", "shapes-cls (drop), keep ratio 0.25"]
    assert notices == [
        "no curves of shapes-coverage (none): it has a single keep ratio (0.25)",
        "no pareto figure of shapes-coverage (none): only the reduction drop makes models faster",
    ]


def test_pareto_figures_of_one_cost(frame: pd.DataFrame) -> None:
    notices: list[str] = []
    (spec,) = plan_figures(frame, FigureOptions(kinds=("pareto",), costs=("throughput",)))
    assert spec.name == "pareto-throughput-shapes-cls-coverage-drop" and spec.panels.costs == ("throughput",)
    found = plan_figures(frame, FigureOptions(kinds=("pareto",), costs=("latency",)), notice=notices.append)
    assert found == []
    assert notices[0] == ("no pareto figure of shapes-cls (drop): no latency was measured; `ltrp-bench latency` does")
    timed = frame.assign(latency_both_ms=1.0)
    (spec,) = plan_figures(timed, FigureOptions(kinds=("pareto",)))
    assert spec.name == "pareto-shapes-cls-coverage-drop" and spec.panels.costs == ("latency", "throughput")


def test_figures_of_groups_and_metrics(frame: pd.DataFrame) -> None:
    notices: list[str] = []
    options = FigureOptions(tasks=("shapes-cls",), groups=("unseen", "all"))
    found = plan_figures(frame, options, notice=notices.append)
    assert [(spec.name, spec.panels.groups) for spec in found] == [
        ("curves-shapes-cls-coverage-drop-all-unseen", ("all", "unseen")),
        ("pareto-shapes-cls-coverage-drop-unseen", ("unseen",)),
        ("pareto-shapes-cls-coverage-drop-all", ("all",)),
    ]
    assert notices == ["no gap figure of shapes-cls (drop): a gap compares the groups seen and unseen"]
    both = FigureOptions(tasks=("shapes-cls",), kinds=("gap",), groups=("seen", "unseen"))
    assert [spec.kind for spec in plan_figures(frame, both)] == ["gap"]
    two = pd.concat([frame, frame.assign(metric="top5")])
    (spec,) = plan_figures(two, FigureOptions(kinds=("curves",), metrics=("top5",)))
    assert spec.name == "curves-shapes-cls-top5-drop" and spec.panels.metric == "top5"
    with pytest.raises(UsageError, match="no cell has the metric 'top1'; did you mean 'top5'"):
        plan_figures(two, FigureOptions(metrics=("top1",)))


def test_gap_figures_of_given_keep_ratios(frame: pd.DataFrame) -> None:
    found = plan_figures(frame, FigureOptions(kinds=("gap",), keep_ratios=(0.5, 1.0)))
    assert [spec.name[-4:] for spec in found] == ["-0.5", "op-1"]
    assert {row["keep_ratio"] for row in found[0].panels.rows} == {0.5}


def test_selectors_that_keep_every_patch_have_no_gap(world: Any) -> None:
    world.cell("ltrp", 1.0, 0.5)
    world.cell("full", 1.0, 0.5)
    frame = load_leaderboard(world.store.root).frame
    (spec,) = plan_figures(frame, FigureOptions(kinds=("gap",)))
    assert [row["selector"] for row in spec.panels.rows] == ["ltrp"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_figures_have_equal_bytes(frame: pd.DataFrame, tmp_path: Path, suffix: Format) -> None:
    for kind in KINDS:
        spec = _spec(frame, kind)
        first = save_figure(spec, tmp_path / "a", suffix).read_bytes()
        assert first == save_figure(spec, tmp_path / "b", suffix).read_bytes()
        head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
        assert first.startswith(head) and len(first) > 2000
    if suffix == "png":
        with Image.open(next((tmp_path / "a").glob("curves*.png"))) as image:
            assert image.width > 900


def test_csv_files_give_the_same_figures(frame: pd.DataFrame, tmp_path: Path) -> None:
    write_table(frame, tmp_path / "table.csv")
    back = read_all_columns(tmp_path / "table.csv", COLUMNS)
    names = [spec.name for spec in plan_figures(frame, FigureOptions())]
    assert [spec.name for spec in plan_figures(back, FigureOptions())] == names
    for kind in KINDS:
        one = save_figure(_spec(back, kind), tmp_path / "a").read_bytes()
        assert one == save_figure(_spec(frame, kind), tmp_path / "b").read_bytes()


def test_unknown_names_and_ratios(frame: pd.DataFrame) -> None:
    assert set(select_rows(frame, FigureOptions(selectors=("evit",)))["selector"]) == {"evit.shapes0"}
    for options, message in (
        (FigureOptions(tasks=("x",)), "no task 'x' in the results; there are shapes-cls, shapes-coverage"),
        (
            FigureOptions(selectors=("x",)),
            "no selector 'x' in the results; there are center, evit.shapes0, ltrp.shapes",
        ),
        (FigureOptions(keep_ratios=(0.3,)), r"no keep ratio 0.3 in the results; there are 0.25, 0.5, 1"),
    ):
        with pytest.raises(UsageError, match=message):
            plan_figures(frame, options)
    with pytest.raises(ResultsError, match="the leaderboard has no rows to draw"):
        plan_figures(frame[:0], FigureOptions())


def test_nothing_is_drawn_of_a_metric_over_nothing(frame: pd.DataFrame) -> None:
    empty = frame.assign(**dict.fromkeys(("all", "seen", "unseen", "gap"), float("nan")))
    notices: list[str] = []
    assert plan_figures(empty, FigureOptions(tasks=("shapes-cls",)), notice=notices.append) == []
    assert notices == [
        "no curves of shapes-cls (drop): nothing to measure: no object or label counts",
        "no gap figure of shapes-cls (drop) at keep ratio 0.25: no row has values on both seen and unseen",
        "no pareto figure of shapes-cls (drop): nothing to measure: no object or label counts",
    ]
