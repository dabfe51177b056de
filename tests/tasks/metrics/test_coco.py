from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation, size_bucket
from ltrp_bench.tasks.data.coco_format.folder import CocoFolder
from ltrp_bench.tasks.metrics.coco import METRICS, evaluate

# Printed by pycocotools' own demo for these files (cocodataset/cocoapi, pycocoEvalDemo).
OFFICIAL = {
    "bbox": [0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564],
}
# To four digits, from shared/README.md.
OFFICIAL_AP = {"bbox": 0.5046, "segm": 0.3195}


def official(truth: dict[str, Any], results: list[dict[str, Any]], kind: str, **params: Any) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        run = COCOeval(gt, gt.loadRes(results), kind)
        for name, value in params.items():
            setattr(run.params, name, value)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def as_rows(results: list[dict[str, Any]], names: dict[int, str]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for r in results:
        x, y, w, h = r.get("bbox", (0, 0, 0, 0))
        rle = r.get("segmentation", {}).get("counts", "")
        row = {"category": names[r["category_id"]], "score": r["score"], "x": x, "y": y, "w": w, "h": h, "rle": rle}
        rows.setdefault(str(r["image_id"]), []).append(row)
    return rows


@pytest.fixture(scope="module")
def demo(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CocoFolder, Path]:
    folder = shared_dir / "data" / "coco_eval"
    root = tmp_path_factory.mktemp("demo")
    (root / "images").mkdir()
    (root / "instances.json").symlink_to(folder / "instances_val2014_100.json")
    return CocoFolder(root), folder


def true_images(data: CocoFolder) -> list[ImageAnnotations]:
    return [
        ImageAnnotations(
            str(image.id),
            image.height,
            image.width,
            [
                ObjectAnnotation(
                    data.categories[o.category_id],
                    o.box,
                    o.area,
                    crowd=o.crowd,
                    rle=o.rle(image.height, image.width),
                )
                for o in data.objects.get(image.id, [])
            ],
        )
        for image in data.images
    ]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_equal_to_the_official_result(demo: tuple[CocoFolder, Path], kind: str) -> None:
    data, folder = demo
    results = json.loads((folder / f"instances_val2014_fake{kind}100_results.json").read_text())
    run = evaluate(true_images(data), as_rows(results, data.categories), list(data.categories.values()), kind)  # type: ignore[arg-type]
    values = [run.metric(name) for name in METRICS]
    assert values[0] == pytest.approx(OFFICIAL_AP[kind], abs=5e-5)
    if kind in OFFICIAL:
        assert values == pytest.approx(OFFICIAL[kind], abs=5.1e-4)
    reference = official(json.loads(data.annotations.read_text()), results, kind)
    assert values == pytest.approx(list(reference.stats), abs=1e-12)


def test_groups_equal_one_category_at_a_time(demo: tuple[CocoFolder, Path]) -> None:
    data, folder = demo
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    names = list(data.categories.values())
    run = evaluate(true_images(data), as_rows(results, data.categories), names)
    truth = json.loads(data.annotations.read_text())
    single: dict[str, np.ndarray] = {}
    for number, name in data.categories.items():
        alone = official(truth, [dict(r) for r in results], "bbox", catIds=[number])
        single[name] = np.where(alone.stats < 0, np.nan, alone.stats)
    for group in (names[::2], names[1::3], names[:1], names):
        for column, metric in ((0, "AP"), (1, "AP50"), (2, "AP75"), (8, "AR100")):
            values = np.array([single[name][column] for name in group])
            expected = np.nanmean(values) if np.isfinite(values).any() else math.nan
            assert run.metric(metric, group) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    images = [{"id": i, "height": 200, "width": 200} for i in range(draw(st.integers(1, 4)))]
    annotations: list[dict[str, Any]] = []
    results = []
    for image in images:
        for _ in range(int(rng.integers(0, 5))):
            x, y, w, h = (float(v) for v in rng.uniform(1, 90, 4).round(1))
            crowd = int(rng.random() < 0.2)
            category = int(rng.integers(1, 4))
            annotations.append(
                # Numbered from 1: pycocotools takes the id 0 for "unmatched" (the evaluator renumbers).
                {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category}
                | {"bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd}
            )
            for _ in range(int(rng.integers(0, 3))):
                dx, dy, dw, dh = rng.normal(0, 4, 4)
                box = [x + dx, y + dy, max(w + dw, 1), max(h + dh, 1)]
                guess = category if rng.random() < 0.8 else int(rng.integers(1, 5))
                results.append(
                    {"image_id": image["id"], "category_id": guess, "bbox": box, "score": round(float(rng.random()), 2)}
                )
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": str(k)} for k in range(1, 5)],
    }
    return truth, results


@settings(max_examples=30)
@given(worlds())
def test_equal_to_pycocotools_on_random_worlds(world: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    truth, results = world
    images = [
        ImageAnnotations(
            str(image["id"]),
            200,
            200,
            [
                ObjectAnnotation(str(a["category_id"]), tuple(a["bbox"]), a["area"], crowd=bool(a["iscrowd"]))
                for a in truth["annotations"]
                if a["image_id"] == image["id"]
            ],
        )
        for image in truth["images"]
    ]
    names = ["1", "2", "3", "4"]
    run = evaluate(images, as_rows(results, {k: str(k) for k in range(1, 5)}), names)
    if not results:
        defined = {a["category_id"] for a in truth["annotations"] if not a["iscrowd"]}
        assert run.metric("AP") == 0.0 if defined else math.isnan(run.metric("AP"))
        return
    expected = np.where(official(truth, results, "bbox").stats < 0, np.nan, official(truth, results, "bbox").stats)
    assert [run.metric(m) for m in METRICS] == pytest.approx(list(expected), abs=1e-12, nan_ok=True)


def test_no_detections_and_no_objects() -> None:
    image = ImageAnnotations("a", 100, 100, [ObjectAnnotation("cat", (10, 10, 20, 20), 400.0)])
    run = evaluate([image], {}, ["cat", "dog"])
    assert run.metric("AP") == 0.0 and run.metric("AR100") == 0.0
    assert math.isnan(run.metric("AP", ["dog"])) and math.isnan(run.metric("APl"))
    assert run.count() == 1 and run.count(["dog"]) == 0
    empty = evaluate([ImageAnnotations("a", 10, 10, [])], {}, ["cat"])
    assert math.isnan(empty.metric("AP"))


def test_the_first_object_counts() -> None:
    """Annotation id 0 is "unmatched" to the official code: numbering must not start there."""
    images = [ImageAnnotations("a", 100, 100, [ObjectAnnotation("cat", (10, 10, 20, 20), 400.0)])]
    row = {"category": "cat", "score": 0.9, "x": 10, "y": 10, "w": 20, "h": 20, "rle": ""}
    assert evaluate(images, {"a": [row]}, ["cat"]).metric("AP") == pytest.approx(1.0)


def test_size_buckets_are_cocos() -> None:
    assert [size_bucket(a) for a in (1023.9, 1024, 9215.9, 9216)] == ["small", "medium", "medium", "large"]


def box_row(x: float, side: float, score: float, category: str = "cat", rle: str = "") -> dict[str, Any]:
    return {"category": category, "score": score, "x": x, "y": 0, "w": side, "h": side, "rle": rle}


def test_recall_looks_at_1_10_and_100_detections_of_an_image() -> None:
    """105 objects, each found: the best detections of the image, and no more than a hundred, count."""
    objects = [ObjectAnnotation("cat", (20.0 * i, 0, 10, 10), 100.0) for i in range(105)]
    rows = [box_row(20.0 * i, 10, 0.9 - i / 1000) for i in range(105)]
    run = evaluate([ImageAnnotations("a", 10, 2200, objects)], {"a": rows}, ["cat"])
    assert [run.metric(name) for name in ("AR1", "AR10", "AR100")] == pytest.approx([1 / 105, 10 / 105, 100 / 105])
    assert run.metric("ARs") == pytest.approx(100 / 105) and math.isnan(run.metric("ARm"))
    assert run.count() == 105


@pytest.mark.filterwarnings("error:Mean of empty slice")
def test_thresholds_and_groups_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """A cat is found at an IoU of 0.6, a dog exactly, a crowd of cows by nobody."""
    objects = [
        ObjectAnnotation("cat", (0, 0, 100, 100), 10_000.0),
        ObjectAnnotation("dog", (200, 0, 40, 40), 1600.0),
        ObjectAnnotation("cow", (400, 0, 40, 40), 1600.0, crowd=True),
    ]
    image = ImageAnnotations("b", 500, 500, objects)
    rows = [{**box_row(0, 100, 0.9), "h": 60}, box_row(200, 40, 0.8, "dog")]
    run = evaluate([ImageAnnotations("a", 500, 500, []), image], {"b": rows}, ["cow", "cat", "dog"])
    assert run.categories == ("cow", "cat", "dog")
    assert [run.metric(m, ["cat"]) for m in ("AP", "AP50", "AP75", "APl", "AR1")] == pytest.approx(
        [0.3, 1, 0, 0.3, 0.3]
    )
    assert run.metric("AP", ["dog"]) == pytest.approx(1.0) == run.metric("APm")
    assert run.metric("AP") == pytest.approx(0.65) and math.isnan(run.metric("AP", ["cow", "unicorn"]))
    assert run.counts == {"cow": 0, "cat": 1, "dog": 1}
    assert run.count() == 2 and run.count(["cat", "unicorn"]) == 1 == run.count(["dog", "cow"])
    assert {key: held.tolist() for key, held in run.overlaps.items()} == {
        (1, 1): [[pytest.approx(0.6)]],
        (1, 2): [[pytest.approx(1.0)]],
    }
    assert capsys.readouterr().out == "", "the evaluator is silent"


def test_masks_by_hand() -> None:
    """A mask of 8 x 4 pixels in an image of 20 x 30; the row without a mask is left out, though it comes first."""
    pixels = np.zeros((20, 30), np.uint8, order="F")
    pixels[2:10, 20:24] = 1
    code = mask_tools.encode(pixels)["counts"].decode()
    large = 4000.0 * 4  # by its mask, not by its box, a detection is small
    item = ObjectAnnotation("cat", (20, 2, 4, 8), 32.0, rle={"size": [20, 30], "counts": code})
    rows = [box_row(0, large, 0.9), box_row(0, large, 0.5, rle=code)]
    run = evaluate([ImageAnnotations("a", 20, 30, [item])], {"a": rows}, ["cat"], "segm")
    assert run.metric("AP") == pytest.approx(1.0) == run.metric("APs")
    found = run.overlaps[0, 0]
    assert found.shape == (1, 1) and found[0, 0] == pytest.approx(1.0)
