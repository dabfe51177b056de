"""Images with objects, from COCO's files or from the built-in world, in one form for every task on objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation, size_bucket
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, WORLD_SEEDS, WORLD_VERSION, ShapesImage, ShapesWorld

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = ("small", "medium", "large")
# Thirds of the objects of 1,500 images of world 0, in square pixels.
_SHAPES_THIRDS = (287.0, 418.0)


class ObjectDataset(ABC):
    """A data set of images with categorised, masked objects.

    Attributes:
        domain: "shapes" or "photos".
        categories: names in the data set's order.
        revision: of the data. Of files: changes with any byte of the annotations, and with the name or the size in
            bytes of an image file that is used; not where an image is replaced by one of the same size in bytes.
            Of the built-in world: its version and seed.
    """

    domain: Literal["shapes", "photos"]
    categories: tuple[str, ...]
    revision: str

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self._index = {image_id: i for i, image_id in enumerate(self.ids)}
        self._truths: dict[tuple[int, bool], ImageAnnotations] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, image_id: str) -> int:
        """Position of an image id."""
        return self._index[image_id]

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError where the file is missing or corrupt."""

    @abstractmethod
    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        """The objects, with run-length codes if `masks`."""

    def truth(self, index: int, masks: bool = False) -> ImageAnnotations:
        """The objects of an image, kept for the next time; with run-length codes if `masks`."""
        key = (index, masks)
        if key not in self._truths:
            self._truths[key] = self._truth(index, masks)
        return self._truths[key]

    def size(self, area: float) -> Size:
        """The size bucket of an object of `area` square pixels."""
        return size_bucket(area)


class CocoObjects(ObjectDataset):
    """A data set in COCO's format, images in the order of their ids.

    Args:
        data: its folder.
        subset: see `CocoDataset`.
        limit: only the first so many images.
    """

    domain = "photos"

    def __init__(self, data: str | Path | None, subset: str = "val2017", limit: int | None = None) -> None:
        if data is None:
            raise UsageError("this task reads a COCO data set: give its folder with --data DIR")
        self.dataset = CocoDataset(data, subset)
        self._images = self.dataset.images[: check_limit(limit)]
        self.categories = tuple(self.dataset.categories.values())
        self.revision = self.dataset.revision_of(self._images)
        super().__init__([str(image.id) for image in self._images])

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB."""
        return self.dataset.pixels(self._images[index])

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        image, names = self._images[index], self.dataset.categories
        objects = [
            ObjectAnnotation(
                names[item.category_id],
                item.box,
                item.area,
                item.crowd,
                item.rle(image.height, image.width) if masks else None,
            )
            for item in self.dataset.objects.get(image.id, [])
        ]
        return ImageAnnotations(str(image.id), image.height, image.width, objects)


@lru_cache(maxsize=1024)
def image_of(world: ShapesWorld, index: int) -> ShapesImage:
    """Drawn once for all selectors and tasks of a run; 60 kB each."""
    return world.image(index)


class ShapesObjects(ObjectDataset):
    """The first `images` scenes of a built-in world.

    Args:
        images: how many.
        seed: of the world; training uses others.
        limit: only the first so many images.
    """

    domain = "shapes"
    categories = CATEGORIES

    def __init__(self, images: int = 1000, seed: int = WORLD_SEEDS["test"], limit: int | None = None) -> None:
        if images < 1:
            raise UsageError(f"images must be at least 1, got {images}")
        self.world = ShapesWorld(seed)
        self.revision = f"shapes v{WORLD_VERSION}, seed {seed}"
        # The id is the index alone: the same image in runs of other lengths.
        super().__init__([f"{i:06d}" for i in range(images)][: check_limit(limit)])

    def pixels(self, index: int) -> np.ndarray:
        """[96, 96, 3] uint8 RGB."""
        return image_of(self.world, index).image

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        return self._from(image_of(self.world, index), index)

    def truth(self, index: int, masks: bool = True) -> ImageAnnotations:
        """The objects of an image, always with masks: they cost nothing here."""
        return super().truth(index, True)

    def _from(self, image: ShapesImage, index: int) -> ImageAnnotations:
        boxes, masks, labels = image.boxes.tolist(), image.masks, image.labels
        codes = rle_tools.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
        objects = [
            ObjectAnnotation(CATEGORIES[label], (box[0], box[1], box[2], box[3]), float(mask.sum()), False, code)
            for box, mask, label, code in zip(boxes, masks, labels, codes, strict=True)
        ]
        return ImageAnnotations(self.ids[index], masks.shape[1], masks.shape[2], objects)

    def size(self, area: float) -> Size:
        """Thirds of the built-in world's objects: all of them are small to COCO."""
        return "small" if area < _SHAPES_THIRDS[0] else "large" if area >= _SHAPES_THIRDS[1] else "medium"


def check_limit(limit: int | None) -> int | None:
    """`limit`, if it is None or at least 1; else UsageError."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}")
    return limit
