"""Images of `shapes` as a data set: common part of its object, label and class-map data sets."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.base import ImageDataset, Limit, limited
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, WORLD_SEEDS, WORLD_VERSION, ShapesImage, ShapesWorld


@lru_cache(maxsize=1024)
def cached_image(world: ShapesWorld, index: int) -> ShapesImage:
    """The image at `index`, generated once for all selectors and tasks of a run; 60 kB each."""
    return world.image(index)


class ShapesImages(ImageDataset):
    """The first images of one view of `shapes`; a mixin that precedes the base class of another data set.

    Args:
        images: number of images.
        seed: seed of the images; training uses other ones.
        limit: which images are used, see `base.Limit`.

    Raises:
        UsageError: a number below 1.
    """

    domain = "shapes"
    categories = CATEGORIES
    view: ClassVar[str] = "scenes"

    def __init__(self, images: int = 1000, *, seed: int = WORLD_SEEDS["test"], limit: Limit = None) -> None:
        if images < 1:
            raise UsageError(f"images must be at least 1, got {images}")
        self.world = ShapesWorld(seed, self.view)
        view = "" if self.view == "scenes" else f" {self.view},"
        self.revision = f"shapes v{WORLD_VERSION},{view} seed {seed}"
        # The id is the index alone, so that an image has the same id in runs of any length.
        super().__init__(limited([f"{i:06d}" for i in range(images)], limit))

    def drawn(self, index: int) -> ShapesImage:
        """The image and its exact ground truth."""
        return cached_image(self.world, int(self.ids[index]))

    def pixels(self, index: int) -> np.ndarray:
        """[96, 96, 3] uint8 RGB."""
        return self.drawn(index).image
