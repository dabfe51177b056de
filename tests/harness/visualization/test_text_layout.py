"""Captions fit their panels, names of objects hide neither each other nor the objects."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.harness.visualization.panel_grid import LEAST_PANEL, Head, Panel, Scale, Sheet, coloured
from ltrp_bench.harness.visualization.score_figure import score_sheet
from ltrp_bench.harness.visualization.text_layout import LEAST_TEXT, Note, fitted, placed, text_width
from ltrp_bench.results.report.style import plot_style, style_of


def test_lines_are_set_smaller_then_cut() -> None:
    assert fitted("scores", 1.0, 7) == ("scores", 7)
    text, size = fitted("attention-rollout", 0.7, 7)
    assert text == "attention-rollout" and LEAST_TEXT <= size < 7
    text, size = fitted("my_package.my_module:MyOwnSelector", 0.8, 7)
    assert size == LEAST_TEXT and text_width(text, size) <= 0.8
    assert text.startswith("my_") and text.endswith("tor") and text.count("…") == 1
    assert (
        text_width("wide", 10, bold=True) > text_width("wide", 10) == pytest.approx(2 * text_width("wide", 5), rel=0.1)
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 7), (1, 10)])
def test_all_text_stays_on_the_page_and_beside_other_text(rows: int, columns: int) -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    names = ["my_package.my_module:MyOwnSelector", "attention-rollout", "ltrp-cluster.photos"]
    panels = [Panel(r, c, pixels, f"r = 0.25: {10**c} of 144") for r in range(rows) for c in range(columns)]
    heads = [Head(c, 1, names[c % 3], style_of(names[c % 3])) for c in range(columns)]
    lines = [(style_of("ltrp"), "seen category"), (style_of("evit"), "unseen category")]
    with plot_style():
        figure = Sheet(panels, heads, [Scale("viridis", "lowest score", "highest score of each map")], lines).figure()
        figure.canvas.draw()
        page = figure.bbox
        boxes = [text.get_window_extent() for text in figure.texts]
    wide = figure.get_figwidth()
    assert wide >= LEAST_PANEL * columns and (wide <= 7.001 or columns > 8)
    for i, box in enumerate(boxes):
        assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, figure.texts[i].get_text()
        assert box.x0 >= page.x0 - 2 and box.x1 <= page.x1 + 2, figure.texts[i].get_text()
        for j in range(i):
            other = boxes[j]
            apart = box.x0 > other.x1 - 1 or other.x0 > box.x1 - 1 or box.y0 > other.y1 - 2 or other.y0 > box.y1 - 2
            assert apart, (figure.texts[i].get_text(), figure.texts[j].get_text())


def test_names_hide_neither_each_other_nor_objects() -> None:
    mask = np.zeros((96, 96), bool)
    mask[40:60, 40:60] = True
    above, below = (40.0, 39.0), (40.0, 70.0)
    notes = [Note([above, below], "first", "black"), Note([above, below], "second", "black")]
    spots = [spot for _, spot in placed(notes, [mask], mask.shape, 96)]
    assert spots == [above, below]
    assert placed([*notes, Note([above, below], "third", "black")], [mask], mask.shape, 96)[2:] == []
    # On the object itself a name would hide it, on another one it would seem to name that.
    assert placed([Note([(42.0, 58.0)], "on it", "black", about=0)], [mask], mask.shape, 96) == []
    large, small = np.ones((96, 96), bool), np.zeros((96, 96), bool)
    small[80:90, 5:15] = True
    ((_, spot),) = placed([Note([(42.0, 58.0)], "sky", "black", about=0)], [large], mask.shape, 96)
    assert spot == (42.0, 58.0)
    assert placed([Note([(42.0, 58.0)], "kite", "black", about=1)], [large, small], mask.shape, 96) == []
    # At the rim it is moved inside.
    ((_, spot),) = placed([Note([(95.0, 0.0)], "corner", "black")], [], (96, 96), 96)
    assert spot[0] + text_width("corner", 5) * 96 < 96 and spot[1] > 5


def test_equal_values_have_the_middle_colour() -> None:
    flat, ends = coloured(np.full((2, 2), 3.0), "viridis"), coloured(np.array([0.0, 0.5, 1.0]), "viridis")
    assert (flat == ends[1]).all() and (ends[0] != ends[2]).any()


def test_a_figure_of_nothing_known_needs_no_legend() -> None:
    assert score_sheet([], [], "row").lines == []
