"""Colored class masks: VOC's colors, and those of the list that CVAT writes, labelmap.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.files.text import read_lines
from ltrp_bench.tasks.data.values import read_integer

Colors = Mapping[tuple[int, int, int], int]
"""(red, green, blue) -> mask value."""

LABEL_MAP: Final = "labelmap.txt"
_VOID_COLOR: Final = (224, 224, 192)
_VOID: Final = 255


def voc_colors(classes: int) -> dict[tuple[int, int, int], int]:
    """Color of each of VOC's values: bits 0, 3 and 6 of a value are the highest of red, bits 1, 4 and 7 of green, …"""
    colors = {}
    for value in range(classes):
        rgb = [sum((value >> 3 * place + channel & 1) << 7 - place for place in range(3)) for channel in range(3)]
        colors[rgb[0], rgb[1], rgb[2]] = value
    return {**colors, _VOID_COLOR: _VOID}


def read_label_map(path: Path, values: Mapping[str, int]) -> dict[tuple[int, int, int], int]:
    """Mask values by the colors that a list "name:red,green,blue:parts:actions" gives to their classes.

    Args:
        path: the list.
        values: name of each class in lower case -> its value; other classes of the list are left out.

    Raises:
        InputError: a line of another form, or a list with none of these classes.
    """
    colors = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line or line.startswith("#"):
            continue
        name, color = [*(part.strip() for part in line.split(":")), ""][:2]
        try:
            red, green, blue = (read_integer(part) for part in color.split(","))
        except ValueError:
            raise InputError(f"{path}, line {number}: must be 'name:red,green,blue:...', got {line[:60]!r}") from None
        if name.lower() in values:
            colors[red, green, blue] = values[name.lower()]
    if not colors:
        raise InputError(f"{path} lists none of the classes of this data set, such as {list(values)[-1]!r}")
    return colors


def values_of_colors(pixels: np.ndarray, colors: Colors, path: Path) -> np.ndarray:
    """[H, W] uint8 mask values of [H, W, 3] uint8 RGB; InputError, naming `path`, for a color that is not listed."""
    codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    present, places = np.unique(codes, return_inverse=True)
    listed = {(r << 16) + (g << 8) + b: value for (r, g, b), value in colors.items()}
    unknown = [code for code in present.tolist() if code not in listed]
    if unknown:
        color = ", ".join(str(unknown[0] >> shift & 255) for shift in (16, 8, 0))
        raise InputError(
            f"mask {path} holds the color ({color}), which is no class's: store masks as one channel of class numbers"
        )
    table = np.array([listed[code] for code in present.tolist()], np.uint8)
    return table[places].reshape(codes.shape)
