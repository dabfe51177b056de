"""Grid of small images with captions, column titles and a legend: the layout of every figure of `show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ltrp_bench.harness.visualization.legend import ROW_HEIGHT, LegendEntry, draw_legend_row, legend_rows
from ltrp_bench.harness.visualization.text_layout import LINE_HEIGHT, Label, fit_text, place_labels, text_width
from ltrp_bench.results.report.style import BACKGROUND, COLOURS, Dash, SeriesStyle, Theme, figure_bytes, plot_style

FONT_SIZE: Final = 6.5
"""Font size of captions in points; figures are made to be printed at their own size."""

MIN_PANEL: Final = 0.8
MAX_PANEL: Final = 1.6
"""Smallest and largest width of a panel in inches, unless the width of the figure is given."""

TEXT_WIDTH: Final = 7.0
"""Default width of a figure in inches: the text width of a two-column paper."""

# Inches.
_GAP = 0.06
_MARGIN = 0.05

_MAX_ASPECT = 1.8  # height / width of a row of panels; taller images are drawn narrower


@dataclass(frozen=True, kw_only=True)
class Contour:
    """Outline of an object on a panel.

    Attributes:
        mask: [h, w] bool.
        color: color of the line.
        dash: lengths on and off, in line widths; () is solid.
    """

    mask: np.ndarray
    color: str
    dash: Dash = ()


@dataclass(frozen=True, kw_only=True)
class Box:
    """Rectangle on a panel: its sides in pixels, and its color."""

    left: float
    top: float
    right: float
    bottom: float
    color: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One image of the grid.

    Attributes:
        row, column: position in the grid.
        pixels: [h, w, 3] uint8.
        caption: line of text below the image.
        smooth: True to interpolate, as for photographs; False keeps the edges of patches sharp.
        contours: outlines on the image.
        boxes: rectangles on the image.
        labels: texts on the image.
    """

    row: int = 0
    column: int = 0
    pixels: np.ndarray
    caption: str = ""
    smooth: bool = True
    contours: Sequence[Contour] = ()
    boxes: Sequence[Box] = ()
    labels: Sequence[Label] = ()


@dataclass(frozen=True, kw_only=True)
class ColumnTitle:
    """Title above the first row.

    Attributes:
        text: the title.
        column: first column below it.
        span: number of columns below it.
        style: style of a selector, whose marker is drawn before the text; None for no marker.
    """

    text: str
    column: int
    span: int = 1
    style: SeriesStyle | None = None


