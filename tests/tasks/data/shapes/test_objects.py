from __future__ import annotations

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld


def test_objects_are_the_worlds() -> None:
    dataset, image = ShapesDataset(4, seed=3), ShapesWorld(3).image(2)
    truth = dataset.truth(2)
    assert (truth.image_id, truth.height, truth.width) == ("000002", 96, 96)
    assert [item.category for item in truth.objects] == [CATEGORIES[label] for label in image.labels]
    assert [item.box for item in truth.objects] == [tuple(box) for box in image.boxes.tolist()]
    assert [item.area for item in truth.objects] == image.masks.sum((1, 2)).tolist()
    assert not any(item.crowd for item in truth.objects)
    masks = [rle_tools.decode(item.rle) for item in truth.objects]
    np.testing.assert_array_equal(np.stack(masks).astype(bool), image.masks)
    assert dataset.truth(2, masks=False) is truth


def test_size_buckets_are_terciles_of_the_world() -> None:
    dataset = ShapesDataset(1)
    assert [dataset.size(area) for area in (286.9, 287, 417.9, 418)] == ["small", "medium", "medium", "large"]
    world = ShapesDataset(300, seed=0)
    sizes = [world.size(item.area) for i in range(len(world)) for item in world.truth(i).objects]
    for size in ("small", "medium", "large"):
        assert abs(sizes.count(size) / len(sizes) - 1 / 3) < 0.06
