"""Base class of all data sets: images in a fixed order, each with an id, and a revision of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.notes import DataNotes, Omission

Domain = Literal["shapes", "photos"]


class ImageDataset(ABC):
    """Images in a fixed order.

    Attributes:
        domain: "shapes" or "photos"; decides which bundled weights a selector loads.
        categories: names, in the order of a model's outputs where there is one.
        ids: one unique id per image.
        revision: identifies the data, and enters fingerprints. For files it changes with any byte of the annotations,
            and with the name or the size in bytes of an image file in use; an image that is replaced by one of the
            same size in bytes goes unnoticed. For `shapes` it is version and seed.
        assumptions: one line for each thing that the files do not say and that was assumed.
        notes: what was changed and left out while the data was read; not part of the revision.
    """

    domain: Domain
    categories: tuple[str, ...]
    revision: str
    assumptions: tuple[str, ...] = ()

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self._index = {image_id: i for i, image_id in enumerate(self.ids)}
        self.notes = DataNotes()

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, image_id: str) -> int:
        """Position of an image id; KeyError for an unknown one."""
        return self._index[image_id]

    def omissions(self) -> list[Omission]:
        """What was changed and left out of the images in use."""
        return self.notes.omissions(self.ids, {"images": len(self)})

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError if the file is missing or corrupt."""


def check_limit(limit: int | None) -> int | None:
    """Returns `limit`; UsageError unless it is None or at least 1."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}")
    return limit
