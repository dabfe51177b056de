"""COCO's images and objects as a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.base import Limit, Omission, limited
from ltrp_bench.tasks.data.coco_format.entries import CocoImage
from ltrp_bench.tasks.data.coco_format.folder import CocoFolder
from ltrp_bench.tasks.data.files.orientation import Exif, decide
from ltrp_bench.tasks.data.objects import ObjectDataset

NO_FOLDER: Final = "this task reads a COCO data set: give its folder with --data DIR"
"""Message where no folder is given."""


class CocoDataset(ObjectDataset):
    """A data set in COCO's format, images in the order of their ids.

    Args:
        data: its folder or JSON file, see `CocoFolder`; None if `annotations` names the file.
        subset, annotations, images, strict: see `CocoFolder`.
        limit: which images are used, see `base.Limit`.
        exif: what to do about an EXIF orientation that the annotated size does not decide.

    Raises:
        UsageError: no folder given, or a limit below 1. InputError: see `CocoFolder`.
    """

    domain = "photos"

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val2017",
        *,
        limit: Limit = None,
        annotations: str | Path | None = None,
        images: str | Path | None = None,
        strict: bool = False,
        exif: Exif = "auto",
    ) -> None:
        if data is None and annotations is None:
            raise UsageError(NO_FOLDER)
        self.folder = CocoFolder(
            "." if data is None else data, subset, annotations=annotations, images=images, strict=strict
        )
        self._images = limited(self.folder.images, limit, lambda image: str(image.id))
        self.categories = tuple(self.folder.categories.values())
        self._orientations = decide(
            ((self.folder.files[image.file_name], partial(_size, image)) for image in self._images), exif
        )
        self.revision = self._orientations.revision(self.folder.revision_of(self._images))
        self.assumptions = (*self.folder.assumptions, *self._orientations.assumptions)
        super().__init__([str(image.id) for image in self._images])
        self.notes = self.folder.notes

    def omissions(self) -> list[Omission]:
        """What was changed and left out of the images in use."""
        return self.folder.omissions(self._images)

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB, see `CocoFolder.pixels`."""
        image = self._images[index]
        return self.folder.pixels(image, upright=self.folder.files[image.file_name] in self._orientations.applied)

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        image, names = self._images[index], self.folder.categories
        objects = [
            ObjectAnnotation(
                names[item.category_id],
                item.box,
                item.area,
                crowd=item.crowd,
                rle=item.rle(image.height, image.width) if masks else None,
            )
            for item in self.folder.objects.get(image.id, [])
        ]
        return ImageAnnotations(str(image.id), image.height, image.width, objects)


def _size(image: CocoImage) -> tuple[int, int]:
    return image.width, image.height
