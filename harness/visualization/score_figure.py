"""The figure of score maps: each image, its objects, and what every selector scores and keeps, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from ltrp_bench.harness.visualization.images import DisplayImage, Outline
from ltrp_bench.harness.visualization.panel_grid import Head, Panel, Scale, Sheet, coloured, greyed
from ltrp_bench.harness.visualization.selections import Shown
from ltrp_bench.harness.visualization.text_layout import Note
from ltrp_bench.results.report.style import NARROW, SEEN, UNSEEN, SeriesStyle, Theme, style_of
from ltrp_bench.tasks.base import Keep, ReducedInput
from ltrp_bench.tasks.models.reduction import downsampled_size

Layout = Literal["row", "block"]
By = Literal["score", "rank"]

SCORES: Final = "viridis"
"""Colour map of scores, even in lightness and so in print and to colour-blind readers (matplotlib)."""

ROW_COLUMNS: Final = 8
"""Panels up to which an image and all that belongs to it go in one row."""

_STATES = {"seen": SEEN, "unseen": UNSEEN, "narrow": NARROW}
_OBJECT = SEEN
_LARGE = 0.12  # share of the image from which on an object has room for its own name


def score_sheet(
    images: Sequence[DisplayImage],
    results: Sequence[Sequence[Shown]],
    layout: Layout | None = None,
    by: By = "score",
    page: Theme = "light",
    width: float | None = None,
) -> Sheet:
    """The figure.

    Args:
        images: one row each.
        results: of each selector, of each image.
        layout: "row" puts all of an image in one row; "block" puts a selector's kept patches below its scores. None
            takes the first where it has no more than `ROW_COLUMNS` panels.
        by: colour patches by their scores, each map from its least to its greatest, or by their ranks.
        page: what it is drawn on.
        width: see `Sheet`.
    """
    truth = any(image.outlines for image in images)
    in_row = 1 + truth + sum(1 + len(own[0].kept) for own in results)
    layout = layout or ("row" if in_row <= ROW_COLUMNS else "block")
    make = _row if layout == "row" else _block
    panels, heads = make(images, results, by, page, truth)
    what = "score" if by == "score" else "rank"
    scale = Scale(SCORES, f"lowest {what}", f"highest {what} of each map")
    return Sheet(panels, heads, [scale], _legend(images), page, width)


def _row(
    images: Sequence[DisplayImage], results: Sequence[Sequence[Shown]], by: By, page: Theme, truth: bool
) -> tuple[list[Panel], list[Head]]:
    panels, heads, first = [], [], 1 + truth
    for row, image in enumerate(images):
        panels += _image_panels(image, (row, 0), (row, 1))
        column = first
        for own in results:
            for panel in _panels(image, own[row], by, page):
                panels.append(replace(panel, row=row, column=column))
                column += 1
    column = first
    for own in results:
        span = 1 + len(own[0].kept)
        heads.append(_head(own[0], column, span))
        column += span
    return panels, heads


def _block(
    images: Sequence[DisplayImage], results: Sequence[Sequence[Shown]], by: By, page: Theme, truth: bool
) -> tuple[list[Panel], list[Head]]:
    panels, row = [], 0
    high = max(2, 1 + max(len(own[0].kept) for own in results))
    for place, image in enumerate(images):
        panels += _image_panels(image, (row, 0), (row + 1, 0))
        for column, own in enumerate(results, start=1):
            panels += [
                replace(p, row=row + i, column=column) for i, p in enumerate(_panels(image, own[place], by, page))
            ]
        row += high
    return panels, [_head(own[0], column, 1) for column, own in enumerate(results, start=1)]


def _head(one: Shown, column: int, span: int) -> Head:
    return Head(column, span, one.entry.info.name, style_of(one.entry.info.name))


def _image_panels(image: DisplayImage, place: tuple[int, int], truth: tuple[int, int]) -> list[Panel]:
    """The image, and beside or below it the same with its objects."""
    name = image.sample.image_id.replace("\\", "/").rpartition("/")[2]
    caption = f"{name}: {', '.join(image.labels)}" if image.labels else name
    panels = [Panel(*place, image.pixels, caption)]
    if image.outlines:
        pale = (0.5 * image.pixels.mean(-1, keepdims=True) + 127).astype(np.uint8).repeat(3, axis=-1)
        contours = [(one.mask, _outline_look(one).color("light"), _outline_look(one).dash) for one in image.outlines]
        count = len(image.outlines)
        caption = f"{count} object{'s' if count > 1 else ''}"
        panels.append(Panel(*truth, pale, caption, contours=contours, notes=_names(image.outlines)))
    return panels


def _names(outlines: Sequence[Outline]) -> list[Note]:
    """Categories above, below or beside their objects, inside of large ones; largest objects first."""
    out = []
    for about, one in sorted(enumerate(outlines), key=lambda found: -int(found[1].mask.sum())):
        if one.category and one.mask.any():
            xs, ys = np.flatnonzero(one.mask.any(0)), np.flatnonzero(one.mask.any(1))
            line = one.mask.shape[1] / 11  # about the height of a note
            left, middle = xs[0] - 0.5 * line * len(one.category), ys.mean() + line / 2
            spots = [(x, y) for y in (ys[0] - 1, ys[-1] + line + 1) for x in (xs[0], left + np.ptp(xs))]
            spots += [(left, middle), (xs[-1] + 1, middle)]
            if one.mask.mean() > _LARGE:
                y, x = _inside(one.mask)
                spots.insert(0, (x - 0.25 * line * len(one.category), y + line / 2))
            out.append(Note(spots, one.category, _outline_look(one).color("light"), about=about))
    return out


def _inside(mask: np.ndarray) -> tuple[float, float]:
    """(y, x) of the mask's pixel that is nearest to its centre of mass."""
    places = np.argwhere(mask)
    nearest = places[((places - places.mean(0)) ** 2).sum(1).argmin()]
    return float(nearest[0]), float(nearest[1])


