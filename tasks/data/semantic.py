"""Data sets with a class for every pixel: their base class, and class maps from folders with masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from ltrp_bench.tasks.data.annotations import IGNORE_INDEX
from ltrp_bench.tasks.data.base import ImageDataset, Limit, Omission
from ltrp_bench.tasks.data.class_masks.folders import MaskFolder
from ltrp_bench.tasks.data.class_masks.regions import MaskRegionDataset
from ltrp_bench.tasks.data.files.orientation import Exif
from ltrp_bench.tasks.data.objects import ObjectDataset

BACKGROUND: Final = "background"


class SemanticDataset(ImageDataset):
    """Images and their class maps.

    Args:
        objects: the same images with their class regions or objects.
        classes: names in the order of a model's outputs, "background" first if it is one of them. Background is no
            category: splits do not list it, and it counts in the group "all" alone.

    Attributes:
        objects, classes: as the arguments.
    """

    def __init__(self, objects: ObjectDataset, classes: Sequence[str]) -> None:
        super().__init__(objects.ids)
        self.objects, self.classes = objects, tuple(classes)
        self.domain, self.categories, self.revision = objects.domain, objects.categories, objects.revision
        self.assumptions = objects.assumptions
        self.notes = objects.notes

    def omissions(self) -> list[Omission]:
        """Those of the class regions or objects."""
        return self.objects.omissions()

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError if the file is missing or corrupt."""
        return self.objects.pixels(index)

    @abstractmethod
    def semantic(self, index: int) -> np.ndarray:
        """[H, W] int16: indices of `classes`, or `IGNORE_INDEX`."""


class MaskSemanticDataset(SemanticDataset):
    """Class maps of a folder with masks.

    Args:
        folder: found by a function of `class_masks.layouts`.
        limit: which images are used, see `base.Limit`.
        background: mask value of background, if the benchmark counts it as a class (VOC: 0).
        exif: as for `MaskRegionDataset`.
    """

    def __init__(
        self, folder: MaskFolder, *, limit: Limit = None, background: int | None = None, exif: Exif = "auto"
    ) -> None:
        self._masks = MaskRegionDataset(folder, limit=limit, exif=exif)
        listed = dict(folder.names) if background is None else {background: BACKGROUND, **folder.names}
        super().__init__(self._masks, tuple(listed.values()))
        self._place = {value: place for place, value in enumerate(listed)}

    def semantic(self, index: int) -> np.ndarray:
        """[H, W] int16: indices of `classes`, or `IGNORE_INDEX`; InputError for a value that no class has."""
        values, present = self._masks.values(index)
        out = np.full(values.shape, IGNORE_INDEX, np.int16)
        for value in present:
            if value in self._place:
                out[values == value] = self._place[value]
        return out
