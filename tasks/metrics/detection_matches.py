"""Evidence of average precision: each detection's verdict at every threshold and size, best first.

COCO's matching within an image is done again from the evaluator's own overlaps, since the fast evaluator keeps its
matches to itself: for each threshold, detections in the order of their scores take the object that they overlap most
among those not taken that count, or else among those that do not count; crowds may be taken again (Lin et al., ECCV
2014; pycocotools' `evaluateImg`). Tests hold what follows from it to the evaluator's numbers to 1e-12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.metrics.coco import MAX_DETECTIONS, Kind
from ltrp_bench.tasks.metrics.voc import Rule, VocVerdicts

THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
AREAS: Final[Mapping[str, tuple[float, float]]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
CURVES: Final[Mapping[str, tuple[str, int | None]]] = {
    "AP": ("all", None),
    "AP50": ("all", 0),
    "AP75": ("all", 5),
    "APs": ("small", None),
    "APm": ("medium", None),
    "APl": ("large", None),
}
"""Metric -> area range, threshold (None: the mean over all)."""

_LOW, _HIGH = np.array(list(AREAS.values())).T[:, :, None]
_BITS = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)

Overlaps = Mapping[tuple[int, int], np.ndarray]
"""(image, category), from 0 -> [D, G]: detections best first, objects in order."""


def coco_tables(
    images: Sequence[ImageAnnotations],
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    categories: Sequence[str],
    kind: Kind,
    overlaps: Overlaps,
) -> dict[str, Any]:
    """Tables "{kind}_all", "{kind}_small", ... and their part of the meta: "tables" and "curves".

    Args:
        images, detections, categories, kind: as given to `coco_evaluation.evaluate`.
        overlaps: `CocoEvaluation.overlaps` of that evaluation.
    """
    index = {name: k for k, name in enumerate(categories)}
    parts: list[tuple[np.ndarray, ...]] = []
    truths: list[tuple[int, int, np.ndarray]] = []
    for i, image in enumerate(images):
        objects: dict[int, list[ObjectAnnotation]] = {}
        for item in image.objects:
            objects.setdefault(index[item.category], []).append(item)
        for k, items in objects.items():
            counted = _counted(items).sum(1)
            if counted.any():
                truths.append((i, k, counted))
        found: dict[int, list[tuple[float, float]]] = {}
        for row in detections.get(image.image_id, ()):
            if kind == "bbox" or row["rle"]:
                found.setdefault(index[row["category"]], []).append((row["score"], _area(row, image, kind)))
        for k, rows in found.items():
            score, area = np.array(rows, np.float64).T
            best = np.argsort(-score, kind="stable")[:MAX_DETECTIONS]
            size = len(best)
            matched, ignored = _match(overlaps.get((i, k)), objects.get(k, []), area[best])
            parts.append((np.full(size, i), np.full(size, k), score[best], matched, ignored))
    return _tables(kind, parts, truths)


def _area(row: Mapping[str, Any], image: ImageAnnotations, kind: Kind) -> float:
    if kind == "bbox":
        return float(row["w"] * row["h"])
    return float(rle_tools.area({"size": [image.height, image.width], "counts": row["rle"]}))


def _counted(items: Sequence[ObjectAnnotation]) -> np.ndarray:
    """[A, G] bool: objects of each area range that count."""
    area = np.array([item.area for item in items])
    crowd = np.array([item.crowd for item in items], bool)
    return ~crowd & (area >= _LOW) & (area <= _HIGH)


def _match(
    overlap: np.ndarray | None, items: Sequence[ObjectAnnotation], area: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[D, A] bits of thresholds, right and left out, of detections best first with these areas."""
    ranges, most = len(AREAS), len(THRESHOLDS)
    beyond = (area[:, None] < _LOW[:, 0]) | (area[:, None] > _HIGH[:, 0])
    if not items:  # nothing to find: most pairs of image and category
        return np.zeros(beyond.shape, np.uint16), np.where(beyond, _BITS.sum(), 0).astype(np.uint16)
    taken = np.full((len(area), ranges, most), -1)
    counted = _counted(items)
    if overlap is not None:
        crowd = np.array([item.crowd for item in items], bool)
        free = np.ones((ranges, most, len(items)), bool)
        least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
        last = len(items) - 1
        rows = np.flatnonzero((overlap >= least[0]).any(1))
        for d in rows:
            near = free & (overlap[d] >= least)
            for allowed in (near & counted[:, None, :], near & ~counted[:, None, :]):
                # Of equal overlaps the last one is taken.
                value = np.where(allowed, overlap[d], -1.0)[..., ::-1]
                choice = last - value.argmax(2)
                new = (taken[d] < 0) & allowed.any(2)
                taken[d] = np.where(new, choice, taken[d])
            area_at, threshold_at = np.nonzero(taken[d] >= 0)
            chosen = taken[d][area_at, threshold_at]
            free[area_at, threshold_at, chosen] = crowd[chosen]
    found = taken >= 0
    good = found & counted[np.arange(ranges)[None, :, None], taken]
    away = (found & ~good) | (~found & beyond[:, :, None])
    return (good * _BITS).sum(2, dtype=np.uint16), (away * _BITS).sum(2, dtype=np.uint16)


