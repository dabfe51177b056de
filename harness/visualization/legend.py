"""Legend below a figure: color bars and line samples, as many in a row as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ltrp_bench.harness.visualization.text_layout import LINE_HEIGHT, text_width
from ltrp_bench.results.report.style import COLOURS, SeriesStyle, Theme

ROW_HEIGHT: Final = 1.3 * LINE_HEIGHT
"""Height of a row of the legend in inches."""

# Inches.
_PADDING = 0.07  # between the parts of an entry
_SPACING = 0.17  # between entries
_BAR_WIDTH = 0.5
_SAMPLE_WIDTH = 0.27


@dataclass(frozen=True, kw_only=True)
class ColorBar:
    """A color map and the meaning of its ends.

    Attributes:
        colormap: a name known to matplotlib.
        low, high: texts at its ends.
    """

    colormap: str
    low: str
    high: str

    def width(self, font_size: float) -> float:
        """Width in inches, with the space after it."""
        texts = text_width(self.low, font_size) + text_width(self.high, font_size)
        return texts + _BAR_WIDTH + 2 * _PADDING + _SPACING


@dataclass(frozen=True, kw_only=True)
class LineSample:
    """A line style and its meaning."""

    style: SeriesStyle
    text: str

    def width(self, font_size: float) -> float:
        """Width in inches, with the space after it."""
        return _SAMPLE_WIDTH + _PADDING + text_width(self.text, font_size) + _SPACING


LegendEntry = ColorBar | LineSample


def legend_rows(entries: Sequence[LegendEntry], width: float, font_size: float) -> list[list[LegendEntry]]:
    """Distributes entries over rows of at most `width` inches, in order."""
    rows: list[list[LegendEntry]] = []
    left = 0.0
    for entry in entries:
        own = entry.width(font_size)
        if not rows or own > left:
            rows.append([])
            left = width
        rows[-1].append(entry)
        left -= own
    return rows


def draw_legend_row(
    figure: Figure, row: Sequence[LegendEntry], *, x: float, y: float, font_size: float, theme: Theme
) -> None:
    """Draws a row of the legend.

    Args:
        figure: where to draw.
        row: entries from left to right.
        x, y: left end and vertical middle of the row, in inches from the lower left corner of the figure.
        font_size: font size in points.
        theme: background that the figure is made for.
    """
    width, height = figure.get_size_inches()
    text_style: dict[str, Any] = {
        "ha": "left",
        "va": "center",
        "fontsize": font_size,
        "color": COLOURS["ink"][theme],
        "gid": "legend",
    }
    for entry in row:
        end = x + entry.width(font_size)
        if isinstance(entry, ColorBar):
            figure.text(x / width, y / height, entry.low, **text_style)
            x += text_width(entry.low, font_size) + _PADDING
            place = (x / width, (y - 0.3 * LINE_HEIGHT) / height, _BAR_WIDTH / width, 0.6 * LINE_HEIGHT / height)
            axes = figure.add_axes(place, gid="color bar")
            axes.set_axis_off()
            axes.imshow(np.linspace(0, 1, 64)[None], cmap=entry.colormap, aspect="auto")
            figure.text((x + _BAR_WIDTH + _PADDING) / width, y / height, entry.high, **text_style)
        else:
            line = {**entry.style.plot_options(theme), "marker": "none", "linewidth": 1.2}
            figure.add_artist(Line2D([x / width, (x + _SAMPLE_WIDTH) / width], [y / height] * 2, **line))
            figure.text((x + _SAMPLE_WIDTH + _PADDING) / width, y / height, entry.text, **text_style)
        x = end
