"""COCO's average precision and recall of any group of categories, from one evaluation.

All categories are evaluated at once, and groups are slices of the resulting arrays. A second evaluation of a subset
would cost as much again, and `accumulate` with a subset of catIds returns the rows of other categories. A category
without ground truth has no precision and is left out of every mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ltrp_bench.tasks.data.annotations import ImageAnnotations

Kind = Literal["bbox", "segm"]
MAX_DETECTIONS = 100

# name -> (precision or recall, IoU threshold or None for all ten, area range 0-3, index into maxDets 1, 10, 100)
METRICS: dict[str, tuple[str, float | None, int, int]] = {
    "AP": ("precision", None, 0, 2),
    "AP50": ("precision", 0.5, 0, 2),
    "AP75": ("precision", 0.75, 0, 2),
    "APs": ("precision", None, 1, 2),
    "APm": ("precision", None, 2, 2),
    "APl": ("precision", None, 3, 2),
    "AR1": ("recall", None, 0, 0),
    "AR10": ("recall", None, 0, 1),
    "AR100": ("recall", None, 0, 2),
    "ARs": ("recall", None, 1, 2),
    "ARm": ("recall", None, 2, 2),
    "ARl": ("recall", None, 3, 2),
}
PER_CATEGORY = ("AP", "AP50", "AR100")


@dataclass(frozen=True)
class CocoEvaluation:
    """Result of one evaluation over all categories.

    Attributes:
        categories: names in the order of the arrays' K axis.
        precision: [10 IoU thresholds, 101 recalls, K, 4 area ranges, 3 maxDets], -1 where undefined.
        recall: [10, K, 4, 3], -1 where undefined.
        counts: category -> number of objects, crowds left out.
        overlaps: (image, category), positions from 0 -> [D, G] IoU of its detections, best first, with its objects.
    """

    categories: tuple[str, ...]
    precision: np.ndarray
    recall: np.ndarray
    counts: Mapping[str, int]
    overlaps: Mapping[tuple[int, int], np.ndarray]

    def metric(self, name: str, categories: Iterable[str] | None = None) -> float:
        """One of `METRICS` in [0, 1] over a group of categories (all of them by default); NaN if undefined."""
        what, threshold, area, most = METRICS[name]
        array = self.precision if what == "precision" else self.recall
        chosen = set(self.categories if categories is None else categories)
        columns = [k for k, category in enumerate(self.categories) if category in chosen]
        values = array[..., columns, area, most]
        if threshold is not None:
            values = values[round((threshold - 0.5) / 0.05)]
        defined = values[values > -1]
        return float(defined.mean()) if defined.size else math.nan

    def count(self, categories: Iterable[str] | None = None) -> int:
        """Number of objects in a group of categories, crowds left out."""
        return sum(self.counts.get(c, 0) for c in (self.categories if categories is None else categories))


def evaluate(
    images: Sequence[ImageAnnotations],
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    categories: Sequence[str],
    kind: Kind = "bbox",
) -> CocoEvaluation:
    """Evaluate detections as pycocotools does; results agree to 1e-12.

    Args:
        images: ground truth, in the order of image ids, which breaks ties between equal scores.
        detections: image id -> rows with category, score, x, y, w, h (pixels of the image) and, for masks, rle
            (text of COCO's compressed run-length code; rows with "" have no mask and are left out).
        categories: all categories of the data set, in its order.
        kind: boxes or masks.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    number = {category: k for k, category in enumerate(categories, start=1)}
    truth = COCO(_truth(images, number, kind))
    found = truth.loadRes(_results(images, detections, number, kind))
    run = COCOeval_faster(truth, found, kind, print_function=_no_print, rle_iou_max_workers=1)
    run.params.maxDets = [1, 10, MAX_DETECTIONS]
    run.evaluate()
    run.accumulate()
    counts = dict.fromkeys(categories, 0)
    for image in images:
        for item in image.objects:
            counts[item.category] += not item.crowd
    shape = (10, 101, len(categories), 4, 3)
    precision = np.asarray(run.eval["precision"]).reshape(shape)
    recall = np.asarray(run.eval["recall"]).reshape(shape[:1] + shape[2:])
    overlaps = {(i - 1, k - 1): np.asarray(held) for (i, k), held in run.ious.items() if len(held)}
    return CocoEvaluation(tuple(categories), precision, recall, counts, overlaps)


def _truth(images: Sequence[ImageAnnotations], number: Mapping[str, int], kind: Kind) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for i, image in enumerate(images, start=1):
        for item in image.objects:
            entry: dict[str, Any] = {
                "id": len(entries) + 1,  # never 0, which the official code takes for "unmatched"
                "image_id": i,
                "category_id": number[item.category],
                "bbox": list(item.box),
                "area": item.area,
                "iscrowd": int(item.crowd),
            }
            if kind == "segm":
                entry["segmentation"] = dict(item.rle or {})
            entries.append(entry)
    return {
        "images": [{"id": i, "height": image.height, "width": image.width} for i, image in enumerate(images, start=1)],
        "annotations": entries,
        "categories": [{"id": k, "name": category} for category, k in number.items()],
    }


def _results(
    images: Sequence[ImageAnnotations],
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    number: Mapping[str, int],
    kind: Kind,
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for i, image in enumerate(images, start=1):
        for row in detections.get(image.image_id, ()):
            entry: dict[str, Any] = {
                "image_id": i,
                "category_id": number[row["category"]],
                "score": row["score"],
            }
            if kind == "bbox":
                entry["bbox"] = [row["x"], row["y"], row["w"], row["h"]]
            elif row["rle"]:
                # Without a "bbox" key, so that the mask's own area decides its size bucket.
                entry["segmentation"] = {"size": [image.height, image.width], "counts": row["rle"]}
            else:
                continue
            results.append(entry)
    return results


def _no_print(*_: object) -> None:
    """Replaces the print function of the evaluator."""
