"""Matches of detections: average precision from them is the evaluator's, at unit weights and on copied images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle_tools

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ordered_groups
from ltrp_bench.results.summaries.detections import DetectionsSummary
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.metrics.coco import Kind, evaluate
from ltrp_bench.tasks.metrics.detection_matches import AREAS, CURVES, Matches, coco_matches, voc_match_table
from ltrp_bench.tasks.metrics.voc import Rule, evaluate_voc, voc_matches

Records = dict[str, list[dict[str, Any]]]


def _drawn(images: Sequence[str], count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array(
        [np.bincount(rng.integers(0, len(images), len(images)), minlength=len(images)) for _ in range(count)]
    )


def _copies(records: Mapping[str, Any], images: Sequence[str], weights: np.ndarray) -> dict[str, Any]:
    return {f"{i}/{n}": records[i] for i, w in zip(images, weights.tolist(), strict=True) for n in range(w)}


CATEGORIES = ("cat", "dog", "kite")
PARTS = {"all": CATEGORIES, "seen": ("cat", "dog"), "unseen": ("kite",)}


def _world(seed: int, images: int = 40) -> tuple[list[ImageAnnotations], Records]:
    """Crowded images: crowds, sizes across all borders, equal scores, equal boxes, several tries at one object."""
    rng = np.random.default_rng(seed)
    truth, found = [], {}
    for i in range(images):
        objects, rows = [], []
        for _ in range(int(rng.integers(0, 7))):
            side = float(rng.choice([10.0, 32.0, 60.0, 96.0, 120.0]))
            x, y = (float(v) for v in rng.integers(0, 40, 2) * 4)
            category = str(rng.choice(CATEGORIES))
            # The area of a mask is less than its box's, and may lie in another size.
            area = side * side * float(rng.choice([1.0, 0.8]))
            objects.append(ObjectAnnotation(category, (x, y, side, side), area, crowd=bool(rng.random() < 0.15)))
            for _ in range(int(rng.integers(0, 4))):
                dx, dy = (float(v) for v in rng.choice([0.0, 0.0, 4.0, 12.0], 2))
                rows.append(_row(rng, category, x + dx, y + dy, side))
        for _ in range(int(rng.integers(0, 3))):
            x, y = (float(v) for v in rng.integers(0, 160, 2))
            rows.append(_row(rng, str(rng.choice(CATEGORIES)), x, y, float(rng.choice([12.0, 50.0, 130.0]))))
        truth.append(ImageAnnotations(f"{i:03d}", 300, 300, objects))
        found[f"{i:03d}"] = rows
    found["000"] = [_row(rng, "cat", float(i), 0.0, 20.0) for i in range(130)]  # more than are looked at
    return truth, found


def _row(rng: np.random.Generator, category: str, x: float, y: float, side: float) -> dict[str, Any]:
    score = float(rng.choice([0.1, 0.3, 0.5, 0.7, 0.9]))
    return {"category": category, "score": score, "x": x, "y": y, "w": side, "h": side, "rle": ""}


def _mask(x: float, y: float, side: float) -> dict[str, Any]:
    """A disc in the square: its area is less than the square's."""
    down, across = np.mgrid[:300, :300]
    disc = (down - y - side / 2) ** 2 + (across - x - side / 2) ** 2 <= (side / 2) ** 2
    code = rle_tools.encode(np.asfortranarray(disc.astype(np.uint8)))
    return {"size": [300, 300], "counts": code["counts"].decode()}


def _with_masks(truth: list[ImageAnnotations], found: Records) -> tuple[list[ImageAnnotations], Records]:
    truth = [
        replace(t, objects=[replace(o, rle=_mask(o.box[0], o.box[1], o.box[2])) for o in t.objects]) for t in truth
    ]
    for rows in found.values():
        for i, row in enumerate(rows):
            row["rle"] = _mask(row["x"], row["y"], row["w"])["counts"] if i % 9 else ""
    return truth, found


def _summary(truth: Sequence[ImageAnnotations], matches: Matches) -> DetectionsSummary:
    return DetectionsSummary(
        images=tuple(image.image_id for image in truth),
        categories=CATEGORIES,
        groups=ordered_groups(CATEGORIES, PARTS),
        metrics=tuple(matches.curves),
        rankings=matches.rankings,
        tables=matches.tables,
        curves=matches.curves,
    )


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(5))
def test_matching_is_the_evaluators(seed: int, kind: Kind) -> None:
    truth, found = _world(seed)
    if kind == "segm":
        truth, found = _with_masks(truth[:12], {t.image_id: found[t.image_id] for t in truth[:12]})
    once = evaluate(truth, found, CATEGORIES, kind)
    summary = _summary(truth, coco_matches(truth, found, CATEGORIES, kind, once.overlaps))
    assert len(summary.metrics) == len(CURVES) and len(summary.tables) == len(AREAS)
    for metric in CURVES:
        for group in GROUPS:
            expected = once.metric(metric, PARTS[group])
            assert summary.measured(f"{kind}_{metric}", group) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("rule", ["area", "11points"])
