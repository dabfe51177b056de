"""Data sets with a set of labels per image, for multi-label classification.

In a data set with objects a category is present if any object of it is annotated:

* COCO: crowds count too, as in the usual benchmark of 80 labels, which takes every annotation of an image;
* VOC: a category with `difficult` objects only is neither present nor absent, as in its devkit (see `VocDataset`);
* `shapes`: every object counts.

NUS-WIDE has lists of labels and no objects (see `NusWideDataset`).
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ltrp_bench.tasks.data.base import ImageDataset, Omission
from ltrp_bench.tasks.data.objects import ObjectDataset

PRESENT, ABSENT, IGNORED = 1, 0, -1


class MultiLabelDataset(ImageDataset):
    """Images with a set of categories each."""

    @abstractmethod
    def labels(self, index: int) -> frozenset[str]:
        """Categories that are present in the image."""

    @abstractmethod
    def ignored(self, index: int) -> frozenset[str]:
        """Categories that are neither present nor absent: metrics and losses leave them out for this image."""

    @property
    @abstractmethod
    def objects(self) -> ObjectDataset | None:
        """The same images with their objects, for the oracle and for size buckets; None if there are no objects."""


class ObjectLabelDataset(MultiLabelDataset):
    """The labels of a data set with objects: a category is present if any object of it is annotated.

    Args:
        objects: those of COCO or `shapes`.
    """

    def __init__(self, objects: ObjectDataset) -> None:
        super().__init__(objects.ids)
        self._objects = objects
        self.domain, self.categories, self.revision = objects.domain, objects.categories, objects.revision
        self.assumptions = objects.assumptions
        self.notes = objects.notes

    def omissions(self) -> list[Omission]:
        """Those of the objects."""
        return self._objects.omissions()

    @property
    def objects(self) -> ObjectDataset:
        """The data set that was given."""
        return self._objects

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError if the file is missing or corrupt."""
        return self._objects.pixels(index)

    def labels(self, index: int) -> frozenset[str]:
        """Categories of the image's objects, crowds included."""
        return frozenset(item.category for item in self._objects.truth(index).objects)

    def ignored(self, index: int) -> frozenset[str]:
        """Empty."""
        return frozenset()


def as_multilabel(dataset: ObjectDataset | MultiLabelDataset) -> MultiLabelDataset:
    """Returns a data set with labels as it is (VOC, NUS-WIDE), and the labels of any other's objects."""
    return dataset if isinstance(dataset, MultiLabelDataset) else ObjectLabelDataset(dataset)


def label_vector(dataset: MultiLabelDataset, index: int) -> np.ndarray:
    """[C] int8 in the order of `dataset.categories`: 1 for present, 0 for absent, -1 for ignored."""
    vector = np.full(len(dataset.categories), ABSENT, np.int8)
    labels, ignored = dataset.labels(index), dataset.ignored(index)
    for i, category in enumerate(dataset.categories):
        if category in labels:
            vector[i] = PRESENT
        elif category in ignored:
            vector[i] = IGNORED
    return vector
