"""Pixel colors of panels: values through a color map, and dropped patches dimmed."""

from __future__ import annotations

from typing import Final

import matplotlib
import numpy as np

from ltrp_bench.results.report.style import Theme

SCORES_COLORMAP: Final = "viridis"
"""Color map of scores: perceptually uniform, also in print and for color-blind readers (matplotlib)."""

DIFFERENCE_COLORMAP: Final = "magma"

_BLANK: Final[dict[Theme, int]] = {"light": 225, "dark": 45}
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def blank(height: int, width: int, theme: Theme) -> np.ndarray:
    """[height, width, 3] uint8 pixels of the gray that stands for "nothing here"."""
    return np.full((height, width, 3), _BLANK[theme], np.uint8)


def apply_colormap(
    values: np.ndarray, colormap: str, *, low: float | None = None, high: float | None = None
) -> np.ndarray:
    """Maps values to [..., 3] uint8 colors.

    Args:
        values: any shape.
        colormap: a name known to matplotlib.
        low, high: values at the ends of the color map; by default the least and the greatest value. If they are equal,
            every value gets the middle color.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    unit = np.full(values.shape, 0.5) if high <= low else (values - low) / (high - low)
    return (matplotlib.colormaps[colormap](np.clip(unit, 0, 1))[..., :3] * 255).round().astype(np.uint8)


def dim_dropped(pixels: np.ndarray, kept: np.ndarray, theme: Theme) -> np.ndarray:
    """Blends all but the kept pixels into gray.

    Args:
        pixels: [h, w, 3] uint8.
        kept: [h, w] bool.
        theme: "light" for a pale gray, "dark" for a dark one.
    """
    dimmed = 0.2 * luma(pixels) + 0.8 * _BLANK[theme]
    return np.where(kept[..., None], pixels, dimmed[..., None].round().astype(np.uint8))


def luma(pixels: np.ndarray) -> np.ndarray:
    """Brightness of [..., 3] RGB pixels, in their own range."""
    return pixels.astype(np.float64) @ _LUMA


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1] as uint8 in [0, 255]."""
    return (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
