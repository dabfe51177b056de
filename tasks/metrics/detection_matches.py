"""Matches of detections with objects at every IoU threshold and size, for the resampling of average precision.

COCO's matching within an image is repeated here from the evaluator's own overlaps, since the fast evaluator does not
return its matches. At each threshold, detections in the order of their scores take the object of greatest overlap
among those that count and are not taken, or else among those that do not count; crowds may be taken several times
(Lin et al., ECCV 2014; pycocotools' `evaluateImg`). Tests compare the resulting AP with the evaluator's to 1e-12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.results.summaries.detections import Curve, MatchTable, RankedDetections
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.metrics.coco import MAX_DETECTIONS, Kind
from ltrp_bench.tasks.metrics.voc import Rule, VocMatches

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
"""Metric -> area range and position of its threshold (None: the mean over all)."""

_LOW, _HIGH = np.array(list(AREAS.values())).T[:, :, None]
_BITS = (1 << np.arange(len(THRESHOLDS))).astype(np.uint16)

Overlaps = Mapping[tuple[int, int], np.ndarray]
"""(image, category), positions from 0 -> [D, G] IoU of its detections, best first, with its objects."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Fields of a `DetectionsSummary` from one evaluation: its ranking, tables and curves."""

    rankings: Mapping[str, RankedDetections]
    tables: Mapping[str, MatchTable]
    curves: Mapping[str, Curve]


def coco_matches(
    images: Sequence[ImageAnnotations],
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    categories: Sequence[str],
    kind: Kind,
    overlaps: Overlaps,
) -> Matches:
    """Matches of COCO's evaluation, in the tables "{kind}_all", "{kind}_small", "{kind}_medium", "{kind}_large".

    Args:
        images, detections, categories, kind: as given to `metrics.coco.evaluate`.
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
    """Bits of thresholds [D, A], matched and ignored, of detections with these areas, best first."""
    ranges, most = len(AREAS), len(THRESHOLDS)
    beyond = (area[:, None] < _LOW[:, 0]) | (area[:, None] > _HIGH[:, 0])
    if not items:  # the most common case: no object of the category in the image
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
) -> Matches:
    empty = (np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, len(AREAS))), np.zeros((0, len(AREAS))))
    joined = [np.concatenate(columns) for columns in zip(*(parts or [empty]), strict=True)]
    image, category, score, matched, ignored = joined
    # Stable: equal scores stay in the order of images, and within one in the order of its rows, as the evaluator's do.
    order = np.lexsort((-score, category))
    ranking = RankedDetections(image=image[order].astype(np.int32), category=category[order].astype(np.int32))
    where = np.array([(i, k) for i, k, _ in truths], np.int32).reshape(len(truths), 2)
    counts = np.array([counted for _, _, counted in truths], np.int32).reshape(len(truths), len(AREAS))
    tables = {}
    for a, name in enumerate(AREAS):
        some = counts[:, a] > 0
        tables[f"{kind}_{name}"] = MatchTable(
            ranking=f"{kind}_all",
            rule="coco",
            thresholds=len(THRESHOLDS),
            matched=matched[order, a].astype(np.uint16),
            ignored=ignored[order, a].astype(np.uint16),
            truth_image=where[some, 0],
            truth_category=where[some, 1],
            truth_count=counts[some, a],
        )
    curves: dict[str, Curve] = {f"{kind}_{metric}": (f"{kind}_{area}", at) for metric, (area, at) in CURVES.items()}
    return Matches(rankings={f"{kind}_all": ranking}, tables=tables, curves=curves)


def voc_match_table(matches: VocMatches, categories: Sequence[str], metric: str, rule: Rule) -> Matches:
    """Matches of VOC's evaluation, in the table "voc"."""
    image, category, correct = [], [], []
    for k, name in enumerate(categories):
        image += [i for i, _ in matches.ranked[name]]
        correct += [good for _, good in matches.ranked[name]]
        category += [k] * len(matches.ranked[name])
    truth = [(i, k, n) for k, name in enumerate(categories) for i, n in matches.objects[name].items() if n]
    where = np.array(truth, np.int32).reshape(len(truth), 3)
    table = MatchTable(
        ranking="voc",
        rule="voc_area" if rule == "area" else "voc_11points",
        thresholds=1,
        matched=np.array(correct, np.uint16),
        ignored=np.zeros(len(correct), np.uint16),
        truth_image=where[:, 0],
        truth_category=where[:, 1],
        truth_count=where[:, 2],
    )
    ranking = RankedDetections(image=np.array(image, np.int32), category=np.array(category, np.int32))
    return Matches(rankings={"voc": ranking}, tables={"voc": table}, curves={metric: ("voc", 0)})
