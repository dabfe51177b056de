"""CorLoc: does the box around the kept patches find an object?

Deselaers, Alexe and Ferrari, "Localizing Objects While Learning Their Appearance", ECCV 2010: an image counts as
correctly localized if its one box and that of an object have an intersection over union of 0.5 or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pycocotools import mask as rle_tools
from scipy import ndimage

MIN_IOU: Final = 0.5
"""Intersection over union from which a box finds an object."""

Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels."""


def component_box(mask: np.ndarray, rows: Sequence[float], columns: Sequence[float]) -> Box | None:
    """Box around the largest connected component of kept patches; of equal ones around the first in raster order.

    Two patches are connected if they share a side, as in TokenCut.

    Args:
        mask: [gh, gw] bool, the kept patches.
        rows, columns: the gh + 1 and gw + 1 borders of the patches in pixels.

    Returns:
        None if no patch is kept.
    """
    components, count = ndimage.label(mask)
    if not count:
        return None
    largest = 1 + int(np.bincount(components.ravel())[1:].argmax())
    down, across = ndimage.find_objects(components)[largest - 1]
    top, left = rows[down.start], columns[across.start]
    return left, top, columns[across.stop] - left, rows[down.stop] - top


def box_overlaps(box: Box | None, others: Sequence[Box]) -> np.ndarray:
    """[n] float64 intersection over union of a box with others; 0 without a box."""
    if box is None or not others:
        return np.zeros(len(others))
    found = rle_tools.iou(np.array([box], np.float64), np.array(others, np.float64), [0] * len(others))
    return np.asarray(found, np.float64).ravel()


def found_share(image: np.ndarray, found: np.ndarray) -> tuple[float, int]:
    """Share of images with an object that is found, NaN of no image, and the number of images.

    Args:
        image: [M] position of each object's image.
        found: [M] bool, the objects that the image's box finds.
    """
    images = len(np.unique(image))
    return (len(np.unique(image[found])) / images if images else np.nan), images
