"""A sheet of small images in rows and columns, with captions that fit: what every figure of `show` is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ltrp_bench.harness.visualization.text_layout import Note, fitted, placed, text_width
from ltrp_bench.results.report.style import BACKGROUND, COLOURS, SeriesStyle, Theme, figure_bytes, plot_style

TEXT: Final = 6.5
"""Points of captions; the sheet is meant to be printed at its own size."""
LEAST_PANEL: Final = 0.8
LARGEST_PANEL: Final = 1.6
TEXT_WIDTH: Final = 7.0
"""Inches: the text of a paper in two columns, the default width of a sheet."""

_LINE = 0.125  # inches of a line of text
_GAP = 0.06
_MARGIN = 0.05
_FOOT_LINE = 1.3 * _LINE
_PAD = 0.07  # inches between the parts of an entry of the foot, and between entries
_APART = 0.17
_BAR = 0.5
_SAMPLE = 0.27
_TALLEST = 1.8  # height by width of a row; taller images are drawn narrower


@dataclass(frozen=True)
class Panel:
    """One image of the sheet.

    Attributes:
        row, column: where.
        pixels: [h, w, 3] uint8.
        caption: a line below.
        smooth: interpolate, as of a photograph; False keeps the borders of patches.
        contours: masks [h, w] bool with a colour and a dash.
        boxes: (left, top, right, bottom) in pixels, with a colour.
        notes: texts on it.
    """

    row: int
    column: int
    pixels: np.ndarray
    caption: str = ""
    smooth: bool = True
    contours: Sequence[tuple[np.ndarray, str, tuple[float, ...]]] = ()
    boxes: Sequence[tuple[tuple[float, float, float, float], str]] = ()
    notes: Sequence[Note] = ()


@dataclass(frozen=True)
class Head:
    """A title above the first row, over `span` columns from `column` on, with a selector's marker before it."""

    column: int
    span: int
    text: str
    look: SeriesStyle | None = None


@dataclass(frozen=True)
class Scale:
    """A colour bar in the foot: matplotlib's colour map, and what its ends mean."""

    colour_map: str
    low: str
    high: str


Entry = tuple[SeriesStyle, str]
"""A look and what it stands for."""


