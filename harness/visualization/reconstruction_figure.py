"""Figure of patch removal: visible patches, reconstructions with and without one of them, and pseudo scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ltrp_bench.harness.visualization.colormaps import (
    DIFFERENCE_COLORMAP,
    SCORES_COLORMAP,
    apply_colormap,
    blank,
    luma,
    to_uint8,
)
from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.harness.visualization.legend import ColorBar
from ltrp_bench.harness.visualization.panel_grid import Box, ColumnTitle, Panel, PanelGrid
from ltrp_bench.harness.visualization.reconstruction import Reconstruction, Removal
from ltrp_bench.harness.visualization.text_layout import Label
from ltrp_bench.results.report.style import COLOURS, Theme

COLUMNS: Final = ("image", "visible patches", "rebuilt", "rebuilt without it", "difference", "pseudo scores")

_REMOVED_COLOR = COLOURS["orange"]["light"]


def reconstruction_figure(
    images: Sequence[DisplayImage],
    reconstructions: Sequence[Reconstruction],
    *,
    theme: Theme = "light",
    width: float | None = None,
) -> PanelGrid:
    """Lays out the figure: one row for each removal of each image.

    Args:
        images: images, for their names.
        reconstructions: reconstruction of each image; the difference maps of one image share their color scale.
        theme: "light" or "dark", after the background.
        width: width in inches, see `PanelGrid`.
    """
    panels: list[Panel] = []
    for image, reconstruction in zip(images, reconstructions, strict=True):
        drawing = _Drawing(reconstruction, theme)
        for removal in reconstruction.removals:
            row = len(panels) // len(COLUMNS)
            panels += drawing.panels(removal, row, image.file_name)
    return PanelGrid(
        panels=panels,
        titles=[ColumnTitle(text=text, column=column) for column, text in enumerate(COLUMNS)],
        legend=[
            ColorBar(colormap=DIFFERENCE_COLORMAP, low="no difference", high="greatest of each image"),
            ColorBar(colormap=SCORES_COLORMAP, low="lowest score", high="highest of each image"),
        ],
        theme=theme,
        width=width,
    )


@dataclass
class _Drawing:
    """Panels of one reconstruction."""

    reconstruction: Reconstruction
    theme: Theme

    def panels(self, removal: Removal, row: int, name: str) -> list[Panel]:
        """Panels of one removal, in the order of `COLUMNS`."""
        one = self.reconstruction
        score, patches = one.scores[removal.position], one.grid[0] * one.grid[1]
        rank = 1 + int((one.scores > score).sum())
        box = [self._box(removal.position)]
        return [
            Panel(row=row, column=0, pixels=to_uint8(one.original), caption=name),
            Panel(
                row=row,
                column=1,
                pixels=self._visible_patches(),
                caption=f"{len(one.visible)} of {patches}",
                boxes=box,
            ),
            Panel(row=row, column=2, pixels=to_uint8(one.pixels), caption="from all of them"),
            Panel(
                row=row,
                column=3,
                pixels=self._without(removal),
                caption=f"without patch {removal.position}",
                boxes=box,
            ),
            Panel(row=row, column=4, pixels=self._difference(removal), caption=f"score {score:.4g}", boxes=box),
            Panel(
                row=row,
                column=5,
                pixels=self._pseudo_scores(),
                caption=f"rank {rank} of {len(one.visible)}",
                smooth=False,
                boxes=box,
                labels=self._numbers(),
            ),
        ]

    def _blank(self) -> np.ndarray:
        height, width = self.reconstruction.original.shape[:2]
        return blank(height, width, self.theme)

    def _patch(self, position: int) -> tuple[slice, slice]:
        """Rows and columns of pixels of a visible patch."""
        one = self.reconstruction
        row, column = divmod(int(one.visible[position]), one.grid[1])
        height, width = one.original.shape[0] // one.grid[0], one.original.shape[1] // one.grid[1]
        return slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)

    def _box(self, position: int) -> Box:
        rows, columns = self._patch(position)
        return Box(left=columns.start, top=rows.start, right=columns.stop, bottom=rows.stop, color=_REMOVED_COLOR)

    def _visible_patches(self) -> np.ndarray:
        pixels, original = self._blank(), to_uint8(self.reconstruction.original)
        for position in range(len(self.reconstruction.visible)):
            patch = self._patch(position)
            pixels[patch] = original[patch]
        return pixels

    def _without(self, removal: Removal) -> np.ndarray:
        pixels, patch = to_uint8(removal.pixels), self._patch(removal.position)
        pixels[patch] = self._blank()[patch]
        return pixels

    def _difference(self, removal: Removal) -> np.ndarray:
        visible = np.isnan(removal.difference)
        greatest = max(float(np.nanmax(each.difference)) for each in self.reconstruction.removals)
        pixels = apply_colormap(np.where(visible, 0, removal.difference), DIFFERENCE_COLORMAP, low=0, high=greatest)
        pixels[visible] = self._blank()[visible]
        return pixels

    def _score_colors(self) -> np.ndarray:
        """[n, 3] uint8 color of each visible patch."""
        return apply_colormap(self.reconstruction.scores, SCORES_COLORMAP)

    def _pseudo_scores(self) -> np.ndarray:
        pixels = self._blank()
        for position, color in enumerate(self._score_colors()):
            pixels[self._patch(position)] = color
        return pixels

    def _numbers(self) -> list[Label]:
        """Position of each visible patch, written on it in black or white, whichever is legible."""
        labels = []
        for position, dark in enumerate(luma(self._score_colors()) < 128):
            rows, columns = self._patch(position)
            center = (columns.start + columns.stop) / 2 - 0.5, (rows.start + rows.stop) / 2 - 0.5
            color = "white" if dark else "black"
            labels.append(Label(text=str(position), positions=[center], color=color, size=4.0, centered=True))
        return labels
