"""Figure of score maps: each image, its annotated objects, and the scores and kept patches of every selector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from ltrp_bench.harness.visualization.colormaps import SCORES_COLORMAP, apply_colormap, blank, dim_dropped
from ltrp_bench.harness.visualization.images import DisplayImage, Outline
from ltrp_bench.harness.visualization.legend import ColorBar, LegendEntry, LineSample
from ltrp_bench.harness.visualization.panel_grid import ColumnTitle, Contour, Panel, PanelGrid
from ltrp_bench.harness.visualization.selections import ImageSelection
from ltrp_bench.harness.visualization.text_layout import Label
from ltrp_bench.results.report.style import NARROW, SEEN, UNSEEN, SeriesStyle, Theme, style_of
from ltrp_bench.tasks.base import Keep, ReducedInput
from ltrp_bench.tasks.models.reduction import downsampled_size

Layout = Literal["row", "block"]
ColorBy = Literal["score", "rank"]

MAX_ROW_PANELS: Final = 8
"""Number of panels up to which an image and all that belongs to it are drawn in one row by default."""

_STATE_STYLES = {"seen": SEEN, "unseen": UNSEEN, "narrow": NARROW}
_UNKNOWN_STATE_STYLE = SEEN
_LARGE_OBJECT = 0.12  # share of the image from which an object has room for its own name


@dataclass(frozen=True, kw_only=True)
class ScoreFigureOptions:
    """Options of the figure of score maps.

    Attributes:
        layout: "row" draws everything about an image in one row, "block" draws the kept patches of a selector below
            its scores; None takes "row" for up to `MAX_ROW_PANELS` panels.
        color_by: "score" colors patches by their scores, each map from its lowest to its highest; "rank" by their
            ranks.
        theme: "light" or "dark", after the background.
        width: width in inches, see `PanelGrid`.
    """

    layout: Layout | None = None
    color_by: ColorBy = "score"
    theme: Theme = "light"
    width: float | None = None


def score_figure(
    images: Sequence[DisplayImage],
    selections: Sequence[Sequence[ImageSelection]],
    options: ScoreFigureOptions | None = None,
) -> PanelGrid:
    """Lays out the figure of score maps.

    Args:
        images: images to draw.
        selections: for each selector, its selection for each image.
        options: options of the figure; defaults if None.
    """
    options = options or ScoreFigureOptions()
    annotated = any(image.outlines for image in images)
    row_panels = 1 + annotated + sum(1 + len(own[0].reduced) for own in selections)
    layout = options.layout or ("row" if row_panels <= MAX_ROW_PANELS else "block")
    arrange = _arrange_rows if layout == "row" else _arrange_blocks
    panels, titles = arrange(images, selections, options, annotated)
    color_bar = ColorBar(
        colormap=SCORES_COLORMAP, low=f"lowest {options.color_by}", high=f"highest {options.color_by} of each map"
    )
    legend: list[LegendEntry] = [color_bar, *_state_legend(images)]
    return PanelGrid(panels=panels, titles=titles, legend=legend, theme=options.theme, width=options.width)


def _arrange_rows(
    images: Sequence[DisplayImage],
    selections: Sequence[Sequence[ImageSelection]],
    options: ScoreFigureOptions,
    annotated: bool,
) -> tuple[list[Panel], list[ColumnTitle]]:
    """One row for each image."""
    panels: list[Panel] = []
    for row, image in enumerate(images):
        own = [replace(panel, column=column) for column, panel in enumerate(_image_panels(image))]
        selected = [panel for each in selections for panel in _selection_panels(image, each[row], options)]
        own += [replace(panel, column=column) for column, panel in enumerate(selected, start=1 + annotated)]
        panels += [replace(panel, row=row) for panel in own]
    titles, column = [], 1 + annotated
    for each in selections:
        span = 1 + len(each[0].reduced)
        titles.append(_selector_title(each[0], column, span))
        column += span
    return panels, titles


def _arrange_blocks(
    images: Sequence[DisplayImage],
    selections: Sequence[Sequence[ImageSelection]],
    options: ScoreFigureOptions,
    annotated: bool,
) -> tuple[list[Panel], list[ColumnTitle]]:
    """One block of rows for each image, one column for each selector."""
    panels: list[Panel] = []
    rows = max(2, 1 + max(len(each[0].reduced) for each in selections))
    for index, image in enumerate(images):
        columns = [_image_panels(image), *(_selection_panels(image, each[index], options) for each in selections)]
        for column, stacked in enumerate(columns):
            panels += [replace(panel, row=index * rows + i, column=column) for i, panel in enumerate(stacked)]
    return panels, [_selector_title(each[0], column, 1) for column, each in enumerate(selections, start=1)]


def _selector_title(selection: ImageSelection, column: int, span: int) -> ColumnTitle:
    name = selection.entry.info.name
    return ColumnTitle(text=name, column=column, span=span, style=style_of(name))


def _image_panels(image: DisplayImage) -> list[Panel]:
    """The image, and, if it has any, its objects on a pale copy."""
    name = image.file_name
    caption = f"{name}: {', '.join(image.labels)}" if image.labels else name
    panels = [Panel(pixels=image.pixels, caption=caption)]
    if image.outlines:
        pale = (0.5 * image.pixels.mean(-1, keepdims=True) + 127).astype(np.uint8).repeat(3, axis=-1)
        contours = []
        for outline in image.outlines:
            style = _outline_style(outline)
            contours.append(Contour(mask=outline.mask, color=style.color("light"), dash=style.dash))
        caption = f"{len(contours)} object{'s' if len(contours) > 1 else ''}"
        panels.append(Panel(pixels=pale, caption=caption, contours=contours, labels=_category_labels(image.outlines)))
    return panels


def _category_labels(outlines: Sequence[Outline]) -> list[Label]:
    """Category names above, below or beside their objects, or inside large ones; largest objects first."""
    labels = []
    for index, outline in sorted(enumerate(outlines), key=lambda found: -int(found[1].mask.sum())):
        if outline.category and outline.mask.any():
            labels.append(
                Label(
                    text=outline.category,
                    positions=_label_positions(outline),
                    color=_outline_style(outline).color("light"),
                    mask_index=index,
                )
            )
    return labels


def _label_positions(outline: Outline) -> list[tuple[float, float]]:
    """Candidate positions of an object's name, best first."""
    mask, letters = outline.mask, len(outline.category)
    xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    line = mask.shape[1] / 11  # about the height of a label
    left, middle = xs[0] - 0.5 * line * letters, ys.mean() + line / 2
    positions = [(x, y) for y in (ys[0] - 1, ys[-1] + line + 1) for x in (xs[0], left + np.ptp(xs))]
    positions += [(left, middle), (xs[-1] + 1, middle)]
    if mask.mean() > _LARGE_OBJECT:
        y, x = _central_pixel(mask)
        positions.insert(0, (x - 0.25 * line * letters, y + line / 2))
    return positions


