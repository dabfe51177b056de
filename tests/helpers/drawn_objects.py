"""One small image whose objects' coverage and boxes are computed by hand, and the metrics of a coverage task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from ltrp_bench.tasks.base import Keep, MetricRow
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.splits.split import CategorySplit


def value(rows: list[MetricRow], metric: str, group: str = "all", category: str | None = None) -> float:
    (found,) = [r.value for r in rows if (r.metric, r.group, r.category) == (metric, group, category)]
    return found


def measure(task: CoverageTask, keep: np.ndarray | None = None, ratio: float = 0.25) -> list[MetricRow]:
    """Metrics under one mask for all, or under the oracle's."""
    records = {}
    for i in range(len(task)):
        sample = task.load(i)
        mask = keep
        if mask is None:
            objects = task.oracle_scores(sample).ravel()
            mask = np.zeros(objects.size, bool)
            mask[np.argsort(-objects, kind="stable")[: round(ratio * objects.size)]] = True
            mask = mask.reshape(task.grid(sample))
        records[sample.image_id] = task.predict([sample], [Keep(mask)])[0]
    return task.compute_metrics(records)


STATES: Any = {"cat": "seen", "dog": "unseen", "cow": "narrow"}


def draw(root: Path) -> CocoDataset:
    """One image of 8 x 8 pixels: a cat of one pixel, a dog of 8, a cow of 16, a box without a pixel, a crowd."""
    (root / "images").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "images" / "1.png")
    names = list(STATES)
    parts = [("cat", 1, slice(0, 1), slice(0, 1)), ("dog", 2000, slice(2, 6), slice(0, 2))]
    parts += [("cow", 10000, slice(4, 8), slice(3, 7)), ("cat", 64, slice(0, 8), slice(0, 8))]
    annotations: list[dict[str, Any]] = []
    for number, (name, area, rows, columns) in enumerate(parts):
        mask = np.zeros((8, 8), np.uint8, order="F")
        mask[rows, columns] = 1
        coded = rle.encode(mask)
        annotations.append(
            {
                "segmentation": {"size": [8, 8], "counts": coded["counts"].decode()},
                "bbox": rle.toBbox(coded).tolist(),
                "category_id": names.index(name) + 1,
                "area": area,
                "iscrowd": int(number == 3),
            }
        )
    annotations.insert(1, {"bbox": [0.2, 0.5, 0.25, 0.25], "category_id": 1, "area": 0.0625, "iscrowd": 0})
    content = {
        "images": [{"id": 1, "file_name": "1.png", "height": 8, "width": 8}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "annotations": [{"id": i, "image_id": 1, **one} for i, one in enumerate(annotations)],
    }
    (root / "ann.json").write_text(json.dumps(content))
    return CocoDataset(root)


def by_hand(data: CocoDataset, kind: type[CoverageTask] = CoverageTask, **options: Any) -> CoverageTask:
    return kind("hand", data, CategorySplit("x", STATES), grid=(2, 2), **options)


DIAGONAL = np.eye(2, dtype=bool)
"""Keeps the cat, half of the dog and three quarters of the cow."""
