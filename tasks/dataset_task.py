"""Base class of tasks on a data set: images, groups of seen and unseen categories, identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Keep, Omission, ReducedInput, Row, Sample, Task
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.data.base import ImageDataset
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs

D = TypeVar("D", bound=ImageDataset)


class DatasetTask(Task, Generic[D]):
    """Base class of tasks on a data set whose categories are split into seen and unseen ones.

    Args:
        name: as in the registry.
        dataset: the images.
        split: which categories are seen.
        categories: names that the split must list; all of the data set's by default.
        narrow_as: group of the "narrow" categories.

    Attributes:
        limit_seed: seed of the draw, if the images are a random subset of the data set.

    Raises:
        InputError: if the split does not list a category.
    """

    split: CategorySplit
    limit_seed: int | None = None

    def __init__(
        self,
        name: str,
        dataset: D,
        split: CategorySplit,
        *,
        categories: Iterable[str] | None = None,
        narrow_as: NarrowAs = "seen",
    ) -> None:
        self.name, self.domain, self.dataset, self.split = name, dataset.domain, dataset, split
        split.check_covers(dataset.categories if categories is None else categories, name)
        self.assumptions = dataset.assumptions
        self._groups = split.groups(narrow_as)
        self._identity: dict[str, Any] = {
            "data": dataset.revision,
            "images": len(dataset),
            "split": split.fingerprint(),
            "label_set": split.label_set,
            "narrow_as": narrow_as,
        }

    def identity(self) -> dict[str, Any]:
        """Data revision, number of images, split, and what the task adds, such as model, patch size and grid."""
        if self.limit_seed is None:
            return dict(self._identity)
        return {**self._identity, "limit_seed": self.limit_seed}

    def omissions(self, records: Mapping[str, list[Row]]) -> list[Omission]:
        """What the data set changed and left out."""
        return self.dataset.omissions()

    def __len__(self) -> int:
        return len(self.dataset)

    def image_id(self, index: int) -> str:
        """Id of the image in the data set."""
        return self.dataset.ids[index]

    def _group_of(self, category: str) -> str:
        """ "seen" or "unseen"."""
        return "seen" if category in self._groups["seen"] else "unseen"

    def _check_grid(self, reduction: ReducedInput, grid: tuple[int, int]) -> None:
        """Raise InputError if patches are kept on another grid than the sample's."""
        if isinstance(reduction, Keep) and reduction.mask.shape != grid:
            raise InputError(f"{self.name}: a selection of {reduction.mask.shape} patches, the grid is {grid}")

    def annotations_of(self, sample: Sample) -> ImageAnnotations | None:
        """Objects of an image, with masks; None where objects are not localized."""
        return None

    def object_masks(self, sample: Sample) -> list[tuple[str, np.ndarray]]:
        """Category and [H, W] bool mask of each object of `annotations_of(sample)`, except crowds."""
        annotations = self.annotations_of(sample)
        objects = [] if annotations is None else annotations.objects
        return [
            (item.category, rle_tools.decode(item.rle).astype(bool))
            for item in objects
            if not item.crowd and item.rle is not None
        ]