@pytest.mark.parametrize("seed", range(3))
def test_vocs_rules(seed: int, rule: Rule) -> None:
    truth, found = _world(seed)
    matches = voc_matches(truth, found, CATEGORIES)
    summary = _summary(truth, voc_match_table(matches, CATEGORIES, "voc_AP50", rule))
    once = evaluate_voc(truth, found, CATEGORIES, rule)
    for group in GROUPS:
        assert summary.measured("voc_AP50", group) == pytest.approx(once.metric(PARTS[group]), abs=1e-12)
    # Copies, with scores that tell all detections apart: equal ones of two images would interleave.
    rng = np.random.default_rng(seed)
    found = {i: [{**row, "score": float(rng.random())} for row in rows] for i, rows in found.items()}
    matches = voc_matches(truth, found, CATEGORIES)
    summary = _summary(truth, voc_match_table(matches, CATEGORIES, "voc_AP50", rule))
    images = [t.image_id for t in truth]
    for weights in _drawn(images):
        copies = _copies(found, images, weights)
        by_id = {t.image_id: t for t in truth}
        again = [ImageAnnotations(name, 300, 300, by_id[name.rpartition("/")[0]].objects) for name in copies]
        once = evaluate_voc(again, copies, CATEGORIES, rule)
        for group in GROUPS:
            value = summary.values("voc_AP50", group, weights[None])[0]
            assert value == pytest.approx(once.metric(PARTS[group]), abs=1e-12)


BY_HAND = [
    ImageAnnotations("a", 500, 500, [ObjectAnnotation("dog", (0, 0, 9, 9), 81.0, crowd=True)]),
    ImageAnnotations("b", 500, 500, [ObjectAnnotation("cat", (0, 0, 100, 100), 10_000.0)]),
]
ROWS: Records = {
    "b": [
        {"category": "dog", "score": 0.4, "x": 0, "y": 0, "w": 10, "h": 10, "rle": ""},
        {"category": "cat", "score": 0.5, "x": 0, "y": 0, "w": 100, "h": 60, "rle": ""},
    ]
}


def test_coco_matches_by_hand() -> None:
    """A large cat is found at an IoU of 0.6, three thresholds, by a medium box; a small dog is nowhere."""
    overlaps = evaluate(BY_HAND, ROWS, CATEGORIES).overlaps
    found = coco_matches(BY_HAND, ROWS, CATEGORIES, "bbox", overlaps)
    assert {name: (r.image.tolist(), r.category.tolist()) for name, r in found.rankings.items()} == {
        "bbox_all": ([1, 1], [0, 1])
    }
    every, hit = 2**10 - 1, 0b111
    # Cat, dog. A match with an object of another size, and what is of another size itself, is ignored.
    expected = {
        "bbox_all": ([hit, 0], [0, 0], [1]),
        "bbox_small": ([0, 0], [every, 0], []),
        "bbox_medium": ([0, 0], [hit, every], []),
        "bbox_large": ([hit, 0], [every - hit, every], [1]),
    }
    assert list(found.tables) == list(expected)
    for name, (matched, ignored, count) in expected.items():
        table = found.tables[name]
        assert (table.matched.tolist(), table.ignored.tolist()) == (matched, ignored), name
        assert table.truth_count.tolist() == count and table.truth_image.tolist() == [1] * len(count)
        assert table.truth_category.tolist() == [0] * len(count)
        assert (table.ranking, table.rule, table.thresholds) == ("bbox_all", "coco", 10)
        parts = (table.matched, table.ignored, table.truth_image, table.truth_category, table.truth_count)
        assert [str(part.dtype) for part in parts] == ["uint16", "uint16", "int32", "int32", "int32"]
    assert found.curves == {
        "bbox_AP": ("bbox_all", None),
        "bbox_AP50": ("bbox_all", 0),
        "bbox_AP75": ("bbox_all", 5),
        "bbox_APs": ("bbox_small", None),
        "bbox_APm": ("bbox_medium", None),
        "bbox_APl": ("bbox_large", None),
    }
    ranking = found.rankings["bbox_all"]
    assert ranking.image.dtype == ranking.category.dtype == np.int32


def test_an_overlap_at_a_threshold_is_a_match() -> None:
    truth = [ImageAnnotations("b", 50, 50, [ObjectAnnotation("cat", (0, 0, 10, 10), 100.0)])]
    rows: Records = {"b": [{"category": "cat", "score": 0.4, "x": 0, "y": 0, "w": 10, "h": 5, "rle": ""}]}
    once = evaluate(truth, rows, CATEGORIES)
    found = coco_matches(truth, rows, CATEGORIES, "bbox", once.overlaps)
    assert found.tables["bbox_all"].matched.tolist() == [1] and once.metric("AP50") == pytest.approx(1.0)


def test_vocs_matches_by_hand() -> None:
    found = voc_match_table(voc_matches(BY_HAND, ROWS, CATEGORIES), CATEGORIES, "voc_AP50", "11points")
    (table,), (ranking,) = found.tables.values(), found.rankings.values()
    assert list(found.tables) == list(found.rankings) == [table.ranking] == ["voc"]
    assert (ranking.image.tolist(), ranking.category.tolist()) == ([1, 1], [0, 1])
    assert (table.matched.tolist(), table.ignored.tolist(), table.thresholds) == ([1, 0], [0, 0], 1)
    truth = (table.truth_image, table.truth_category, table.truth_count)
    assert [part.tolist() for part in truth] == [[1], [0], [1]] and {str(part.dtype) for part in truth} == {"int32"}
    assert {str(table.matched.dtype), str(table.ignored.dtype)} == {"uint16"}
    assert ranking.image.dtype == ranking.category.dtype == np.int32
    assert table.rule == "voc_11points" and found.curves == {"voc_AP50": ("voc", 0)}
    area = voc_match_table(voc_matches(BY_HAND, {}, CATEGORIES), CATEGORIES, "x", "area")
    assert area.tables["voc"].rule == "voc_area" and area.tables["voc"].matched.shape == (0,)


def test_without_images_tables_are_empty() -> None:
    found = coco_matches([], {}, CATEGORIES, "segm", {})
    assert list(found.tables) == [f"segm_{name}" for name in AREAS]
    assert all(table.matched.shape == table.truth_count.shape == (0,) for table in found.tables.values())
    assert found.rankings["segm_all"].image.shape == (0,)
