"""Types of ground truth shared by all data sets and metrics: objects of an image, and the ignore label of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from pycocotools import mask as rle_tools

IGNORE_INDEX: Final = -1
"""Value of the pixels of a class map that belong to no class; metrics leave them out."""

Size = Literal["small", "medium", "large"]
SIZES: Final[tuple[Size, ...]] = ("small", "medium", "large")

_SMALL, _LARGE = 32.0**2, 96.0**2


@dataclass(frozen=True)
class ObjectAnnotation:
    """An annotated object.

    Attributes:
        category: its name.
        box: (x, y, width, height) in pixels.
        area: in square pixels, of the mask where there is one.
        crowd: True for a region that counts neither as found nor as missed.
        rle: the mask as COCO's compressed run-length code; None where no mask was requested.
    """

    category: str
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = field(default=False, kw_only=True)
    rle: Mapping[str, Any] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ImageAnnotations:
    """The annotated objects of an image of height x width pixels."""

    image_id: str
    height: int
    width: int
    objects: Sequence[ObjectAnnotation]

    def masks(self) -> list[np.ndarray]:
        """[H, W] uint8 masks of the objects except crowds, 0 or 1; the annotations must have been read with masks."""
        return [rle_tools.decode(item.rle) for item in self.objects if not item.crowd]

    def union_mask(self) -> np.ndarray:
        """[H, W] bool mask of all objects except crowds; the annotations must have been read with masks."""
        union = np.zeros((self.height, self.width), bool)
        for mask in self.masks():
            union |= mask.astype(bool)
        return union


def size_bucket(area: float) -> Size:
    """COCO's size bucket of an object of `area` square pixels: small below 32², large from 96² on."""
    return "small" if area < _SMALL else "large" if area >= _LARGE else "medium"


def box_rle(box: Sequence[float], height: int, width: int) -> dict[str, Any]:
    """The compressed run-length code of a filled box (x, y, width, height) on an image of height x width pixels."""
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return rle_tools.merge(rle_tools.frPyObjects([polygon], height, width))
