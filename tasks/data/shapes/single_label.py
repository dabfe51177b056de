"""Images of the built-in world with one object each, which is the label."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.imagenet import SingleLabelDataset
from ltrp_bench.tasks.data.objects import check_limit
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, WORLD_SEEDS, WORLD_VERSION, ShapesImage, ShapesWorld


@lru_cache(maxsize=1024)
def _image(world: ShapesWorld, index: int) -> ShapesImage:
    """Drawn once for all selectors of a run; 60 kB each."""
    return world.image(index)


class ShapesLabels(SingleLabelDataset):
    """The first `images` images of a world's view "single-object": one object out of all sixteen categories.

    Args:
        images: how many.
        seed: of the world; training uses others.
        limit: only the first so many images.
    """

    domain = "shapes"
    categories = CATEGORIES

    def __init__(self, images: int = 1000, seed: int = WORLD_SEEDS["test"], limit: int | None = None) -> None:
        if images < 1:
            raise UsageError(f"images must be at least 1, got {images}")
        self.world = ShapesWorld(seed, "single-object")
        self.revision = f"shapes v{WORLD_VERSION}, single-object, seed {seed}"
        super().__init__([f"{i:06d}" for i in range(images)][: check_limit(limit)])

    def pixels(self, index: int) -> np.ndarray:
        """[96, 96, 3] uint8 RGB."""
        return _image(self.world, index).image

    def label(self, index: int) -> int:
        """Index of the object's category."""
        return int(_image(self.world, index).labels[0])

    def mask(self, index: int) -> np.ndarray:
        """[96, 96] bool: the object."""
        return _image(self.world, index).masks[0]
