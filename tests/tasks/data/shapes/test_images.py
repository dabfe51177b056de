from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.shapes.images import cached_image
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.shapes.single_label import ShapesSingleLabelDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld


def test_ids_do_not_depend_on_the_number_of_images() -> None:
    assert ShapesDataset(3).ids == ("000000", "000001", "000002") == ShapesDataset(9, limit=3).ids
    dataset = ShapesDataset(3, seed=7)
    assert dataset.domain == "shapes" and dataset.categories == CATEGORIES
    np.testing.assert_array_equal(dataset.pixels(2), ShapesWorld(7).image(2).image)


def test_revisions_are_version_view_and_seed() -> None:
    assert ShapesDataset(3).revision == "shapes v1, seed 2000"
    assert ShapesSingleLabelDataset(3, seed=5).revision == "shapes v1, single-object, seed 5"


def test_an_image_is_drawn_once() -> None:
    world = ShapesWorld(31)
    assert cached_image(world, 0) is cached_image(ShapesWorld(31), 0)
    assert cached_image(world, 0) is not cached_image(ShapesWorld(31, "single-object"), 0)


@pytest.mark.parametrize(("images", "limit", "message"), [(0, None, "images must be"), (3, 0, "limit must be")])
def test_numbers_below_one_are_refused(images: int, limit: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ShapesDataset(images, limit=limit)
