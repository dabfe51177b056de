from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_detectors import KINDS, write_configs

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.catalog import coco_det, shapes_det
from ltrp_bench.tasks.detection import DetectionTask
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, load_detector
from ltrp_bench.tasks.splits.split import load_split


def wake(task: DetectionTask) -> DetectionTask:
    """Give the untrained network batch statistics: with those it starts from, the image hardly matters."""
    model = task.runner.detector.model
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        model.extract_feat(torch.randn(2, 3, 128, 160, generator=torch.Generator().manual_seed(0)))
    model.eval()
    return task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images in COCO's format and small configs of four kinds of detectors."""
    root = tmp_path_factory.mktemp("det")
    (root / "coco" / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = list(load_split("imagenet1k_coco80").states)
    images, annotations = [], []
    for i, (h, w) in enumerate([(90, 120), (120, 90), (90, 120)], start=1):
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)).save(root / "coco" / "images" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "height": h, "width": w})
        for k in range(2):
            box = [10 + 20 * k, 15, 30, 40]
            annotations.append(
                {"id": 2 * i + k, "image_id": i, "category_id": 1 + k * 24, "bbox": box, "area": 1200, "iscrowd": 0}
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
    }
    (root / "coco" / "instances.json").write_text(json.dumps(content))
    write_configs(root)
    return root


@pytest.fixture(scope="module")
def tasks(folder: Path) -> dict[str, DetectionTask]:
    return {kind: coco_det(folder / "coco", model=folder / f"{kind}.py", random_weights=3, patch=16) for kind in KINDS}


def half(task: DetectionTask, index: int) -> tuple[Any, np.ndarray]:
    sample = task.load(index)
    gh, gw = task.grid(sample)
    return sample, np.random.default_rng(index).random((gh, gw)) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_changing_dropped_pixels_changes_nothing(tasks: dict[str, DetectionTask], folder: Path, kind: str) -> None:
    task = tasks[kind]
    if kind == "padded":
        # RTMDet starts with a head so small that its scores are all 0.01 after rounding, whatever it is shown.
        task = wake(coco_det(folder / "coco", model=folder / "padded.py", random_weights=3, patch=16))
        head = task.runner.detector.model.bbox_head
        with torch.no_grad():
            for layer in (*head.rtm_cls, *head.rtm_reg):
                layer.weight.mul_(30)
    sample, keep = half(task, 0)
    before = task.predict([sample], [Keep(keep)])[0]
    assert len(before) > 0
    prepared = sample.annotations.prepared
    content = prepared.content
    dropped = ~np.repeat(np.repeat(keep, 16, 0), 16, 1)[: content.shape[0], : content.shape[1]]
    held = content.copy()
    content[dropped] = 255 - content[dropped]
    assert task.predict([sample], [Keep(keep)])[0] == before
    content[~dropped] = 255 - content[~dropped]
    assert task.predict([sample], [Keep(keep)])[0] != before
    content[:] = held


@pytest.mark.parametrize("kind", KINDS)
def test_dropped_patches_are_zero_after_normalization(tasks: dict[str, DetectionTask], kind: str) -> None:
    runner = tasks[kind].runner
    sample, keep = half(tasks[kind], 1)
    packed = runner.reduce(sample.annotations.prepared, Keep(keep))
    batch = {key: [value] for key, value in packed.items()}
    normalised = runner.detector.model.data_preprocessor(batch, False)["inputs"][0]
    h, w = sample.annotations.prepared.content.shape[:2]
    dropped = torch.from_numpy(~np.repeat(np.repeat(keep, 16, 0), 16, 1)[:h, :w])
    assert (normalised[:, :h, :w][:, dropped] == 0).all()
    assert (normalised[:, :h, :w][:, ~dropped] != 0).any()


