from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltrp_bench.tasks.base import Keep
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.object_omissions import crowds, tiny_boxes, without_labels, without_objects, without_pixels
from ltrp_bench.tasks.splits.split import CategorySplit


def dataset(root: Path) -> CocoDataset:
    """Image 1: an object, one in shares of the image, a crowd; image 2: a crowd; image 3: nothing."""
    (root / "images").mkdir()
    boxes: list[tuple[int, list[Any], int]] = [
        (1, [4, 4, 8, 8], 0),
        (1, [0.25, 0.5, 0.25, 0.25], 0),
        (1, [0, 0, 9, 9], 1),
        (2, [0, 0, 9, 9], 1),
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 16, "width": 16} for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": 1, "bbox": box, "area": 64, "iscrowd": crowd}
            for n, (image, box, crowd) in enumerate(boxes)
        ],
    }
    (root / "ann.json").write_text(json.dumps(content))
    for i in (1, 2, 3):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(root / "images" / f"{i}.png")
    return CocoDataset(root)


def test_counts(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    (found,) = crowds(data, data.ids)
    assert found.line == "2 of 4 objects left out: crowds and difficult objects do not count (first in image 1)"
    assert crowds(data, ["3"]) == []
    (tiny,) = tiny_boxes(data, data.ids)
    where = "first in image 1, a cat with a box of 0.25 x 0.25 pixels: coordinates as shares of the image?"
    assert tiny.line == f"1 of 4 objects smaller than a pixel ({where})"
    (empty,) = without_pixels(data, [("1", 1), ("2", 0)])
    assert empty.line == f"1 of 4 objects left out: no pixel of the image is theirs ({where})"
    assert without_pixels(data, [("1", 2)]) == [] == without_objects([("1", 1)])
    assert without_objects([("1", 1), ("2", 0)])[0].line == "1 of 2 images without an object that counts (first 2)"


def test_coverage_counts_what_has_no_row(tmp_path: Path) -> None:
    task = CoverageTask("toy", dataset(tmp_path), CategorySplit("x", {"cat": "seen"}), grid=(2, 2))
    samples = [task.load(i) for i in range(3)]
    rows = task.predict(samples, [Keep(np.ones((2, 2), bool))] * 3)
    records = {sample.image_id: own for sample, own in zip(samples, rows, strict=True)}
    assert [(one.noun, one.count, one.total) for one in task.omissions(records)] == [
        ("objects", 2, 4),
        ("objects", 1, 4),
        ("images", 2, 3),
    ]


def test_images_without_a_labeled_pixel() -> None:
    assert without_labels([("1", 9), ("2", 0), ("3", 0)])[0].line == "2 of 3 images without a labeled pixel (first 2)"
    assert without_labels([("1", 9)]) == []
