from __future__ import annotations

import numpy as np

from ltrp_bench.tasks.data.shapes.single_label import ShapesSingleLabelDataset
from ltrp_bench.tasks.data.shapes.world import ShapesWorld


def test_the_label_is_the_only_objects() -> None:
    dataset, world = ShapesSingleLabelDataset(5, seed=4), ShapesWorld(4, "single-object")
    assert [dataset.label(i) for i in range(5)] == [world.label(i) for i in range(5)]
    image = world.image(3)
    np.testing.assert_array_equal(dataset.pixels(3), image.image)
    np.testing.assert_array_equal(dataset.mask(3), image.semantic > 0)