@dataclass(frozen=True)
class Sheet:
    """A whole figure.

    Attributes:
        panels: in any order.
        heads: titles.
        scales: colour bars of the foot.
        lines: entries of the foot's legend, drawn as lines.
        page: "light" or "dark".
        width: inches; None is that of a paper's text, more where panels would get too small, less for a few.
    """

    panels: Sequence[Panel]
    heads: Sequence[Head] = ()
    scales: Sequence[Scale] = ()
    lines: Sequence[Entry] = ()
    page: Theme = "light"
    width: float | None = None

    def figure(self) -> Figure:
        """Draw it; inside `plot_style`."""
        columns = 1 + max(panel.column for panel in self.panels)
        side = self._side(columns)
        heights = self._heights(side)
        head = 1.5 * _LINE if self.heads else 0.0
        under = _LINE if any(panel.caption for panel in self.panels) else 0.0
        wide = 2 * _MARGIN + columns * side + (columns - 1) * _GAP
        rows = self._foot_rows(wide - 2 * _MARGIN)
        foot = _FOOT_LINE * len(rows) + (0.3 * _LINE if rows else 0.0)
        high = 2 * _MARGIN + head + foot + sum(heights) + len(heights) * (under + _GAP)
        figure = Figure(figsize=(wide, high), facecolor=BACKGROUND[self.page])
        top = high - _MARGIN - head
        tops = [top - sum(heights[:i]) - i * (under + _GAP) for i in range(len(heights))]
        # One size for all captions: that of the longest.
        size = min(fitted(panel.caption, side, TEXT)[1] for panel in self.panels)
        for panel in self.panels:
            left = _MARGIN + panel.column * (side + _GAP)
            place = (left, tops[panel.row] - heights[panel.row], side, heights[panel.row])
            self._panel(figure, panel, place, size)
        for title in self.heads:
            self._head(figure, title, side, top + 0.4 * _LINE)
        for i, row in enumerate(reversed(rows)):
            self._foot(figure, row, _MARGIN + (i + 0.5) * _FOOT_LINE)
        return figure

    def bytes(self, suffix: str, dpi: float) -> bytes:
        """The figure as a file's content, see `results.look.figure_bytes`."""
        with plot_style():
            return figure_bytes(self.figure(), suffix, dpi)

    @property
    def ink(self) -> str:
        """The colour of text."""
        return COLOURS["ink"][self.page]

    def _side(self, columns: int) -> float:
        if self.width is not None:
            return (self.width - 2 * _MARGIN - (columns - 1) * _GAP) / columns
        fitting = (TEXT_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
        return min(max(fitting, LEAST_PANEL), LARGEST_PANEL)

    def _heights(self, side: float) -> list[float]:
        rows = 1 + max(panel.row for panel in self.panels)
        shapes: list[list[float]] = [[] for _ in range(rows)]
        for panel in self.panels:
            shapes[panel.row].append(panel.pixels.shape[0] / panel.pixels.shape[1])
        return [side * min(max(row), _TALLEST) for row in shapes]

    def _panel(self, figure: Figure, panel: Panel, place: tuple[float, float, float, float], size: float) -> None:
        wide, high = figure.get_size_inches()
        left, bottom, width, height = place
        axes = figure.add_axes((left / wide, bottom / high, width / wide, height / high), gid="panel")
        axes.set_axis_off()
        axes.imshow(panel.pixels, interpolation="antialiased" if panel.smooth else "nearest", aspect="equal")
        for mask, colour, dash in panel.contours:
            # A border around it, so that an object at the image's edge is closed there.
            rim, ends = np.pad(mask, 1), [np.arange(-1, side + 1) for side in mask.shape]
            style = [(0, dash or None)]
            axes.contour(ends[1], ends[0], rim, levels=[0.5], colors="white", linewidths=2.0)
            axes.contour(ends[1], ends[0], rim, levels=[0.5], colors=colour, linewidths=1.1, linestyles=style)
        for (x, y, right, low), colour in panel.boxes:
            corner = (x - 0.5, y - 0.5)
            axes.add_patch(Rectangle(corner, right - x, low - y, fill=False, edgecolor="white", linewidth=2.2))
            axes.add_patch(Rectangle(corner, right - x, low - y, fill=False, edgecolor=colour, linewidth=1.2))
        scale = panel.pixels.shape[1] / min(width, height * panel.pixels.shape[1] / panel.pixels.shape[0])
        for note, (x, y) in placed(panel.notes, [mask for mask, _, _ in panel.contours], panel.pixels.shape, scale):
            side: dict[str, Any] = {"ha": "center", "va": "center"} if note.centred else {"ha": "left", "va": "bottom"}
            pad = None if note.centred else {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}
            axes.text(x, y, note.text, color=note.colour, fontsize=note.size, bbox=pad, **side)
        axes.set_xlim(-0.5, panel.pixels.shape[1] - 0.5)
        axes.set_ylim(panel.pixels.shape[0] - 0.5, -0.5)
        if panel.caption:
            text, _ = fitted(panel.caption, width, size)
            x, y = (left + width / 2) / wide, (bottom - 0.8 * _LINE) / high
            figure.text(x, y, text, ha="center", va="baseline", fontsize=size, color=self.ink, gid="caption")

    def _head(self, figure: Figure, head: Head, side: float, y: float) -> None:
        wide, high = figure.get_size_inches()
        room = head.span * side + (head.span - 1) * _GAP
        left = _MARGIN + head.column * (side + _GAP)
        mark = 0.0 if head.look is None else 1.2 * _LINE
        text, size = fitted(head.text, room - mark, TEXT + 0.5, bold=True)
        middle = left + (room + mark) / 2
        style: dict[str, Any] = {"ha": "center", "va": "bottom", "weight": "bold", "color": self.ink}
        figure.text(middle / wide, y / high, text, gid="head", fontsize=size, **style)
        if head.look is not None:
            x = middle - text_width(text, size, bold=True) / 2 - 0.7 * _LINE
            self._mark(figure, head.look, (max(x, left + 0.4 * _LINE),), y + 0.42 * _LINE)

    def _mark(self, figure: Figure, look: SeriesStyle, xs: Sequence[float], y: float) -> None:
        """A selector's marker at each of `xs` inches."""
        wide, high = figure.get_size_inches()
        figure.add_artist(
            Line2D(
                [x / wide for x in xs],
                [y / high] * len(xs),
                color=look.color(self.page),
                marker=look.marker,
                markersize=4.2,
                linestyle="none",
            )
        )

    def _foot_rows(self, room: float) -> list[list[Scale | Entry]]:
        """Colour bars and entries of the legend, as many in a line as fit."""
        rows: list[list[Scale | Entry]] = []
        left = 0.0
        items: list[Scale | Entry] = [*self.scales, *self.lines]
        for item in items:
            width = _foot_width(item)
            if not rows or width > left:
                rows.append([])
                left = room
            rows[-1].append(item)
            left -= width
        return rows

    def _foot(self, figure: Figure, row: Sequence[Scale | Entry], y: float) -> None:
        """One line of the foot, its middle `y` inches above the figure's lower edge."""
        wide, high = figure.get_size_inches()
        style: dict[str, Any] = {"ha": "left", "va": "center", "fontsize": TEXT, "color": self.ink, "gid": "foot"}
        x = _MARGIN
        for item in row:
            end = x + _foot_width(item)
            if isinstance(item, Scale):
                figure.text(x / wide, y / high, item.low, **style)
                x += text_width(item.low, TEXT) + _PAD
                place = (x / wide, (y - 0.3 * _LINE) / high, _BAR / wide, 0.6 * _LINE / high)
                axes = figure.add_axes(place, gid="scale")
                axes.set_axis_off()
                axes.imshow(np.linspace(0, 1, 64)[None], cmap=item.colour_map, aspect="auto")
                figure.text((x + _BAR + _PAD) / wide, y / high, item.high, **style)
            else:
                look, text = item
                ends = [x / wide, (x + _SAMPLE) / wide]
                line = {**look.plot_options(self.page), "marker": "none", "linewidth": 1.2}
                figure.add_artist(Line2D(ends, [y / high] * 2, **line))
                figure.text((x + _SAMPLE + _PAD) / wide, y / high, text, **style)
            x = end


def _foot_width(item: Scale | Entry) -> float:
    """Inches of an entry of the foot, with the gap behind it."""
    if isinstance(item, Scale):
        return text_width(item.low, TEXT) + text_width(item.high, TEXT) + _BAR + 2 * _PAD + _APART
    return _SAMPLE + _PAD + text_width(item[1], TEXT) + _APART


def coloured(values: np.ndarray, colour_map: str, low: float | None = None, high: float | None = None) -> np.ndarray:
    """[..., 3] uint8 of values between `low` and `high`, by default their least and greatest; all equal: the middle."""
    least, most = float(values.min()) if low is None else low, float(values.max()) if high is None else high
    unit = np.full(values.shape, 0.5) if most <= least else (values - least) / (most - least)
    return (matplotlib.colormaps[colour_map](np.clip(unit, 0, 1))[..., :3] * 255).round().astype(np.uint8)


def greyed(pixels: np.ndarray, kept: np.ndarray, page: Theme) -> np.ndarray:
    """The image with all but the `kept` [h, w] pixels washed out to a pale grey (on a dark page a deep one)."""
    grey = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    wash = 0.2 * grey + 0.8 * (225 if page == "light" else 45)
    return np.where(kept[..., None], pixels, wash[..., None].round().astype(np.uint8))
