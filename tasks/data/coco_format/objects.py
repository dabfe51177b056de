"""Reader of the list "annotations" of a COCO file: each object is checked, completed and clipped to its image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.coco_format.entries import CocoImage, CocoObject, CocoReading, described_id, read_member
from ltrp_bench.tasks.data.coco_format.segmentation import Box, Segmentation, clip_box, read_segmentation, to_rle
from ltrp_bench.tasks.data.values import Id, read_flag, read_id, read_number, shown

SLACK: Final = 1.01
"""Pixels that a box may reach beyond its image: COCO rounds to hundredths, and some of its boxes are off by one."""


class _UnusableError(ValueError):
    """An annotation that cannot be used, with the reason under which it is counted."""

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(description)
        self.reason = reason


def read_objects(
    reading: CocoReading, entries: Sequence[Any], images: Mapping[Id, CocoImage], categories: Mapping[Id, str]
) -> dict[Id, list[CocoObject]]:
    """Objects by image id, in the file's order; InputError if not one of the entries can be used."""
    objects: dict[Id, list[CocoObject]] = defaultdict(list)
    seen: dict[Id, Any] = {}
    same: dict[tuple[Id, Id, Box, bool], CocoObject] = {}
    first = ""
    for place, entry in enumerate(entries):
        what = f"annotation {described_id(entry, place)}"
        image_id: Id | None = None
        try:
            image_id = read_member(entry, "image_id", read_id)
            if image_id not in images:
                first = first or f"{what} names image {image_id}, which is not among the images"
                reading.fault("annotations", "left out: of images that are not listed", first)
                continue
            reading.entries[str(image_id)] += 1
            if not images[image_id].width:
                continue  # neither the file nor its image tell the size: the image cannot be used
            item = _object(reading, entry, what, images[image_id], categories)
        except ValueError as error:
            described = f"{what} {error}"
            first = first or described
            listed = image_id if image_id in images else None
            noun = "annotations" if listed is None else "objects"
            reason = error.reason if isinstance(error, _UnusableError) else "their annotations cannot be used"
            reading.fault(noun, f"left out: {reason}", described, listed)
            continue
        if item.id is not None and item.id in seen:
            if seen[item.id] == entry:
                reading.fault("objects", "left out: annotated twice", f"annotation id {item.id} occurs twice", image_id)
                continue
            reading.fault("objects", "with an id of others", f"annotation id {item.id} occurs twice", image_id)
        if item.id is not None:
            seen[item.id] = entry
        other = same.setdefault((item.image_id, item.category_id, item.box, item.crowd), item)
        if other is not item and other.segmentation == item.segmentation:
            reading.notes.count(
                "objects",
                "annotated under several ids, and counted each time",
                f"annotations {other.id} and {item.id} are equal",
                image=str(item.image_id),
            )
        objects[item.image_id].append(item)
    _check_corners(reading, len(same))
    if entries and not objects and first:
        raise InputError(f"{reading.path}: none of its {len(entries)} annotations can be used: {first}")
    return dict(objects)


def _object(
    reading: CocoReading, entry: Mapping[str, Any], what: str, image: CocoImage, categories: Mapping[Id, str]
) -> CocoObject:
    """One object, clipped to its image. ValueError if it cannot be used."""
    category_id = read_member(entry, "category_id", read_id)
    if category_id not in categories:
        raise _UnusableError(
            "of categories that are not listed", f"names category {category_id}, which is not among the categories"
        )
    crowd = _flag(entry)
    if crowd != bool(entry.get("iscrowd")):
        reading.changed.add("flags as text")
    mask = _mask(reading, entry, what, image)
    code = None if mask is None else mask.code
    box, clipped = _box(reading, entry, what, image, code)
    if mask is not None:
        clipped = clipped or mask.clipped
        if mask.extent is not None:
            reading.as_corners += _is_corners(entry.get("bbox"), mask.extent)
    if clipped:
        reading.fault("objects", "clipped to their images", f"{what} has {clipped}", image.id)
    given = None if clipped else _area(entry)
    if mask is None and given is not None and abs(given - box[2] * box[3]) > 2:
        reading.as_corners += abs(given - (box[2] - box[0]) * (box[3] - box[1])) < 1
    area = given
    if area is None:
        area = box[2] * box[3]
        if code and (own := float(rle_tools.area(to_rle(code, box, image.height, image.width)))) > 0:
            area = own
    if given is None and not clipped and area > 0:
        if code or "area" in entry:
            reading.changed.add("area")
        source = "mask" if code else "box"
        reading.notes.count(
            "objects",
            f"without an area: that of the {source} is taken",
            f"{what} of {image.file_name}",
            image=str(image.id),
        )
    try:
        own_id = read_id(entry["id"])
    except (KeyError, ValueError):
        own_id = None  # nothing refers to it
    return CocoObject(
        id=own_id,
        image_id=image.id,
        category_id=category_id,
        box=box,
        area=area,
        crowd=crowd,
        segmentation=code,
    )


