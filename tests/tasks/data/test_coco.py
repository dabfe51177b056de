"""COCO's images and objects as a data set; coco_format/test_folder.py tests the reader of the format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.coco import CocoDataset


def coco(root: Path) -> Path:
    """Two images, of which the second by id has a dog and a crowd of cats."""
    (root / "images").mkdir()
    for name, value in (("a.png", 3), ("b.png", 7)):
        Image.new("RGB", (30, 20), (value, value, value)).save(root / "images" / name)
    content = {
        "images": [{"id": i, "file_name": f, "height": 20, "width": 30} for i, f in ((7, "b.png"), (3, "a.png"))],
        "categories": [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 0, "image_id": 7, "category_id": 2, "bbox": [5, 5, 10, 8], "area": 80, "iscrowd": 0},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": [0, 0, 30, 1], "area": 30, "iscrowd": 1},
        ],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return root


def test_images_in_the_order_of_their_ids_with_their_objects(tmp_path: Path) -> None:
    dataset = CocoDataset(coco(tmp_path))
    assert dataset.ids == ("3", "7") and dataset.categories == ("cat", "dog") and dataset.domain == "photos"
    assert dataset.pixels(0).shape == (20, 30, 3) and (dataset.pixels(1) == 7).all()
    assert dataset.truth(0) == ImageAnnotations("3", 20, 30, [])
    objects = [
        ObjectAnnotation("dog", (5, 5, 10, 8), 80.0),
        ObjectAnnotation("cat", (0, 0, 30, 1), 30.0, crowd=True),
    ]
    assert dataset.truth(1) == ImageAnnotations("7", 20, 30, objects)
    mask = rle_tools.decode(dataset.truth(1, masks=True).objects[0].rle)
    expected = np.zeros((20, 30), np.uint8)
    expected[5:13, 5:15] = 1
    np.testing.assert_array_equal(mask, expected)


def test_a_limit_and_no_folder(tmp_path: Path) -> None:
    assert CocoDataset(coco(tmp_path), limit=1).ids == ("3",)
    with pytest.raises(UsageError, match="limit must be at least 1"):
        CocoDataset(tmp_path, limit=0)
    with pytest.raises(UsageError, match="give its folder with --data DIR"):
        CocoDataset(None)
