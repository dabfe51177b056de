"""What all tasks on a data set share: its images, which of its categories are seen, and what makes their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.tasks.base import Domain, Sample, Task
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.splits.split import CategorySplit


class Source(Protocol):
    """A data set."""

    @property
    def domain(self) -> Domain:
        """Which shipped weights fit."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the images."""

    @property
    def revision(self) -> str:
        """Of the data."""

    def __len__(self) -> int: ...


S = TypeVar("S", bound=Source)


class DatasetTask(Task, Generic[S]):
    """A task on a data set.

    Args:
        name: as in the registry.
        source: the data set.
        split: which of its categories are seen.
        categories: all that the split must know.
        narrow_as: group of the "narrow" categories.
        **identity: what else makes the task's numbers, JSON-able.

    Raises:
        InputError: a category that the split does not know.
    """

    split: CategorySplit

    def __init__(
        self,
        name: str,
        source: S,
        split: CategorySplit,
        categories: Iterable[str],
        narrow_as: Literal["seen", "unseen"],
        **identity: Any,
    ) -> None:
        self.name, self.domain, self.source, self.split = name, source.domain, source, split
        split.check_covers(categories, name)
        self._groups = split.groups(narrow_as)
        self._identity: dict[str, Any] = {
            "data": source.revision,
            "images": len(source),
            "split": split.fingerprint(),
            "label_set": split.label_set,
            "narrow_as": narrow_as,
            **identity,
        }

    def identity(self) -> dict[str, Any]:
        """Data revision, number of images, split, and what the task adds: model, patch, grid."""
        return dict(self._identity)

    def __len__(self) -> int:
        return len(self.source)

    def image_id(self, index: int) -> str:
        """As in the data set."""
        return self.source.ids[index]

    def annotations_of(self, sample: Sample) -> ImageAnnotations | None:
        """Objects of an image, with masks; None where objects are not localized."""
        return None

    def object_masks(self, sample: Sample) -> list[tuple[str, np.ndarray]]:
        """Masks of `annotations_of(sample)`, except crowds."""
        annotations = self.annotations_of(sample)
        objects = [] if annotations is None else annotations.objects
        return [
            (item.category, rle_tools.decode(item.rle).astype(bool))
            for item in objects
            if not item.crowd and item.rle is not None
        ]
