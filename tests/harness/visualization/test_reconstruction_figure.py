"""The figure of patch removal shows each removal in a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.harness.visualization.reconstruction import reconstruct
from ltrp_bench.harness.visualization.reconstruction_figure import COLUMNS, reconstruction_figure
from ltrp_bench.results.report.style import plot_style

PATCH, SIDE = 8, 12


def on_pixels(patches: np.ndarray) -> np.ndarray:
    mask = np.zeros(SIDE * SIDE, bool)
    mask[patches] = True
    return mask.reshape(SIDE, SIDE).repeat(PATCH, 0).repeat(PATCH, 1)


def test_the_figure_shows_each_removal(teacher: Any, display_images: list[DisplayImage]) -> None:
    reconstructions = reconstruct(teacher(), display_images, [], seed=0, device="cpu")
    grid = reconstruction_figure(display_images, reconstructions)
    with plot_style():
        figure = grid.figure()
        texts = [text.get_text() for text in figure.texts]
    assert sum(axes.get_gid() == "panel" for axes in figure.axes) == 4 * len(COLUMNS)
    assert texts.count("rank 1 of 14") == texts.count("rank 14 of 14") == 2
    for one in reconstructions:
        for removal in one.removals:
            assert f"score {one.scores[removal.position]:.4g}" in texts
            assert f"without patch {removal.position}" in texts
    one, row = reconstructions[0], [panel for panel in grid.panels if panel.row == 0]
    visible, removed = on_pixels(one.visible), on_pixels(one.visible[[one.removals[0].position]])
    anchor, without, difference = row[1].pixels, row[3].pixels, row[4].pixels
    np.testing.assert_array_equal(anchor[visible], display_images[0].sample.image[visible])
    assert (anchor[~visible] == 225).all() and (without[removed] == 225).all() and (difference[visible] == 225).all()
    assert (without[visible & ~removed] == anchor[visible & ~removed]).all()
    # Both rows share the color scale of differences: those of the least important patch stay dark.
    assert difference[~visible].mean() > 3 * grid.panels[len(COLUMNS) + 4].pixels[~visible].mean()
    numbers = [label.text for label in row[5].labels]
    assert numbers == [str(position) for position in range(14)]