def _outline_look(outline: Outline) -> SeriesStyle:
    return _STATES.get(outline.state, _OBJECT)


def _legend(images: Sequence[DisplayImage]) -> list[tuple[SeriesStyle, str]]:
    """What the outlines' colours mean, of those that are there."""
    there = {one.state for image in images for one in image.outlines}
    if there <= {""}:
        return []
    return [(look, f"{state} category") for state, look in _STATES.items() if state in there]


def _panels(image: DisplayImage, one: Shown, by: By, page: Theme) -> list[Panel]:
    """The score map, then the kept patches at each ratio; rows and columns are set by the caller."""
    out = [_map(image, one.scores, by, page)]
    for ratio, reduction in one.kept.items():
        out.append(_kept(image, ratio, reduction, page))
    return out


def _map(image: DisplayImage, scores: np.ndarray | None, by: By, page: Theme) -> Panel:
    if scores is None:
        blank = np.full_like(image.pixels, 225 if page == "light" else 45)
        return Panel(0, 0, blank, "no scores")
    if np.ptp(scores) == 0:
        return Panel(0, 0, image.spread(coloured(scores, SCORES)), "all scores equal", False)
    values = scores if by == "score" else rankdata(scores, axis=None).reshape(scores.shape)
    return Panel(0, 0, image.spread(coloured(values, SCORES)), "scores" if by == "score" else "ranks", False)


def _kept(image: DisplayImage, ratio: float, reduction: ReducedInput, page: Theme) -> Panel:
    if isinstance(reduction, Keep):
        kept = image.spread(reduction.mask)
        count = f"{int(reduction.mask.sum())} of {reduction.mask.size}"
        return Panel(0, 0, greyed(image.pixels, kept, page), f"r = {ratio:g}: {count}")
    height, width = downsampled_size(image.sample.image.shape[0], image.sample.image.shape[1], ratio)
    small = Image.fromarray(image.sample.image).resize((width, height), Image.Resampling.BICUBIC)
    # Drawn as large as the others, each of its pixels a square: what is lost is detail.
    shape = (image.pixels.shape[1], image.pixels.shape[0])
    pixels = np.asarray(small.resize(shape, Image.Resampling.NEAREST))
    return Panel(0, 0, pixels, f"r = {ratio:g}: {width}x{height} pixels")