def _central_pixel(mask: np.ndarray) -> tuple[float, float]:
    """(y, x) of the pixel of the mask that is nearest to its center of mass."""
    pixels = np.argwhere(mask)
    y, x = pixels[((pixels - pixels.mean(0)) ** 2).sum(1).argmin()]
    return float(y), float(x)


def _outline_style(outline: Outline) -> SeriesStyle:
    return _STATE_STYLES.get(outline.state, _UNKNOWN_STATE_STYLE)


def _state_legend(images: Sequence[DisplayImage]) -> list[LineSample]:
    """Line styles of the states that occur."""
    states = {outline.state for image in images for outline in image.outlines}
    return [
        LineSample(style=style, text=f"{state} category") for state, style in _STATE_STYLES.items() if state in states
    ]


def _selection_panels(image: DisplayImage, selection: ImageSelection, options: ScoreFigureOptions) -> list[Panel]:
    """The score map, then the reduced input at each keep ratio."""
    return [
        _score_map(image, selection.scores, options),
        *(_reduced_panel(image, ratio, reduced, options.theme) for ratio, reduced in selection.reduced.items()),
    ]


def _score_map(image: DisplayImage, scores: np.ndarray | None, options: ScoreFigureOptions) -> Panel:
    if scores is None:
        height, width = image.pixels.shape[:2]
        return Panel(pixels=blank(height, width, options.theme), caption="no scores")
    values, caption = scores, f"{options.color_by}s"
    if np.ptp(scores) == 0:
        caption = "all scores equal"
    elif options.color_by == "rank":
        values = rankdata(scores, axis=None).reshape(scores.shape)
    return Panel(pixels=image.to_pixels(apply_colormap(values, SCORES_COLORMAP)), caption=caption, smooth=False)


def _reduced_panel(image: DisplayImage, ratio: float, reduced: ReducedInput, theme: Theme) -> Panel:
    if isinstance(reduced, Keep):
        kept = image.to_pixels(reduced.mask)
        count = f"{int(reduced.mask.sum())} of {reduced.mask.size}"
        return Panel(pixels=dim_dropped(image.pixels, kept, theme), caption=f"r = {ratio:g}: {count}")
    rows, columns = image.sample.image.shape[:2]
    height, width = downsampled_size(rows, columns, ratio)
    small = Image.fromarray(image.sample.image).resize((width, height), Image.Resampling.BICUBIC)
    # Nearest-neighbor enlargement keeps the loss of detail visible.
    pixels = np.asarray(small.resize((image.pixels.shape[1], image.pixels.shape[0]), Image.Resampling.NEAREST))
    return Panel(pixels=pixels, caption=f"r = {ratio:g}: {width}x{height} pixels")
