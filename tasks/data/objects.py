"""Base class of data sets whose images have annotated objects, for detection, coverage and object masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation, Size, size_bucket
from ltrp_bench.tasks.data.base import ImageDataset


class ObjectDataset(ImageDataset):
    """Images with categorized objects."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(ids)
        self._truths: dict[tuple[int, bool], ImageAnnotations] = {}

    @abstractmethod
    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        """Reads the objects of an image, with run-length codes if `masks`."""

    def truth(self, index: int, masks: bool = False) -> ImageAnnotations:
        """Ground truth of an image, with run-length codes if `masks`; cached."""
        key = (index, masks)
        if key not in self._truths:
            self._truths[key] = self._truth(index, masks)
        return self._truths[key]

    def listed(self, index: int) -> Sequence[ObjectAnnotation]:
        """Objects of an image as far as they are known without decoding masks, for counting them."""
        return self.truth(index).objects

    def size(self, area: float) -> Size:
        """Size bucket of an object of `area` square pixels; COCO's unless the data set has its own."""
        return size_bucket(area)
