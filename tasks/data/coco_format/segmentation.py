"""Masks of COCO's format, polygons and run-length codes, checked and clipped before pycocotools reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pycocotools import mask as rle_tools

from ltrp_bench.tasks.data.annotations import box_rle
from ltrp_bench.tasks.data.values import read_integer, read_number, shown

OUTLINE_SLACK: Final = 10.0
"""Pixels that an outline may reach beyond its image: some of COCO's were drawn so by hand. Rasterizing clips them."""

_NUMBERS: Final = frozenset({int, float})
_TOO_LARGE: Final = 1e100

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Segmentation:
    """A mask that pycocotools can read.

    Attributes:
        code: polygons, or a run-length code.
        clipped: description of what lay outside the image and was cut off; None where nothing did.
        dropped: why polygons of it were left out; None where all are used.
        extent: (left, top, right, bottom) of all polygons before clipping; None for a run-length code.
    """

    code: Any
    clipped: str | None = None
    dropped: str | None = None
    extent: tuple[float, float, float, float] | None = None


def read_segmentation(value: Any, height: int, width: int) -> Segmentation | None:
    """Checks a mask of an image of height x width pixels; None for an absent or empty one.

    Raises ValueError, with words that complete "annotation 3 ...", if no part of it can be used.
    """
    if not value:
        return None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, list):
        return _read_polygons(value, height, width)
    if not isinstance(value, dict) or "counts" not in value or "size" not in value:
        raise ValueError("has a segmentation that is neither polygons nor a run-length code")
    return Segmentation(_read_code(value["size"], value["counts"], height, width))


def to_rle(segmentation: Any, box: Box, height: int, width: int) -> dict[str, Any]:
    """The mask as one compressed run-length code; the filled box if there is no segmentation."""
    if not segmentation:
        return box_rle(box, height, width)
    if isinstance(segmentation, list):
        return rle_tools.merge(rle_tools.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return rle_tools.frPyObjects(segmentation, height, width)
    return segmentation


def clip_box(box: Box, height: int, width: int) -> Box:
    """The part of a box within an image of height x width pixels; of width or height 0 if there is none."""
    x, y, w, h = box
    left, top = min(max(x, 0.0), width), min(max(y, 0.0), height)
    return left, top, max(min(x + w, width) - left, 0.0), max(min(y + h, height) - top, 0.0)


def _read_polygons(value: list[Any], height: int, width: int) -> Segmentation:
    polygons, clipped, dropped = [], None, None
    extents: list[tuple[float, float, float, float]] = []
    # Some exporters write the one polygon of an object without the list around it.
    for polygon in value if any(isinstance(part, (list, dict)) and not _is_point(part) for part in value) else [value]:
        try:
            points = _read_polygon(polygon)
        except ValueError as error:
            dropped = dropped or str(error)
            continue
        xs, ys = points[::2], points[1::2]
        left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
        extents.append((left, top, right, bottom))
        if (
            left < -OUTLINE_SLACK
            or top < -OUTLINE_SLACK
            or right > width + OUTLINE_SLACK
            or bottom > height + OUTLINE_SLACK
        ):
            clipped = clipped or (
                f"a polygon from ({left:.6g}, {top:.6g}) to ({right:.6g}, {bottom:.6g}), outside its "
                f"{width}x{height} pixels"
            )
            points = _clip_polygon(points, height, width)
        if points:
            polygons.append(points)
    if not polygons:
        raise ValueError(f"has {dropped or clipped}")
    extent = extents[0]
    for other in extents[1:]:
        extent = min(extent[0], other[0]), min(extent[1], other[1]), max(extent[2], other[2]), max(extent[3], other[3])
    return Segmentation(polygons, clipped, None if dropped is None else f"has {dropped}", extent)


def _is_point(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and not any(isinstance(v, (list, dict)) for v in part)


def _are_coordinates(values: list[Any]) -> bool:
    """True if all are finite numbers below 1e100; as fast as it can be, since data sets have millions of them."""
    if not _NUMBERS.issuperset(map(type, values)):
        return False
    try:
        total = sum(values)
    except OverflowError:
        return False
    return total == total and min(values) > -_TOO_LARGE and max(values) < _TOO_LARGE  # NaN is not equal to itself


def _read_polygon(polygon: Any) -> list[float]:
    if isinstance(polygon, list) and polygon and isinstance(polygon[0], list) and all(map(_is_point, polygon)):
        polygon = [v for point in polygon for v in point]  # [[x, y], ...]
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon that is not a list of at least three x, y pairs")
    if _are_coordinates(polygon):
        return polygon
    try:
        points = [read_number(v) for v in polygon]
    except ValueError:
        points = [float("inf")]
    if max(map(abs, points)) >= _TOO_LARGE:
        raise ValueError("a polygon with a coordinate that is not a finite number")
    return points


def _clip_polygon(points: list[float], height: int, width: int) -> list[float]:
    """The part of a polygon within the image, by Sutherland and Hodgman's algorithm; empty if there is none.

    Where the part falls into several pieces, edges along the image's border join them, which cover no pixel.
    """
    corners = list(zip(points[::2], points[1::2], strict=True))
    for axis, bound, sign in ((0, 0.0, 1), (0, float(width), -1), (1, 0.0, 1), (1, float(height), -1)):
        kept: list[tuple[float, float]] = []
        for a, b in zip([corners[-1], *corners[:-1]] if corners else [], corners, strict=True):
            inside = [sign * (point[axis] - bound) >= 0 for point in (a, b)]
            if inside[0] != inside[1]:
                share = (bound - a[axis]) / (b[axis] - a[axis])
                other = a[1 - axis] + share * (b[1 - axis] - a[1 - axis])
                kept.append((bound, other) if axis == 0 else (other, bound))
            if inside[1]:
                kept.append(b)
        corners = kept
    return [v for corner in corners for v in corner] if len(corners) >= 3 else []


def _read_code(size: Any, counts: Any, height: int, width: int) -> dict[str, Any]:
    try:
        sides = [read_integer(v) for v in size] if isinstance(size, list) else []
    except ValueError:
        sides = []
    if len(sides) != 2:
        raise ValueError(f"has a run-length code whose size is not [height, width]: {shown(size)}")
    if sides != [height, width]:
        raise ValueError(f"has a mask of {sides} (height, width), its image is {[height, width]}")
    runs = _decode_counts(counts) if isinstance(counts, str) else counts
    try:
        runs = [v if type(v) is int else read_integer(v) for v in runs] if isinstance(runs, list) else [-1]
    except ValueError:
        runs = [-1]
    if min(runs, default=0) < 0:
        raise ValueError(f"has a run-length code whose counts cannot be decoded: {shown(counts)}")
    if sum(runs) != height * width:
        raise ValueError(f"has a mask of {sum(runs)} pixels, its image has {height * width}")
    return {"size": sides, "counts": counts if isinstance(counts, str) else runs}


def _decode_counts(text: str) -> list[int] | None:
    """Runs of a compressed code; None if it is broken, which makes pycocotools read past its end."""
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or digits == 6:  # six digits are 30 bits
            return None
        value |= (code & 31) << 5 * digits
        digits += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << 5 * digits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = digits = 0
    return None if digits else runs
