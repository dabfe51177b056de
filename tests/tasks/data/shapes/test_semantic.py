from __future__ import annotations

import numpy as np

from ltrp_bench.tasks.data.shapes.semantic import ShapesSemanticDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld


def test_class_maps_are_the_worlds() -> None:
    dataset = ShapesSemanticDataset(4, seed=6, limit=3)
    assert dataset.classes == ("background", *CATEGORIES) and len(dataset) == 3
    assert dataset.revision == "shapes v1, seed 6" and dataset.categories == CATEGORIES
    found = dataset.semantic(1)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, ShapesWorld(6).image(1).semantic)
