"""Images of `shapes` with one object each, whose category is the label."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ltrp_bench.tasks.data.shapes.images import ShapesImages
from ltrp_bench.tasks.data.single_label import SingleLabelDataset


class ShapesSingleLabelDataset(ShapesImages, SingleLabelDataset):
    """Images with one object of any of the sixteen categories; arguments as for `ShapesImages`."""

    view: ClassVar[str] = "single-object"

    def label(self, index: int) -> int:
        """Index of the object's category."""
        return int(self.drawn(index).labels[0])

    def mask(self, index: int) -> np.ndarray:
        """[96, 96] bool mask of the object."""
        return self.drawn(index).masks[0]
