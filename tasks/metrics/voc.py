"""Pascal VOC's average precision of boxes, one number a category (Everingham et al., 2010, section 4.2).

Detections of a category are taken best first over all images. One is correct if the object that it overlaps
most, of its category in its image, overlaps by an IoU of at least 0.5 and was not found before; it is left out if
that object is difficult; otherwise it is wrong. Groups are means over categories: a category's number does not depend
on what else is evaluated.

Own code, though mmdet has the same: `mmdet.evaluation.eval_map` forks four processes a call, leaves the order of equal
scores to an unstable sort, and computes in single precision. Tests compare the two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation

Rule = Literal["area", "11points"]
THRESHOLD = 0.5


@dataclass(frozen=True)
class VocEvaluation:
    """Result of one evaluation.

    Attributes:
        precision: category -> average precision in [0, 1]; NaN without an object that counts.
        counts: category -> number of objects, difficult ones left out.
    """

    precision: Mapping[str, float]
    counts: Mapping[str, int]

    def metric(self, categories: Iterable[str] | None = None) -> float:
        """Mean over a group of categories, those without objects left out; NaN if that leaves none."""
        chosen = self.precision if categories is None else set(categories)
        values = [value for name, value in self.precision.items() if name in chosen and not math.isnan(value)]
        return math.fsum(values) / len(values) if values else math.nan

    def count(self, categories: Iterable[str] | None = None) -> int:
        """Number of objects in a group of categories, difficult ones left out."""
        return sum(self.counts[name] for name in (self.precision if categories is None else categories))


def evaluate_voc(
    images: Sequence[ImageAnnotations],
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    categories: Sequence[str],
    rule: Rule = "area",
    threshold: float = THRESHOLD,
) -> VocEvaluation:
    """Evaluate detections as VOC's devkit does.

    Boxes are between the edges of pixels, so their IoU is the devkit's, which counts the pixels at both corners in.

    Args:
        images: ground truth, difficult objects as crowds, in the order of image ids, which breaks ties between equal
            scores.
        detections: image id -> rows with category, score, x, y, w, h (pixels of the image).
        categories: all categories of the data set, in its order.
        rule: "area" under the precision envelope (2010 and later) or the mean of the envelope at "11points" (2007).
        threshold: least IoU of a correct detection.
    """
    matches = voc_matches(images, detections, categories, threshold)
    counts = {name: sum(matches.objects[name].values()) for name in categories}
    precision = {
        name: _average_precision(np.array([good for _, good in matches.ranked[name]], bool), counts[name], rule)
        for name in categories
    }
    return VocEvaluation(precision, counts)


@dataclass(frozen=True)
class VocMatches:
    """Matches of detections with objects; images by position.

    Attributes:
        ranked: category -> (image, True if correct) of each detection that counts, best first.
        objects: category -> image -> number of its objects, difficult ones left out.
    """

    ranked: Mapping[str, Sequence[tuple[int, bool]]]
    objects: Mapping[str, Mapping[int, int]]


def voc_matches(
    images: Sequence[ImageAnnotations],
    detections: Mapping[str, Sequence[Mapping[str, Any]]],
    categories: Sequence[str],
    threshold: float = THRESHOLD,
) -> VocMatches:
    """Match every detection with the objects; arguments as of `evaluate_voc`."""
    truth: dict[str, dict[int, list[ObjectAnnotation]]] = {name: defaultdict(list) for name in categories}
    found: dict[str, list[tuple[float, int, Sequence[float]]]] = {name: [] for name in categories}
    for i, image in enumerate(images):
        for item in image.objects:
            truth[item.category][i].append(item)
        for row in detections.get(image.image_id, ()):
            found[row["category"]].append((row["score"], i, (row["x"], row["y"], row["w"], row["h"])))
    return VocMatches(
        {name: _matches(truth[name], found[name], threshold) for name in categories},
        {name: {i: sum(not o.crowd for o in own) for i, own in truth[name].items()} for name in categories},
    )


def _matches(
    truth: Mapping[int, Sequence[ObjectAnnotation]],
    found: Sequence[tuple[float, int, Sequence[float]]],
    threshold: float,
) -> list[tuple[int, bool]]:
    """(image, True if correct), best first; detections of difficult objects are left out."""
    boxes = {i: np.array([item.box for item in objects], np.float64) for i, objects in truth.items()}
    taken: set[tuple[int, int]] = set()
    matches: list[tuple[int, bool]] = []
    for _, i, box in sorted(found, key=lambda one: -one[0]):  # stable: equal scores stay in the order given
        if i not in boxes:
            matches.append((i, False))
            continue
        overlaps = _overlaps(boxes[i], box)
        best = int(overlaps.argmax())
        if overlaps[best] < threshold:
            matches.append((i, False))
        elif not truth[i][best].crowd:
            matches.append((i, (i, best) not in taken))
            taken.add((i, best))
    return matches


def _overlaps(boxes: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """[n] IoU of boxes [n, 4] (x, y, width, height), each of positive area, with one box."""
    x, y, w, h = box
    wide = np.minimum(boxes[:, 0] + boxes[:, 2], x + w) - np.maximum(boxes[:, 0], x)
    high = np.minimum(boxes[:, 1] + boxes[:, 3], y + h) - np.maximum(boxes[:, 1], y)
    both = np.maximum(wide, 0) * np.maximum(high, 0)
    return both / (boxes[:, 2] * boxes[:, 3] + max(w, 0) * max(h, 0) - both)


def _average_precision(right: np.ndarray, objects: int, rule: Rule) -> float:
    """Average precision of detections, best first, True where correct; NaN without objects.

    The envelope is the best precision at this recall or a higher one.
    """
    if not objects:
        return math.nan
    hits = right.cumsum()
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if rule == "area":
        # Recall rises by 1 / objects at each true positive, nowhere else.
        return math.fsum(envelope[right]) / objects
    # Integers: a recall of 3/10 reaches the point 0.3, which as a sum of tenths it would miss by a rounding error.
    reached = [np.flatnonzero(10 * hits >= point * objects) for point in range(11)]
    return math.fsum(envelope[r[0]] for r in reached if len(r)) / 11