def _mask(reading: CocoReading, entry: Mapping[str, Any], what: str, image: CocoImage) -> Segmentation | None:
    try:
        mask = read_segmentation(entry.get("segmentation"), image.height, image.width)
    except ValueError as error:
        described = f"{what} of image {image.file_name} {error}"
        reading.fault("objects", "without a mask: theirs cannot be used", described, image.id)
        return None
    if mask is not None and mask.dropped:
        described = f"{what} of image {image.file_name} {mask.dropped}"
        reading.fault("objects", "with a part of their mask left out", described, image.id)
    return mask


def _box(
    reading: CocoReading, entry: Mapping[str, Any], what: str, image: CocoImage, code: Any
) -> tuple[Box, str | None]:
    """The box, and what lay outside the image and was cut off; that of the mask where the file gives none."""
    try:
        x, y, w, h = box = _four_numbers(entry.get("bbox"))
        where = f"the box [x={x:g}, y={y:g}, w={w:g}, h={h:g}]"
        outside = f"{where} outside its image {image.file_name} ({image.width}x{image.height})"
        if w < 0 or h < 0:
            raise ValueError(f"has {where} of negative size")
        if code and min(w, h) == 0:
            reading.changed.add("empty boxes")
            raise ValueError(f"has {where} without area")
        if x >= -SLACK and y >= -SLACK and x + w <= image.width + SLACK and y + h <= image.height + SLACK:
            return box, None
        clipped = clip_box(box, image.height, image.width)
        if min(clipped[2:]) <= 0:
            raise _UnusableError("outside their images", f"has {outside}")
        return clipped, outside
    except ValueError as error:
        if not code:
            raise
        if entry.get("bbox") not in (None, []):
            reading.fault("objects", "with the box of their mask: theirs cannot be used", f"{what} {error}", image.id)
        else:
            reading.notes.count(
                "objects",
                "without a box: that of the mask is taken",
                f"{what} of {image.file_name}",
                image=str(image.id),
            )
        x, y, w, h = (float(v) for v in rle_tools.toBbox(to_rle(code, (0, 0, 0, 0), image.height, image.width)))
        if w <= 0:
            raise _UnusableError("outside their images", f"{error}, and a mask without a pixel in its image") from None
        return (x, y, w, h), None


def _flag(entry: Mapping[str, Any]) -> bool:
    try:
        return read_flag(entry.get("iscrowd"))
    except ValueError as error:
        raise ValueError(f"has an iscrowd that {error}") from None


def _area(entry: Mapping[str, Any]) -> float | None:
    """The area that the file gives, if it is a positive number."""
    try:
        area = read_number(entry.get("area"))
    except ValueError:
        return None
    return area if area > 0 else None


def _is_corners(box: Any, extent: tuple[float, float, float, float]) -> bool:
    """True if a box is [left, top, right, bottom] of an extent, and not its [left, top, width, height]."""
    try:
        if abs(box[2] - extent[2]) > 1:
            return False  # the usual case, at no cost
    except (TypeError, LookupError):
        pass  # text, or no box
    if not isinstance(box, list) or len(box) != 4:
        return False
    try:
        own = [read_number(v) for v in box]
    except ValueError:
        return False
    left, top, right, bottom = extent
    wrong = max(abs(own[2] - (right - left)), abs(own[3] - (bottom - top)))
    return wrong > 2 and all(abs(a - b) <= 1 for a, b in zip(own, extent, strict=True))


def _check_corners(reading: CocoReading, objects: int) -> None:
    """InputError if the boxes of most objects are given by their corners."""
    if 2 * reading.as_corners > objects:
        raise InputError(
            f"{reading.path}: {reading.as_corners} boxes are [left, top, right, bottom], by their masks or areas: "
            "COCO's are [left, top, width, height]; convert them"
        )


def _four_numbers(value: Any) -> Box:
    if value is None or value == []:
        raise ValueError("has neither a box nor a mask")
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"has a bbox that is not [x, y, width, height]: {shown(value)}")
    try:
        x, y, w, h = (read_number(v) for v in value)
    except ValueError as error:
        raise ValueError(f"has a bbox with a number that {error}") from None
    return x, y, w, h
