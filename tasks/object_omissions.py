"""Objects and images that do not count in the metrics of a task, for the end of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pycocotools import mask as rle_tools

from ltrp_bench.tasks.data.annotations import ObjectAnnotation
from ltrp_bench.tasks.data.base import Omission
from ltrp_bench.tasks.data.objects import ObjectDataset


def crowds(dataset: ObjectDataset, images: Collection[str]) -> list[Omission]:
    """Crowds among the objects of these images, which no metric counts."""
    total = count = 0
    first = ""
    for image_id in images:
        for item in dataset.listed(dataset.index(image_id)):
            total += 1
            if item.crowd:
                count += 1
                first = first or f"first in image {image_id}"
    return _omissions("objects", "left out: crowds and difficult objects do not count", count, total, first)


def tiny_boxes(dataset: ObjectDataset, images: Collection[str]) -> list[Omission]:
    """Objects whose boxes are smaller than a pixel: they count, but hardly any detector can find them."""
    total = count = 0
    first = ""
    for image_id in images:
        for item in dataset.listed(dataset.index(image_id)):
            total += 1
            if not item.crowd and max(item.box[2:]) < 1:
                count += 1
                first = first or _described(item, image_id)
    return _omissions("objects", "smaller than a pixel", count, total, first)


def without_pixels(dataset: ObjectDataset, measured: Iterable[tuple[str, int]]) -> list[Omission]:
    """Objects whose masks hold no pixel of their image.

    Args:
        dataset: the objects.
        measured: image id and number of its objects that hold pixels; crowds are not among them.
    """
    total = count = 0
    first = ""
    for image_id, number in measured:
        listed = dataset.listed(dataset.index(image_id))
        lacking = sum(not item.crowd for item in listed) - number
        total += len(listed)
        if lacking > 0:
            count += lacking
            first = first or _first_without_pixels(dataset, image_id)
    return _omissions("objects", "left out: no pixel of the image is theirs", count, total, first)


def without_objects(objects: Iterable[tuple[str, int]]) -> list[Omission]:
    """Images in which nothing counts, of image ids with their number of objects that do."""
    return _empty_images(objects, "without an object that counts")


def without_labels(pixels: Iterable[tuple[str, int]]) -> list[Omission]:
    """Images of which no pixel counts, of image ids with their number of pixels that have a class."""
    return _empty_images(pixels, "without a labeled pixel")


def _empty_images(numbers: Iterable[tuple[str, int]], reason: str) -> list[Omission]:
    counted = dict(numbers)
    empty = [image_id for image_id, number in counted.items() if number == 0]
    return _omissions("images", reason, len(empty), len(counted), f"first {empty[0]}" if empty else "")


def _first_without_pixels(dataset: ObjectDataset, image_id: str) -> str:
    for item in dataset.truth(dataset.index(image_id), masks=True).objects:
        if not item.crowd and item.rle is not None and rle_tools.area(item.rle) == 0:
            return _described(item, image_id)
    return f"first in image {image_id}"


def _described(item: ObjectAnnotation, image_id: str) -> str:
    x, y, width, height = item.box
    shares = max(x + width, y + height) <= 1.001 and min(x, y) >= 0 and max(width, height) > 0
    hint = ": coordinates as shares of the image?" if shares else ""
    return f"first in image {image_id}, a {item.category} with a box of {width:g} x {height:g} pixels{hint}"


def _omissions(noun: str, reason: str, count: int, total: int, first: str) -> list[Omission]:
    return [Omission(noun=noun, reason=reason, count=count, total=total, first=first)] if count else []
