"""Scenes of `shapes` with their class maps."""

from __future__ import annotations

import numpy as np

from ltrp_bench.tasks.data.base import Limit
from ltrp_bench.tasks.data.semantic import BACKGROUND, SemanticDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.shapes.world import WORLD_SEEDS


class ShapesSemanticDataset(SemanticDataset):
    """Class maps of background and the sixteen categories.

    Args:
        images: number of images.
        seed: seed of the images; training uses other ones.
        limit: which images are used, see `base.Limit`.
    """

    def __init__(self, images: int = 1000, *, seed: int = WORLD_SEEDS["test"], limit: Limit = None) -> None:
        self._scenes = ShapesDataset(images, seed=seed, limit=limit)
        super().__init__(self._scenes, (BACKGROUND, *self._scenes.categories))

    def semantic(self, index: int) -> np.ndarray:
        """[96, 96] int16: 0 for background, 1 + category elsewhere."""
        return self._scenes.drawn(index).semantic.astype(np.int16)