def test_padding_has_no_patches(tasks: dict[str, DetectionTask]) -> None:
    for kind in ("dense", "padded"):
        assert [tasks[kind].grid(tasks[kind].load(i)) for i in (0, 1)] == [(8, 10), (10, 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_does_not_depend_on_its_batch(tasks: dict[str, DetectionTask], kind: str) -> None:
    task = tasks[kind]
    pairs = [half(task, i) for i in (0, 2, 1)]
    together = task.predict([s for s, _ in pairs], [Keep(k) for _, k in pairs])
    assert together == [task.predict([s], [Keep(k)])[0] for s, k in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_metrics(tasks: dict[str, DetectionTask], kind: str) -> None:
    task = tasks[kind]
    records = {}
    for i in range(3):
        sample, keep = half(task, i)
        (rows,) = task.predict([sample], [Keep(np.ones_like(keep))])
        scores = [row["score"] for row in rows]
        assert len(rows) <= 100 and scores == sorted(scores, reverse=True)
        assert all(set(row) == set(task.row_schema) for row in rows)
        assert all((row["rle"] != "") == (kind == "masks") for row in rows)
        h, w = sample.image.shape[:2]
        assert all(row["x"] + row["w"] <= w + 1 and row["y"] + row["h"] <= h + 1 for row in rows)
        records[sample.image_id] = rows
    found = {(m.metric, m.group, m.category) for m in task.compute_metrics(records)}
    assert ("bbox_AP", "unseen", None) in found and ("bbox_AR100", "seen", "person") in found
    assert (("segm_AP", "all", None) in found) == (kind == "masks")


def test_perfect_detections_score_one_and_none_zero(tasks: dict[str, DetectionTask]) -> None:
    task = tasks["dense"]
    perfect = {
        image_id: [
            {"category": o.category, "score": 1.0, "rle": ""} | dict(zip("xywh", o.box, strict=True))
            for o in task.dataset.truth(i).objects
        ]
        for i, image_id in enumerate(task.dataset.ids)
    }
    values = {(m.metric, m.group): m.value for m in task.compute_metrics(perfect) if m.category is None}
    assert values["bbox_AP", "seen"] == values["bbox_AP", "all"] == pytest.approx(1.0)
    values = {
        (m.metric, m.group): m.value for m in task.compute_metrics({key: [] for key in perfect}) if m.category is None
    }
    assert values["bbox_AP", "all"] == 0.0


def test_downsampling_maps_boxes_back(tasks: dict[str, DetectionTask]) -> None:
    task = tasks["dense"]
    sample = task.load(0)
    prepared = sample.annotations.prepared
    packed = task.runner.reduce(prepared, Downsample(0.25))
    assert packed["inputs"].shape[1:] == (60, 80)
    np.testing.assert_allclose(packed["data_samples"].scale_factor, (80 / 120, 60 / 90))
    whole = task.runner.reduce(prepared, Downsample(1.0))
    torch.testing.assert_close(whole["inputs"], task.runner.reduce(prepared, Keep(np.ones((8, 10), bool)))["inputs"])
    rows = task.predict([sample], [Downsample(0.25)])[0]
    assert max(row["x"] + row["w"] for row in rows) > 90  # in the original's pixels, not the small image's


def test_the_oracle_sees_the_objects(tasks: dict[str, DetectionTask]) -> None:
    sample = tasks["dense"].load(0)
    share = tasks["dense"].oracle_scores(sample)
    scale = 160 / 120
    assert share.shape == (8, 10) and share.sum() * 16 * 16 == pytest.approx(50 * 40 * scale**2, rel=1e-3)


def test_wrong_options_are_one_line(folder: Path, tmp_path: Path) -> None:
    data = folder / "coco"
    with pytest.raises(UsageError, match="--model-weights"):
        coco_det(data, model=folder / "dense.py")
    with pytest.raises(UsageError, match="not both"):
        load_detector(folder / "dense.py", "x.pth", random_weights=0)
    with pytest.raises(UsageError, match="--model"):
        coco_det(data)
    with pytest.raises(InputError, match="wrong model for this data set"):
        coco_det(data, model=SHAPES_CONFIG, random_weights=0)
    with pytest.raises(InputError, match="similar names"):
        coco_det(data, model="retinanet_r19_fpn_1x_coco", random_weights=0)
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(type='NoSuchDetector')\n")
    with pytest.raises(InputError, match="NoSuchDetector"):
        load_detector(broken, None, random_weights=0)
    with pytest.raises(InputError, match="40 classes, its data set 80"):
        odd = folder / "odd.py"
        odd.write_text("_base_ = './dense.py'\nmodel = dict(bbox_head=dict(num_classes=40))\n")
        load_detector(odd, None, random_weights=0)


def test_dropped_pixels_of_shapes_leak_nothing_from_the_start() -> None:
    task = shapes_det(limit=2, random_weights=0)
    sample = task.load(0)
    keep = np.random.default_rng(0).random((12, 12)) < 0.5
    assert task.grid(sample) == (12, 12)
    dropped = ~np.kron(keep, np.ones((8, 8), bool))
    other = sample.image.copy()
    other[dropped] = 0
    rows = task.runner.rows([task.runner.prepare(p) for p in (sample.image, other)], [Keep(keep)] * 2)
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_the_genuine_yolox_nano_on_all_images(shared_dir: Path) -> None:
    data = shared_dir / "data"
    weights = data / "weights" / "yolox_nano_coco.pth"
    task = coco_det(data / "coco", model="yolox_nano_8xb8-300e_coco", model_weights=weights)
    assert len(task) == 210 and task.reduction == "fill"
    records = {}
    for sample in map(task.load, range(len(task))):
        records[sample.image_id] = task.predict([sample], [Keep(np.ones(task.grid(sample), bool))])[0]
    values = {m.group: m.value for m in task.compute_metrics(records) if (m.metric, m.category) == ("bbox_AP", None)}
    # .286 by the ONNX original with its own resizing; the groups are as ImageNet-1K's split forms them.
    assert values["all"] == pytest.approx(0.2817, abs=0.002)
    assert values["seen"] == pytest.approx(0.2893, abs=0.002)
    assert values["unseen"] == pytest.approx(0.2512, abs=0.002)
