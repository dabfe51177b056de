"""Lines of text that fit into small panels, and names that do not hide what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

LEAST_TEXT: Final = 4.5
"""Points."""

_HARDLY, _MOST = 0.05, 0.2  # share of a name that may lie on other things, and of any thing that it may hide

Spot = tuple[float, float]


@dataclass(frozen=True)
class Note:
    """Text on a panel.

    Attributes:
        spots: (x, y) in its pixels, the best first: of the text's lower left corner, or of its middle if `centred`.
            Those that are not centred are moved to stay on the panel. They take the first spot that lies on no other
            outlined thing and hides hardly anything of one, or else the best; without a good one, or where another
            name is, they are left out.
        text, colour, size: of the letters; points.
        about: which of the panel's outlined things it names; None for none of them.
    """

    spots: Sequence[Spot]
    text: str
    colour: str
    size: float = 5.0
    centred: bool = False
    about: int | None = None


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Inches of a line of text."""
    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width) / 72


def fitted(text: str, inches: float, size: float, bold: bool = False) -> tuple[str, float]:
    """A line that fits into so many inches: set smaller if it must be, then cut in its middle; and its size."""
    for smaller in np.arange(size, LEAST_TEXT - 0.01, -0.25):
        if text_width(text, float(smaller), bold) <= inches:
            return text, float(smaller)
    for kept in range(len(text) - 1, 1, -1):
        end = kept // 2
        cut = f"{text[: kept - end]}…{text[len(text) - end :]}"
        if text_width(cut, LEAST_TEXT, bold) <= inches:
            return cut, LEAST_TEXT
    return text[:1], LEAST_TEXT


def placed(
    notes: Sequence[Note], masks: Sequence[np.ndarray], shape: Sequence[int], scale: float
) -> list[tuple[Note, Spot]]:
    """Where notes go.

    Args:
        notes: the most important first.
        masks: [h, w] bool, what is outlined.
        shape: (h, w, ...) of the panel's pixels.
        scale: pixels an inch.

    Returns:
        Those for which there is room, with the spot of each.
    """
    out: list[tuple[Note, Spot]] = []
    taken: list[tuple[float, float, float, float]] = []
    high, wide = shape[:2]
    things = np.zeros((high, wide), np.int64)
    for mask in masks:
        things += mask
    areas = [max(1, int(mask.sum())) for mask in masks]
    for note in notes:
        if note.centred:
            out.append((note, note.spots[0]))
            continue
        width, height = text_width(note.text, note.size) * scale + 1, 1.5 * note.size / 72 * scale
        own = np.zeros((high, wide), bool) if note.about is None else masks[note.about]
        others = things - own > 0
        best = (_MOST, (0.0, 0.0, 0.0, 0.0))
        for spot in note.spots:
            x, y = max(0.0, min(spot[0], wide - width)), min(max(spot[1], height), high - 1.0)
            box = (x, y - height, x + width, y)
            if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                continue
            under = slice(int(box[1]), int(y) + 1), slice(int(x), int(box[2]) + 1)
            hidden = [float(mask[under].sum()) / area for mask, area in zip(masks, areas, strict=True)]
            cost = max([float(others[under].mean()), *hidden])
            if cost < best[0]:
                best = (cost, box)
            if cost <= _HARDLY:
                break
        if best[1][2] > 0:
            taken.append(best[1])
            out.append((note, (best[1][0], best[1][3])))
    return out
