"""Images with a class for every pixel, in one form for every segmentation task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Literal

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import IGNORE_INDEX
from ltrp_bench.tasks.data.mask_folders import MaskFolder
from ltrp_bench.tasks.data.masks import MaskObjects, read_mask
from ltrp_bench.tasks.data.objects import ObjectDataset, ShapesObjects, image_of
from ltrp_bench.tasks.data.shapes.world import WORLD_SEEDS

BACKGROUND: Final = "background"


class SemanticDataset(ABC):
    """Images and their class maps.

    Attributes:
        objects: the same images with their segments or objects.
        classes: names in the order of a model's outputs; "background" first where it is one of them. It is no
            category: splits do not list it, and it counts in the group "all" alone.
    """

    objects: ObjectDataset
    classes: tuple[str, ...]

    @property
    def domain(self) -> Literal["shapes", "photos"]:
        """Which shipped weights fit."""
        return self.objects.domain

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the images."""
        return self.objects.ids

    @property
    def revision(self) -> str:
        """Of the data."""
        return self.objects.revision

    def __len__(self) -> int:
        return len(self.objects)

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError where the file is missing or corrupt."""
        return self.objects.pixels(index)

    @abstractmethod
    def semantic(self, index: int) -> np.ndarray:
        """[H, W] int16: indices of `classes`, or `IGNORE_INDEX`."""


class MaskSemantics(SemanticDataset):
    """Class maps of a folder with masks.

    Args:
        folder: found by a function of `mask_folders`.
        limit: only the first so many images.
        background: the mask value that is background, where the benchmark counts it as a class (VOC: 0).
    """

    def __init__(self, folder: MaskFolder, limit: int | None = None, background: int | None = None) -> None:
        self._masks = MaskObjects(folder, limit)
        self.objects, self._folder = self._masks, folder
        own = [] if background is None else [(background, BACKGROUND)]
        listed = [*own, *folder.names.items()]
        self.classes = tuple(name for _, name in listed)
        self._place = {value: place for place, (value, _) in enumerate(listed)}

    def semantic(self, index: int) -> np.ndarray:
        """As the base class; InputError for a value that is no class."""
        path = self._masks.mask_path(self.ids[index])
        values = read_mask(path)
        out = np.full(values.shape, IGNORE_INDEX, np.int16)
        for value in np.unique(values):
            if int(value) in self._place:
                out[values == value] = self._place[int(value)]
            elif int(value) not in self._folder.nobody:
                raise InputError(
                    f"mask {path} holds {int(value)}, which {self._folder.listed_in} does not list: correct the mask "
                    "or the list"
                )
        return out


class ShapesSemantics(SemanticDataset):
    """Scenes of the built-in world: background and the sixteen categories.

    Args:
        images: how many.
        seed: of the world; training uses others.
        limit: only the first so many images.
    """

    def __init__(self, images: int = 1000, seed: int = WORLD_SEEDS["test"], limit: int | None = None) -> None:
        self._scenes = ShapesObjects(images, seed, limit)
        self.objects, self.classes = self._scenes, (BACKGROUND, *self._scenes.categories)

    def semantic(self, index: int) -> np.ndarray:
        """0 for background, 1 + category elsewhere."""
        return image_of(self._scenes.world, index).semantic.astype(np.int16)
