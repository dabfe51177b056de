"""Text in small panels: lines that fit, and object names that hide neither each other nor other objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

MIN_FONT_SIZE: Final = 4.5
"""Smallest font size in points; longer lines are cut."""

LINE_HEIGHT: Final = 0.125
"""Height of a line of text in inches."""

_GOOD_COVER = 0.05  # a position is taken at once if the label hides no more than this share of any object
_MAX_COVER = 0.2  # and never if it hides more than this

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Label:
    """Text on a panel.

    Attributes:
        text: the text.
        positions: candidate positions (x, y) in pixels of the panel, best first: the lower left corner of the text,
            or its center if `centered`. See `place_labels`.
        color: color of the letters.
        size: font size in points.
        centered: True to draw the text at its first position, whatever it hides.
        mask_index: index of the mask that the label names; None if it names none.
    """

    text: str
    positions: Sequence[Point]
    color: str
    size: float = 5.0
    centered: bool = False
    mask_index: int | None = None


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a line of text in inches.

    Args:
        text: the line.
        size: font size in points.
        bold: True for a bold font.
    """
    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width) / 72


def fit_text(text: str, width: float, size: float, *, bold: bool = False) -> tuple[str, float]:
    """Fits a line of text into a width: first by a smaller font, then by cutting out its middle.

    Args:
        text: the line.
        width: available width in inches.
        size: largest font size in points; the smallest is `MIN_FONT_SIZE`.
        bold: True for a bold font.

    Returns:
        The text and its font size.
    """
    for smaller in np.arange(size, MIN_FONT_SIZE - 0.01, -0.25):
        if text_width(text, float(smaller), bold=bold) <= width:
            return text, float(smaller)
    for kept in range(len(text) - 1, 1, -1):
        tail = kept // 2
        cut = f"{text[: kept - tail]}…{text[len(text) - tail :]}"
        if text_width(cut, MIN_FONT_SIZE, bold=bold) <= width:
            return cut, MIN_FONT_SIZE
    return text[:1], MIN_FONT_SIZE


def place_labels(
    labels: Sequence[Label], masks: Sequence[np.ndarray], shape: Sequence[int], *, pixels_per_inch: float
) -> list[tuple[Label, Point]]:
    """Chooses a position for each label.

    A label takes the first candidate position, moved to stay inside the panel, at which it hides hardly anything of
    any object, or else the one at which it hides least. It is left out if it would hide much of an object, or if
    another label is there.

    Args:
        labels: labels, most important first.
        masks: [h, w] bool masks of the objects.
        shape: (h, w, ...) of the panel in pixels.
        pixels_per_inch: scale at which the panel is drawn.

    Returns:
        The labels that are drawn, each with its position.
    """
    placed: list[tuple[Label, Point]] = []
    taken: list[_Box] = []
    covered = np.zeros((shape[0], shape[1]), np.int64)
    for mask in masks:
        covered += mask
    areas = [max(1, int(mask.sum())) for mask in masks]
    for label in labels:
        if label.centered:
            placed.append((label, label.positions[0]))
            continue
        others = covered > (0 if label.mask_index is None else masks[label.mask_index])
        best, least = None, _MAX_COVER
        for box in _candidate_boxes(label, shape, pixels_per_inch):
            if any(box.overlaps(other) for other in taken):
                continue
            below = slice(int(box.top), int(box.bottom) + 1), slice(int(box.left), int(box.right) + 1)
            hidden = [float(mask[below].sum()) / area for mask, area in zip(masks, areas, strict=True)]
            cover = max([float(others[below].mean()), *hidden])
            if cover < least:
                best, least = box, cover
            if cover <= _GOOD_COVER:
                break
        if best is not None:
            taken.append(best)
            placed.append((label, (best.left, best.bottom)))
    return placed


def _candidate_boxes(label: Label, shape: Sequence[int], pixels_per_inch: float) -> list[_Box]:
    """Bounding box of the text at each candidate position, moved into the panel."""
    width = text_width(label.text, label.size) * pixels_per_inch + 1
    height = 1.5 * label.size / 72 * pixels_per_inch
    boxes = []
    for x, y in label.positions:
        left, bottom = max(0.0, min(x, shape[1] - width)), min(max(y, height), shape[0] - 1.0)
        boxes.append(_Box(left, bottom - height, left + width, bottom))
    return boxes
