"""The figure of patch removal: visible patches, what is rebuilt from them, what without one of them, and the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ltrp_bench.harness.visualization.images import DisplayImage
from ltrp_bench.harness.visualization.panel_grid import Head, Panel, Scale, Sheet, coloured
from ltrp_bench.harness.visualization.reconstruction import Reconstruction, Removal
from ltrp_bench.harness.visualization.score_figure import SCORES
from ltrp_bench.harness.visualization.text_layout import Note
from ltrp_bench.results.report.style import COLOURS, Theme

DIFFERENCE: Final = "magma"
HEADS: Final = ("picture", "visible patches", "rebuilt", "rebuilt without it", "difference", "pseudo scores")

_REMOVED = COLOURS["orange"]["light"]


def removal_sheet(
    images: Sequence[DisplayImage],
    rebuilt: Sequence[Reconstruction],
    page: Theme = "light",
    width: float | None = None,
) -> Sheet:
    """One row for each removal of each image; difference maps of one image share their colours.

    Args:
        images: for their names.
        rebuilt: of each.
        page, width: see `Sheet`.
    """
    panels: list[Panel] = []
    for image, one in zip(images, rebuilt, strict=True):
        name = image.sample.image_id.replace("\\", "/").rpartition("/")[2]
        most = max(float(np.nanmax(removal.difference)) for removal in one.removals)
        for removal in one.removals:
            panels += _panels(name, one, removal, most, len(panels) // len(HEADS), page)
    heads = [Head(column, 1, text) for column, text in enumerate(HEADS)]
    scales = [
        Scale(DIFFERENCE, "no difference", "greatest of each image"),
        Scale(SCORES, "lowest score", "highest of each image"),
    ]
    return Sheet(panels, heads, scales, page=page, width=width)


def _panels(name: str, one: Reconstruction, removal: Removal, most: float, row: int, page: Theme) -> list[Panel]:
    gh, gw = one.grid
    height, width = one.original.shape[:2]
    high, wide = height // gh, width // gw
    back = np.uint8(225 if page == "light" else 45)
    where = [(int(patch) // gw * high, int(patch) % gw * wide) for patch in one.visible]
    anchor = np.full((height, width, 3), back)
    scored = anchor.copy()
    colours = coloured(one.scores, SCORES)
    for (y, x), colour in zip(where, colours, strict=True):
        anchor[y : y + high, x : x + wide] = _bytes(one.original[y : y + high, x : x + wide])
        scored[y : y + high, x : x + wide] = colour
    change = np.isnan(removal.difference)
    difference = coloured(np.where(change, 0, removal.difference), DIFFERENCE, 0, most)
    difference[change] = back
    y, x = where[removal.place]
    boxes = [((float(x), float(y), float(x + wide), float(y + high)), _REMOVED)]
    without = _bytes(removal.pixels)
    without[y : y + high, x : x + wide] = back
    rank = 1 + int((one.scores > one.scores[removal.place]).sum())
    contents = [
        (_bytes(one.original), name, True),
        (anchor, f"{len(one.visible)} of {gh * gw}", True),
        (_bytes(one.pixels), "from all of them", True),
        (without, f"without patch {removal.place}", True),
        (difference, f"score {one.scores[removal.place]:.4g}", True),
        (scored, f"rank {rank} of {len(one.visible)}", False),
    ]
    out = []
    for column, (pixels, caption, smooth) in enumerate(contents):
        marked = boxes if HEADS[column] not in ("picture", "rebuilt") else ()
        notes = _numbers(where, colours, (high, wide)) if HEADS[column] == "pseudo scores" else ()
        out.append(Panel(row, column, pixels, caption, smooth, boxes=marked, notes=notes))
    return out


def _numbers(where: Sequence[tuple[int, int]], colours: np.ndarray, patch: tuple[int, int]) -> list[Note]:
    """The number of each visible patch on it, legible on its colour."""
    dark = colours @ np.array([0.299, 0.587, 0.114]) < 128
    return [
        Note([(x + patch[1] / 2 - 0.5, y + patch[0] / 2 - 0.5)], str(i), "white" if dark[i] else "black", 4.0, True)
        for i, (y, x) in enumerate(where)
    ]


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
