from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Keep, MetricRow
from ltrp_bench.tasks.catalog import voc_det
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import class_names
from ltrp_bench.tasks.splits.split import load_split
from ltrp_bench.tasks.voc_detection import VocDetectionTask

PIPELINE = (
    "pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 120), keep_ratio=True),"
    "dict(type='PackDetInputs')]\n"
)
# (class, difficult, xmin, ymin, xmax, ymax)
OBJECTS = {
    "a": [("aeroplane", 0, 11, 11, 50, 60), ("person", 0, 61, 21, 80, 80), ("person", 1, 101, 1, 120, 30)],
    "b": [("tvmonitor", 0, 1, 1, 40, 40), ("sheep", 0, 51, 51, 90, 80)],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A devkit of two images, a detector of COCO's classes and one of VOC's, and one that finds masks."""
    openmmlab.setup()
    root = tmp_path_factory.mktemp("voc")
    rng = np.random.default_rng(0)
    for stem, objects in OBJECTS.items():
        nodes = "".join(
            f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, difficult, x1, y1, x2, y2 in objects
        )
        for part in ("JPEGImages", "Annotations"):
            (root / "VOC2007" / part).mkdir(parents=True, exist_ok=True)
        text = f"<annotation><size><width>120</width><height>90</height></size>{nodes}</annotation>"
        (root / "VOC2007" / "Annotations" / f"{stem}.xml").write_text(text)
        pixels = rng.integers(0, 256, (90, 120, 3), np.uint8)
        Image.fromarray(pixels).save(root / "VOC2007" / "JPEGImages" / f"{stem}.jpg")
    base = str(openmmlab.config_root() / "retinanet" / "retinanet_r18_fpn_1x_coco.py")
    loose = "model = dict(test_cfg=dict(score_thr=0.0){})\n"
    data = "test_dataloader = dict(dataset=dict(pipeline=pipeline{}))\n"
    (root / "coco.py").write_text(f"_base_ = {base!r}\n{PIPELINE}{data.format('')}{loose.format('')}")
    (root / "voc.py").write_text(
        f"_base_ = {base!r}\n{PIPELINE}{data.format(', type=' + repr('VOCDataset'))}"
        f"{loose.format(', bbox_head=dict(num_classes=20)')}"
    )
    masks = str(openmmlab.config_root() / "rtmdet" / "rtmdet-ins_tiny_8xb32-300e_coco.py")
    test = "model = dict(test_cfg=dict(nms_pre=50, score_thr=0.0, min_bbox_size=-1000))\n"
    padded = PIPELINE.replace(
        "dict(type='PackDetInputs')", "dict(type='Pad', size_divisor=32), dict(type='PackDetInputs')"
    )
    (root / "masks.py").write_text(f"_base_ = {masks!r}\n{padded}{data.format('')}{test}")
    return root


def make(folder: Path, kind: str, **options: Any) -> VocDetectionTask:
    return voc_det(folder, model=folder / f"{kind}.py", random_weights=3, **options)


def perfect(task: VocDetectionTask) -> dict[str, list[dict[str, Any]]]:
    return {
        image_id: [
            {"category": o.category, "score": 1.0, "rle": ""} | dict(zip("xywh", o.box, strict=True))
            for o in task.dataset.truth(i).objects
            if not o.crowd
        ]
        for i, image_id in enumerate(task.dataset.ids)
    }


def values(rows: list[MetricRow]) -> dict[tuple[str, str, str | None], tuple[float, int]]:
    return {(m.metric, m.group, m.category): (m.value, m.n) for m in rows}


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_classes_of_either_name_become_vocs(folder: Path, kind: str) -> None:
    task = make(folder, kind)
    assert len(task.runner.detector.classes) == (80 if kind == "coco" else 20)
    sample = task.load(0)
    keep = Keep(np.ones(task.grid(sample), bool))
    (rows,) = task.predict([sample], [keep])
    (raw,) = task.runner.rows([sample.annotations.prepared], [keep])
    of_coco = {coco: voc for voc, coco in VOC_NAMES.items()} if kind == "coco" else {voc: voc for voc in VOC_NAMES}
    assert rows == [{**row, "category": of_coco[row["category"]]} for row in raw if row["category"] in of_coco]
    assert len(rows) > 0 and all(set(row) == set(task.row_schema) for row in rows)


def test_mmdets_own_voc_configs_name_vocs_classes() -> None:
    openmmlab.setup()
    assert class_names(openmmlab.load_config("retinanet_r50_fpn_1x_voc0712")) == tuple(VOC_NAMES)


def test_metrics_of_groups_and_categories(folder: Path) -> None:
    task = make(folder, "coco", narrow_as="unseen")
    assert task.headline == "voc_AP50" and task.name == "voc-det" and task.domain == "photos"
    records = perfect(task)
    found = values(task.compute_metrics(records))
    for metric in ("voc_AP50", "bbox_AP", "bbox_AP50"):
        assert found[metric, "all", None] == (pytest.approx(1.0), 4)  # the difficult person is not counted
        assert found[metric, "seen", None] == (pytest.approx(1.0), 2)
        assert found[metric, "unseen", "person"] == (pytest.approx(1.0), 1)
    assert math.isnan(found["voc_AP50", "seen", "cat"][0]) and found["voc_AP50", "seen", "cat"][1] == 0
    records["b"] = [row for row in records["b"] if row["category"] != "sheep"]
    records["a"].append({**records["a"][0], "category": "sheep"})
    found = values(task.compute_metrics(records))
    assert [found["voc_AP50", g, None][0] for g in ("all", "seen", "unseen")] == pytest.approx([0.75, 1.0, 0.5])
    assert not any(metric.startswith("segm") for metric, _, _ in found)
    states = load_split("imagenet1k_voc20").groups("unseen")
    assert all(category in states[group] for metric, group, category in found if category is not None)


def test_a_difficult_object_is_neither_found_nor_missed(folder: Path) -> None:
    task = make(folder, "coco")
    records = perfect(task)
    before = values(task.compute_metrics(records))
    difficult = next(o for o in task.dataset.truth(0).objects if o.crowd)
    hit = {"category": "person", "score": 2.0, "rle": ""} | dict(zip("xywh", difficult.box, strict=True))
    records["a"] += [hit, hit]
    found = values(task.compute_metrics(records))
    assert all(found[metric, "all", None] == before[metric, "all", None] for metric in ("voc_AP50", "bbox_AP"))
    records["b"].append(hit)  # the same place in an image without it
    found = values(task.compute_metrics(records))
    assert found["voc_AP50", "all", None][0] == pytest.approx(3.5 / 4)
    assert found["voc_AP50", "seen", "person"][0] == pytest.approx(0.5)


def test_the_rule_of_2007(folder: Path) -> None:
    area, points = make(folder, "coco"), make(folder, "coco", rule="11points")
    assert points.headline == "voc_AP50_11points" and points.identity() != area.identity()
    records = perfect(area)
    records["a"] = [{**records["a"][0], "category": "person", "x": 0.0, "score": 2.0}, *records["a"]]
    stray = values(points.compute_metrics(records))["voc_AP50_11points", "seen", "person"][0]
    assert stray == pytest.approx(0.5)
    with pytest.raises(UsageError, match="rule must be one of area, 11points, got '07'"):
        make(folder, "coco", rule="07")


def test_predicted_masks_are_not_evaluated(folder: Path) -> None:
    task = make(folder, "masks")
    sample = task.load(0)
    (rows,) = task.predict([sample], [Keep(np.ones(task.grid(sample), bool))])
    assert task.runner.detector.finds_masks and task.kinds == ("bbox",)
    assert len(rows) > 0 and {row["rle"] for row in rows} == {""}


def test_the_oracle_ignores_difficult_objects(folder: Path) -> None:
    task = make(folder, "voc", patch=8)
    share = task.oracle_scores(task.load(0))
    scale = 160 / 120
    assert share.shape == (15, 20)
    assert share.sum() * 8 * 8 == pytest.approx((40 * 50 + 20 * 60) * scale**2, rel=1e-3)


def test_wrong_options_are_one_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="voc-det needs a detector: --model"):
        voc_det(folder)
    with pytest.raises(InputError, match="the detector has no class aeroplane, bicycle.*wrong model for this data set"):
        voc_det(folder, model=SHAPES_CONFIG, random_weights=0)
    with pytest.raises(UsageError, match="give the folder with --data DIR"):
        voc_det(model=folder / "coco.py", random_weights=0)


def test_genuine_images(folder: Path, shared_dir: Path) -> None:
    task = voc_det(shared_dir / "data" / "voc2012", model=folder / "coco.py", random_weights=3, limit=2)
    samples = [task.load(i) for i in range(2)]
    keeps = [Keep(np.random.default_rng(0).random(task.grid(s)) < 0.5) for s in samples]
    records = {s.image_id: rows for s, rows in zip(samples, task.predict(samples, keeps), strict=True)}
    found = values(task.compute_metrics(records))
    assert 0 <= found["voc_AP50", "all", None][0] < 0.5 and found["voc_AP50", "all", None][1] > 2
    assert math.isnan(found["voc_AP50", "unseen", None][0])  # none of VOC's classes is unseen, only narrow
