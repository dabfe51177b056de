"""Base classes of data sets with one label per image."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ltrp_bench.tasks.data.base import DataNotes, ImageDataset, Limit, limited
from ltrp_bench.tasks.data.decoding import read_rgb, revision_tag


class SingleLabelDataset(ImageDataset):
    """Images with one label each."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Index of the image's class in `categories`."""

    def mask(self, index: int) -> np.ndarray | None:
        """[h, w] bool mask of the labelled object; None where objects are not localized."""
        return None


class LabelledImageDataset(SingleLabelDataset):
    """Image files with one label each.

    `revision` is the sha256 of the categories, and of the id, class and size in bytes of each image in use.

    Args:
        images: id -> file and index of its class.
        categories: readable names in the order of the labels.
        limit: which images are used, in the order of their ids; see `base.Limit`.
        upright: apply EXIF orientations.
        notes: what was assumed and left out.
    """

    domain = "photos"

    def __init__(
        self,
        images: Mapping[str, tuple[Path, int]],
        categories: Sequence[str],
        *,
        limit: Limit = None,
        upright: bool = False,
        notes: DataNotes | None = None,
    ) -> None:
        super().__init__(limited(sorted(images), limit))
        if notes is not None:
            self.notes, self.assumptions = notes, tuple(notes.assumptions)
        self.categories, self._upright = tuple(categories), upright
        self._files, self._labels = zip(*(images[image_id] for image_id in self.ids), strict=True)
        digest = hashlib.sha256(json.dumps(self.categories).encode())
        for image_id, file, label in zip(self.ids, self._files, self._labels, strict=True):
            size = file.stat().st_size if file.is_file() else -1  # a dangling link
            digest.update(json.dumps([image_id, label, size]).encode())
        digest.update(revision_tag(self._files) + b"EXIF applied" * upright)
        self.revision = digest.hexdigest()

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB as stored, EXIF ignored unless `upright`."""
        return read_rgb(self._files[index], upright=self._upright)

    def label(self, index: int) -> int:
        """Index of the image's class in `categories`."""
        return self._labels[index]
