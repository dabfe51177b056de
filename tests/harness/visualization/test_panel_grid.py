"""Panels, titles and legend stay on the page and beside each other."""

from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.harness.visualization.legend import ColorBar, LineSample
from ltrp_bench.harness.visualization.panel_grid import (
    MIN_PANEL,
    TEXT_WIDTH,
    Box,
    ColumnTitle,
    Contour,
    Panel,
    PanelGrid,
)
from ltrp_bench.results.report.style import plot_style, style_of


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 7), (1, 10)])
def test_all_text_stays_on_the_page_and_beside_other_text(rows: int, columns: int) -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    names = ["my_package.my_module:MyOwnSelector", "attention-rollout", "ltrp-cluster.photos"]
    panels = [
        Panel(row=r, column=c, pixels=pixels, caption=f"r = 0.25: {10**c} of 144")
        for r in range(rows)
        for c in range(columns)
    ]
    titles = [ColumnTitle(text=names[c % 3], column=c, style=style_of(names[c % 3])) for c in range(columns)]
    legend = [
        ColorBar(colormap="viridis", low="lowest score", high="highest score of each map"),
        LineSample(style=style_of("ltrp"), text="seen category"),
        LineSample(style=style_of("evit"), text="unseen category"),
    ]
    with plot_style():
        figure = PanelGrid(panels=panels, titles=titles, legend=legend).figure()
        figure.canvas.draw()
        page = figure.bbox
        boxes = [text.get_window_extent() for text in figure.texts]
    width = figure.get_figwidth()
    assert width >= MIN_PANEL * columns and (width <= TEXT_WIDTH + 0.001 or columns > 8)
    for i, box in enumerate(boxes):
        assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, figure.texts[i].get_text()
        assert box.x0 >= page.x0 - 2 and box.x1 <= page.x1 + 2, figure.texts[i].get_text()
        for j in range(i):
            other = boxes[j]
            apart = box.x0 > other.x1 - 1 or other.x0 > box.x1 - 1 or box.y0 > other.y1 - 2 or other.y0 > box.y1 - 2
            assert apart, (figure.texts[i].get_text(), figure.texts[j].get_text())


def test_the_width_of_the_figure_can_be_given() -> None:
    panels = [Panel(column=column, pixels=np.zeros((10, 20, 3), np.uint8)) for column in range(3)]
    with plot_style():
        assert PanelGrid(panels=panels, width=3.5).figure().get_figwidth() == pytest.approx(3.5)
        # By default as wide as the text of a paper, unless panels would be larger than 1.6 inches.
        assert PanelGrid(panels=panels).figure().get_figwidth() == pytest.approx(2 * 0.05 + 3 * 1.6 + 2 * 0.06)
        assert PanelGrid(panels=panels[:1]).figure().get_figwidth() == pytest.approx(0.1 + 1.6)


def test_contours_and_boxes_have_a_white_rim() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:4, :4] = True
    panel = Panel(
        pixels=np.zeros((10, 10, 3), np.uint8),
        contours=[Contour(mask=mask, color="#ff0000")],
        boxes=[Box(left=2, top=3, right=5, bottom=7, color="#00ff00")],
    )
    with plot_style():
        (axes,) = PanelGrid(panels=[panel]).figure().axes
    colors = [collection.get_edgecolor()[0].tolist() for collection in axes.collections]
    assert colors == [[1, 1, 1, 1], [1, 0, 0, 1]]
    assert [patch.get_bbox().bounds for patch in axes.patches] == [(1.5, 2.5, 3, 4)] * 2
    # The outline of an object in the corner is closed there: it runs outside of the image.
    assert axes.collections[0].get_paths()[0].vertices.min() == -0.5


def test_the_same_figure_is_the_same_file() -> None:
    grid = PanelGrid(panels=[Panel(pixels=np.zeros((8, 8, 3), np.uint8), caption="a")], theme="dark")
    for suffix, begins in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF-")):
        assert grid.encode(suffix, 60).startswith(begins)
        assert grid.encode(suffix, 60) == grid.encode(suffix, 60)