@dataclass(frozen=True, kw_only=True)
class PanelGrid:
    """Panels, titles and legend of a figure.

    Attributes:
        panels: panels in any order; a position may stay empty.
        titles: column titles.
        legend: entries of the legend below the panels.
        theme: "light" or "dark", after the background that the figure is made for.
        width: width of the figure in inches. None takes `TEXT_WIDTH`, or more or less than that to keep the panels
            between `MIN_PANEL` and `MAX_PANEL`.
    """

    panels: Sequence[Panel]
    titles: Sequence[ColumnTitle] = ()
    legend: Sequence[LegendEntry] = ()
    theme: Theme = "light"
    width: float | None = None

    def figure(self) -> Figure:
        """Draws the figure; call it inside `plot_style`."""
        columns = 1 + max(panel.column for panel in self.panels)
        panel_width = self._panel_width(columns)
        row_heights = self._row_heights(panel_width)
        title_height = 1.5 * LINE_HEIGHT if self.titles else 0.0
        caption_height = LINE_HEIGHT if any(panel.caption for panel in self.panels) else 0.0
        width = 2 * _MARGIN + columns * panel_width + (columns - 1) * _GAP
        rows = legend_rows(self.legend, width - 2 * _MARGIN, FONT_SIZE)
        legend_height = ROW_HEIGHT * len(rows) + (0.3 * LINE_HEIGHT if rows else 0.0)
        height = 2 * _MARGIN + title_height + legend_height
        height += sum(row_heights) + len(row_heights) * (caption_height + _GAP)
        figure = Figure(figsize=(width, height), facecolor=BACKGROUND[self.theme])
        top = height - _MARGIN - title_height
        row_tops = [top - sum(row_heights[:i]) - i * (caption_height + _GAP) for i in range(len(row_heights))]
        # One font size for all captions: that of the longest.
        font_size = min(fit_text(panel.caption, panel_width, FONT_SIZE)[1] for panel in self.panels)
        for panel in self.panels:
            panel_height = row_heights[panel.row]
            left, bottom = _MARGIN + panel.column * (panel_width + _GAP), row_tops[panel.row] - panel_height
            self._draw_panel(figure, panel, (left, bottom, panel_width, panel_height), font_size)
        for title in self.titles:
            self._draw_title(figure, title, panel_width, top + 0.4 * LINE_HEIGHT)
        for i, row in enumerate(reversed(rows)):
            y = _MARGIN + (i + 0.5) * ROW_HEIGHT
            draw_legend_row(figure, row, x=_MARGIN, y=y, font_size=FONT_SIZE, theme=self.theme)
        return figure

    def encode(self, suffix: str, dpi: float) -> bytes:
        """Returns the content of a figure file.

        Args:
            suffix: ".png", ".svg" or ".pdf".
            dpi: pixels per inch.
        """
        with plot_style():
            return figure_bytes(self.figure(), suffix, dpi)

    def _panel_width(self, columns: int) -> float:
        available = (TEXT_WIDTH if self.width is None else self.width) - 2 * _MARGIN - (columns - 1) * _GAP
        width = available / columns
        return width if self.width is not None else min(max(width, MIN_PANEL), MAX_PANEL)

    def _row_heights(self, panel_width: float) -> list[float]:
        aspects: list[list[float]] = [[] for _ in range(1 + max(panel.row for panel in self.panels))]
        for panel in self.panels:
            aspects[panel.row].append(panel.pixels.shape[0] / panel.pixels.shape[1])
        return [panel_width * min(max(row), _MAX_ASPECT) for row in aspects]

    def _draw_panel(
        self, figure: Figure, panel: Panel, place: tuple[float, float, float, float], font_size: float
    ) -> None:
        """Draws a panel at (left, bottom, width, height) in inches."""
        figure_width, figure_height = figure.get_size_inches()
        left, bottom, width, height = place
        axes = figure.add_axes(
            (left / figure_width, bottom / figure_height, width / figure_width, height / figure_height), gid="panel"
        )
        axes.set_axis_off()
        axes.imshow(panel.pixels, interpolation="antialiased" if panel.smooth else "nearest", aspect="equal")
        for contour in panel.contours:
            _draw_contour(axes, contour)
        for box in panel.boxes:
            _draw_box(axes, box)
        rows, columns = panel.pixels.shape[:2]
        scale = columns / min(width, height * columns / rows)
        masks = [contour.mask for contour in panel.contours]
        for label, position in place_labels(panel.labels, masks, panel.pixels.shape, pixels_per_inch=scale):
            _draw_label(axes, label, position)
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(rows - 0.5, -0.5)
        if panel.caption:
            text, _ = fit_text(panel.caption, width, font_size)
            x, y = (left + width / 2) / figure_width, (bottom - 0.8 * LINE_HEIGHT) / figure_height
            style: dict[str, Any] = {"ha": "center", "va": "baseline", "color": COLOURS["ink"][self.theme]}
            figure.text(x, y, text, fontsize=font_size, gid="caption", **style)

    def _draw_title(self, figure: Figure, title: ColumnTitle, panel_width: float, y: float) -> None:
        """Draws a title, its lower edge at `y` inches."""
        figure_width, figure_height = figure.get_size_inches()
        width = title.span * panel_width + (title.span - 1) * _GAP
        left = _MARGIN + title.column * (panel_width + _GAP)
        marker_width = 0.0 if title.style is None else 1.2 * LINE_HEIGHT
        text, size = fit_text(title.text, width - marker_width, FONT_SIZE + 0.5, bold=True)
        middle = left + (width + marker_width) / 2
        text_style: dict[str, Any] = {"ha": "center", "va": "bottom", "weight": "bold"}
        color = COLOURS["ink"][self.theme]
        figure.text(
            middle / figure_width, y / figure_height, text, gid="title", fontsize=size, color=color, **text_style
        )
        if title.style is not None:
            x = max(middle - text_width(text, size, bold=True) / 2 - 0.7 * LINE_HEIGHT, left + 0.4 * LINE_HEIGHT)
            marker: dict[str, Any] = {"marker": title.style.marker, "markersize": 4.2, "linestyle": "none"}
            at = [x / figure_width], [(y + 0.42 * LINE_HEIGHT) / figure_height]
            figure.add_artist(Line2D(*at, color=title.style.color(self.theme), **marker))


def _draw_contour(axes: Axes, contour: Contour) -> None:
    # Padding closes the outlines of objects at the edge of the image.
    mask, (ys, xs) = np.pad(contour.mask, 1), (np.arange(-1, side + 1) for side in contour.mask.shape)
    axes.contour(xs, ys, mask, levels=[0.5], colors="white", linewidths=2.0)
    axes.contour(
        xs, ys, mask, levels=[0.5], colors=contour.color, linewidths=1.1, linestyles=[(0, contour.dash or None)]
    )


def _draw_box(axes: Axes, box: Box) -> None:
    corner, width, height = (box.left - 0.5, box.top - 0.5), box.right - box.left, box.bottom - box.top
    for color, line_width in (("white", 2.2), (box.color, 1.2)):
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=line_width))


def _draw_label(axes: Axes, label: Label, position: tuple[float, float]) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    if not label.centered:
        background = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}
        style = {"ha": "left", "va": "bottom", "bbox": background}
    axes.text(*position, label.text, color=label.color, fontsize=label.size, **style)
