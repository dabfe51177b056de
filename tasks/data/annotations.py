"""Ground truth in one form for every data set and metric: objects of an image, and the ignore label of class maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

IGNORE_INDEX: Final = -1
"""Pixels of a class map that belong to no class: never counted, whatever is predicted there."""

_SMALL, _LARGE = 32.0**2, 96.0**2


@dataclass(frozen=True)
class ObjectAnnotation:
    """An annotated object: box (x, y, w, h) and area in pixels; a crowd is neither found nor missed.

    `rle` is COCO's compressed run-length code, needed only for masks.
    """

    category: str
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = False
    rle: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ImageAnnotations:
    """An image and its objects."""

    image_id: str
    height: int
    width: int
    objects: Sequence[ObjectAnnotation]


def size_bucket(area: float) -> Literal["small", "medium", "large"]:
    """COCO's size of an object of `area` square pixels: small below 32², large from 96²."""
    return "small" if area < _SMALL else "large" if area >= _LARGE else "medium"
