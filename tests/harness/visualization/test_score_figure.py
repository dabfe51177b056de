"""The figure of score maps has a panel for everything, and each panel shows its scores or kept pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.harness.visualization.colormaps import apply_colormap
from ltrp_bench.harness.visualization.images import load_image_files
from ltrp_bench.harness.visualization.legend import ColorBar
from ltrp_bench.harness.visualization.score_figure import ScoreFigureOptions, score_figure
from ltrp_bench.harness.visualization.selections import build_selectors, select_patches
from ltrp_bench.results.report.style import plot_style
from ltrp_bench.tasks.base import Downsample


@pytest.mark.parametrize(("layout", "rows"), [("row", 2), ("block", 6)])
def test_the_figure_has_a_panel_for_everything(world: Any, layout: Any, rows: int) -> None:
    selections = [world.selections[name] for name in ("ltrp.shapes", "random", "full")]
    with plot_style():
        figure = score_figure(world.images, selections, ScoreFigureOptions(layout=layout)).figure()
        panels = [axes for axes in figure.axes if axes.get_gid() == "panel"]
        texts = [text.get_text() for text in figure.texts]
    # An image and its objects; scores and two keep ratios of two selectors; scores and one keep ratio of `full`.
    assert len(panels) == 2 * (2 + 3 + 3 + 2)
    assert len({round(axes.get_position().y1, 6) for axes in panels}) == rows
    assert [t for t in texts if t in ("ltrp.shapes", "random", "full")] == ["ltrp.shapes", "random", "full"]
    assert texts.count("r = 0.25: 36 of 144") == 4 and texts.count("all scores equal") == 2
    assert "seen category" in texts and "unseen category" in texts


def test_panels_show_the_scores_and_the_kept_pixels(world: Any) -> None:
    image, selection = world.images[0], world.selections["ltrp.shapes"][0]
    grid = score_figure(world.images, [world.selections["ltrp.shapes"]], ScoreFigureOptions(layout="row"))
    _, _, scores, kept, _ = [panel for panel in grid.panels if panel.row == 0]
    # 12 x 12 patches of 8 pixels, each of one color; the best patch has the last color of the map.
    assert (scores.pixels == scores.pixels[::8, ::8].repeat(8, 0).repeat(8, 1)).all()
    best = np.unravel_index(selection.scores.argmax(), (12, 12))
    assert (scores.pixels[8 * best[0], 8 * best[1]] == apply_colormap(np.array([0.0, 1.0]), "viridis")[1]).all()
    mask = selection.reduced[0.25].mask.repeat(8, 0).repeat(8, 1)
    assert (kept.pixels[mask] == image.pixels[mask]).all()
    dropped = kept.pixels[~mask].astype(int)
    assert (np.ptp(dropped, axis=-1) == 0).all() and dropped.min() > 170  # gray and pale


def test_by_rank_only_the_order_of_scores_matters(world: Any) -> None:
    selection = world.selections["ltrp.shapes"][0]
    other = replace(selection, scores=np.exp(5 * selection.scores))
    image, by_rank = world.images[:1], ScoreFigureOptions(color_by="rank")
    ranks = [score_figure(image, [[each]], by_rank).panels[2] for each in (selection, other)]
    scores = [score_figure(image, [[each]]).panels[2] for each in (selection, other)]
    assert (ranks[0].pixels == ranks[1].pixels).all() and (scores[0].pixels != scores[1].pixels).any()
    assert (ranks[0].caption, scores[0].caption) == ("ranks", "scores")


def test_downsample_is_shown_as_the_smaller_image(image_file: Path) -> None:
    images = load_image_files([image_file], (4, 4), [])
    (entry,) = build_selectors(Request(selectors=("downsample",), tasks=()), pytest.fail)
    selections = select_patches(entry, images, (0.25,), seed=0, device="cpu")
    assert selections[0].scores is None and selections[0].reduced == {0.25: Downsample(0.25)}
    panels = score_figure(images, [selections]).panels
    assert panels[1].caption == "no scores"
    assert panels[-1].caption == "r = 0.25: 30x20 pixels" and panels[-1].pixels.shape == (40, 60, 3)
    assert (panels[-1].pixels == panels[-1].pixels[::2, ::2].repeat(2, 0).repeat(2, 1)).all()


def test_the_legend_names_only_states_that_occur() -> None:
    (bar,) = score_figure([], [], ScoreFigureOptions(layout="row")).legend
    assert bar == ColorBar(colormap="viridis", low="lowest score", high="highest score of each map")
