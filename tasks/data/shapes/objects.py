"""Scenes of `shapes` with their objects, boxes and masks."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation, Size
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.shapes.images import ShapesImages
from ltrp_bench.tasks.data.shapes.world import CATEGORIES

# Terciles of the objects' areas in 1,500 images of seed 0, in square pixels.
_SIZE_LIMITS = (287.0, 418.0)


class ShapesDataset(ShapesImages, ObjectDataset):
    """Scenes with one to four objects of the sixteen categories; arguments as for `ShapesImages`."""

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        image = self.drawn(index)
        codes = rle_tools.encode(np.asfortranarray(image.masks.transpose(1, 2, 0).astype(np.uint8)))
        objects = [
            ObjectAnnotation(CATEGORIES[label], (box[0], box[1], box[2], box[3]), float(mask.sum()), rle=code)
            for box, mask, label, code in zip(image.boxes.tolist(), image.masks, image.labels, codes, strict=True)
        ]
        return ImageAnnotations(self.ids[index], image.masks.shape[1], image.masks.shape[2], objects)

    def truth(self, index: int, masks: bool = True) -> ImageAnnotations:
        """Ground truth of an image, always with run-length codes: they cost nothing here."""
        return super().truth(index, True)

    def size(self, area: float) -> Size:
        """Size bucket by terciles of the objects of `shapes`, all of which are small by COCO's limits."""
        return "small" if area < _SIZE_LIMITS[0] else "large" if area >= _SIZE_LIMITS[1] else "medium"
