"""Figures: what is drawn of which rows; that holes stay holes; the same bytes again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from ltrp_bench.results.leaderboard.build import load_board
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.report.figures import (
    KINDS,
    Drawing,
    chosen,
    draw_curves,
    draw_gaps,
    draw_pareto,
    drawings,
    pareto_front,
    read_board_csv,
    save,
)
from ltrp_bench.results.report.style import house_style, look_of
from ltrp_bench.results.schema.record import ResultsError


@pytest.fixture(scope="module")
def frame(module_world: Any) -> pd.DataFrame:
    world = module_world
    for place, name in enumerate(("ltrp.shapes", "evit.shapes0", "variance", "center", "random")):
        for ratio in (0.25, 0.5, 1.0):
            if (name, ratio) == ("evit.shapes0", 0.5):
                continue
            cost = {"selector_ms": 1.0 + place, "selector_gflops": 0.1, "model_ms": 10 * ratio}
            world.cell(name, ratio, 0.8 - 0.1 * place, 0.03 * place, task="shapes-cls", reduction="drop", cost=cost)
    world.cell("ltrp.shapes", 0.25, 0.8, task="shapes-coverage")
    return load_board(world.store.root).frame


def _of(frame: pd.DataFrame, kind: Any, task: str = "shapes-cls") -> Drawing:
    (found,) = (d for d in drawings(chosen(frame, [task], []), [kind], [], print) if d.kind == kind)
    return found


def test_what_can_be_drawn(frame: pd.DataFrame) -> None:
    told: list[str] = []
    found = drawings(frame, KINDS, [], told.append)
    assert [d.name for d in found] == [
        "curves-shapes-cls-coverage-drop",
        "gap-shapes-cls-coverage-drop-0.25",
        "gap-shapes-coverage-coverage-none-0.25",
        "pareto-shapes-cls-coverage-drop",
    ]
    assert any("one keep ratio alone (0.25)" in line for line in told)
    assert any("only models that get the kept patches alone claim speed" in line for line in told)
    assert [d.name[-3:] for d in drawings(frame, ["gap"], [0.5], told.append)] == ["0.5"]


def test_curves_have_bands_and_holes(frame: pd.DataFrame) -> None:
    with house_style():
        figure = draw_curves(_of(frame, "curves"))
    seen, unseen = figure.axes
    assert (seen.get_title(), unseen.get_title()) == ("seen", "unseen")
    lines = seen.get_lines()
    assert len(lines) == 5 and len(seen.collections) == 5
    evit = next(line for line in lines if line.get_color() == look_of("evit").on() and line.get_marker() == "s")
    values = list(evit.get_ydata())
    assert len(values) == 3 and math.isnan(values[1])
    assert "incomplete, with gaps: evit.shapes0" in figure._supxlabel.get_text()  # type: ignore[attr-defined]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["ltrp.shapes", "evit.shapes0", "variance", "center", "random"]


def test_gaps_have_whiskers_about_their_points(frame: pd.DataFrame) -> None:
    drawing = _of(frame, "gap")
    with house_style():
        plain, adjusted = draw_gaps(drawing).axes
    row = next(row for row in drawing.rows if row["selector"] == "evit.shapes0")
    segments = [list(line.get_xdata()) for line in plain.get_lines()]
    assert [row["gap_low"], row["gap_high"]] in segments and [row["gap"]] in segments
    assert [row["gap_adjusted"]] in [list(line.get_xdata()) for line in adjusted.get_lines()]


def test_pareto_marks_what_nothing_beats(frame: pd.DataFrame) -> None:
    assert pareto_front([(1, 0.9), (2, 0.8), (2, 0.7), (3, 0.75), (0.5, 0.9), (4, 0.1)]) == [
        (1, 0.9),
        (2, 0.8),
        (3, 0.75),
        (4, 0.1),
    ]
    with house_style():
        (axis,) = draw_pareto(_of(frame, "pareto")).axes
    assert axis.get_xscale() == "log" and len(axis.get_lines()) == 5 + 1


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files_are_the_same_again(frame: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    for kind in KINDS:
        drawing = _of(frame, kind)
        first = save(drawing, tmp_path / "a", suffix).read_bytes()
        assert first == save(drawing, tmp_path / "b", suffix).read_bytes()
        head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
        assert first.startswith(head) and len(first) > 2000
    if suffix == "png":
        with Image.open(next((tmp_path / "a").glob("curves*.png"))) as image:
            assert image.width > 900


def test_of_a_csv(frame: pd.DataFrame, tmp_path: Path) -> None:
    write_table(frame, tmp_path / "board.csv")
    back = read_board_csv(tmp_path / "board.csv")
    assert [d.name for d in drawings(back, KINDS, [], print)] == [d.name for d in drawings(frame, KINDS, [], print)]
    save(_of(back, "curves"), tmp_path, "png")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name, said in (("other.csv", "lacks the columns task"), ("none.csv", "is not there")):
        with pytest.raises(ResultsError, match=said):
            read_board_csv(tmp_path / name)


def test_names_and_ratios_that_are_not_there(frame: pd.DataFrame) -> None:
    assert set(chosen(frame, [], ["evit"])["selector"]) == {"evit.shapes0"}
    for tasks, selectors, said in (
        (["x"], [], "no task 'x'"),
        ([], ["x"], "no selector 'x' in the results; there are"),
    ):
        with pytest.raises(ResultsError, match=said):
            chosen(frame, tasks, selectors)
    with pytest.raises(ResultsError, match="no row to draw"):
        chosen(frame[:0], [], [])
    with pytest.raises(ResultsError, match=r"no keep ratio 0.3 in the results; there are 0.25, 0.5, 1"):
        drawings(frame, ["gap"], [0.3], print)