def _tables(
    kind: str, parts: Sequence[tuple[np.ndarray, ...]], truths: Sequence[tuple[int, int, np.ndarray]]
) -> dict[str, Any]:
    empty = (np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, len(AREAS))), np.zeros((0, len(AREAS))))
    joined = [np.concatenate(columns) for columns in zip(*(parts or [empty]), strict=True)]
    image, category, score, matched, ignored = joined
    # Stable: equal scores stay in the order of images, and within one in the order of its rows, as the evaluator's do.
    order = np.lexsort((-score, category))
    out: dict[str, Any] = {
        f"{kind}_all/image": image[order].astype(np.int32),
        f"{kind}_all/category": category[order].astype(np.int32),
    }
    where = np.array([(i, k) for i, k, _ in truths], np.int32).reshape(len(truths), 2)
    counts = np.array([counted for _, _, counted in truths], np.int32).reshape(len(truths), len(AREAS))
    tables = []
    for a, name in enumerate(AREAS):
        table = f"{kind}_{name}"
        tables.append({"name": table, "ranks": f"{kind}_all", "rule": "coco", "thresholds": len(THRESHOLDS)})
        out[f"{table}/matched"] = matched[order, a].astype(np.uint16)
        out[f"{table}/ignored"] = ignored[order, a].astype(np.uint16)
        some = counts[:, a] > 0
        out[f"{table}/truth_image"], out[f"{table}/truth_category"] = where[some].T
        out[f"{table}/truth_count"] = counts[some, a]
    curves = {f"{kind}_{metric}": [f"{kind}_{area}", at] for metric, (area, at) in CURVES.items()}
    return {"meta": {"tables": tables, "curves": curves}, **out}


def voc_table(verdicts: VocVerdicts, categories: Sequence[str], metric: str, rule: Rule) -> dict[str, Any]:
    """The table "voc" of VOC's verdicts, and its part of the meta."""
    image, category, right = [], [], []
    for k, name in enumerate(categories):
        image += [i for i, _ in verdicts.ranked[name]]
        right += [good for _, good in verdicts.ranked[name]]
        category += [k] * len(verdicts.ranked[name])
    truth = [(i, k, n) for k, name in enumerate(categories) for i, n in verdicts.objects[name].items() if n]
    where = np.array(truth, np.int32).reshape(len(truth), 3)
    return {
        "meta": {
            "tables": [{"name": "voc", "ranks": "voc", "rule": f"voc_{rule}", "thresholds": 1}],
            "curves": {metric: ["voc", 0]},
        },
        "voc/image": np.array(image, np.int32),
        "voc/category": np.array(category, np.int32),
        "voc/matched": np.array(right, np.uint16),
        "voc/ignored": np.zeros(len(right), np.uint16),
        **{f"voc/truth_{what}": where[:, i] for i, what in enumerate(("image", "category", "count"))},
    }
