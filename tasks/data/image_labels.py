"""Which categories an image shows, in one form for every data set, for tasks that ask for several labels at once.

Where a data set has objects, a category is present if an object of it is annotated:

* COCO: crowds count, as in the usual benchmark of 80 labels, which takes every annotation of an image;
* VOC: of a category with `difficult` objects only nothing is asked, as its devkit has it (`VocObjects`);
* NUS-WIDE: the lists say it (`NusWideDataset`);
* `shapes`: all of its objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ltrp_bench.tasks.data.objects import ObjectDataset

PRESENT, ABSENT, IGNORED = 1, 0, -1


@runtime_checkable
class MultiLabelDataset(Protocol):
    """Images with a set of categories each.

    Attributes:
        domain, categories, revision, ids: as of `ObjectDataset`.
    """

    @property
    def domain(self) -> Literal["shapes", "photos"]:
        """Which shipped weights fit."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in the data set's order."""

    @property
    def revision(self) -> str:
        """Of the data."""

    @property
    def ids(self) -> Sequence[str]:
        """Of the images."""

    @property
    def boxes(self) -> ObjectDataset | None:
        """The same images' objects, for the oracle and for sizes; None where nobody knows where they are."""

    def __len__(self) -> int: ...

    def index(self, image_id: str) -> int:
        """Position of an image id."""

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError where the file is missing or corrupt."""

    def labels(self, index: int) -> frozenset[str]:
        """The categories that the image shows."""

    def ignored(self, index: int) -> frozenset[str]:
        """Categories that are neither present nor absent: no metric and no loss asks for them in this image."""


class ObjectLabels:
    """The label sets of a data set with objects: a category is present if any object of it is annotated.

    Args:
        source: COCO's or the built-in world's.
    """

    def __init__(self, source: ObjectDataset) -> None:
        self.boxes = source
        self.domain, self.categories, self.revision = source.domain, source.categories, source.revision
        self.ids = source.ids

    def __len__(self) -> int:
        return len(self.boxes)

    def index(self, image_id: str) -> int:
        """Position of an image id."""
        return self.boxes.index(image_id)

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB."""
        return self.boxes.pixels(index)

    def labels(self, index: int) -> frozenset[str]:
        """The categories of the image's objects, crowds included."""
        return frozenset(item.category for item in self.boxes.truth(index).objects)

    def ignored(self, index: int) -> frozenset[str]:
        """None."""
        return frozenset()


def label_sets(source: ObjectDataset | MultiLabelDataset) -> MultiLabelDataset:
    """Any source as label sets: its own where it has them (VOC, NUS-WIDE), else those of its objects."""
    return source if isinstance(source, MultiLabelDataset) else ObjectLabels(source)


def label_vector(source: MultiLabelDataset, index: int) -> np.ndarray:
    """[C] int8 in the order of the categories: 1 present, 0 absent, -1 ignored."""
    vector = np.full(len(source.categories), ABSENT, np.int8)
    labels, ignored = source.labels(index), source.ignored(index)
    for i, category in enumerate(source.categories):
        if category in labels:
            vector[i] = PRESENT
        elif category in ignored:
            vector[i] = IGNORED
    return vector
