"""Segmentation tasks: dropped patches leave no trace, classes are matched by name, metrics by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep, Sample
from ltrp_bench.tasks.catalog import ade20k_seg, cocostuff_seg, shapes_seg, voc_seg
from ltrp_bench.tasks.data.semantic import BACKGROUND
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.segmentation import CALLED_SEEN, SegmentationTask


class Knows:
    """Calls every pixel by its true class, but `confused` pairs."""

    reduction, patch, outputs, identity, classes = "fill", 8, 17, {"it": "knows"}, (BACKGROUND, *CATEGORIES)
    assumptions = ()

    def __init__(self, confused: dict[int, int]) -> None:
        self.confused, self.world = confused, ShapesWorld(2000)

    def prepare(self, pixels: np.ndarray) -> Any:
        from ltrp_bench.tasks.models.segmentors.running import SegmentorImage

        return SegmentorImage(shown=pixels, content=pixels, size=(96, 96), results={})

    def grid(self, image: Any) -> tuple[int, int]:
        return 12, 12

    def predict(self, images: Any, reductions: Any) -> list[np.ndarray]:
        out = []
        for image in images:
            index = next(i for i in range(40) if np.array_equal(self.world.image(i).image, image.shown))
            truth = self.world.image(index).semantic.astype(np.int64)
            for true, called in self.confused.items():
                truth = np.where(self.world.image(index).semantic == true, called, truth)
            out.append(truth)
        return out


def measured(task: SegmentationTask) -> dict[tuple[str, str, str | None], float]:
    samples: list[Sample] = [task.load(i) for i in range(len(task))]
    rows = task.predict(samples, [Keep(np.ones((12, 12), bool))] * len(samples))
    records = {sample.image_id: row for sample, row in zip(samples, rows, strict=True)}
    return {(row.metric, row.group, row.category): row.value for row in task.compute_metrics(records)}


def test_metrics_of_groups_by_brute_force() -> None:
    # Two unseen categories are called by a seen one's name, one seen one background.
    shapes = shapes_seg(images=30, random_weights=0)
    confused = {9: 1, 10: 1, 2: 0}
    found = measured(SegmentationTask("shapes-seg", shapes.dataset, shapes.split, Knows(confused)))  # type: ignore[arg-type]
    world = ShapesWorld(2000)
    truth = np.stack([world.image(i).semantic for i in range(30)]).astype(int)
    called = truth.copy()
    for true, other in confused.items():
        called[truth == true] = other
    iou = [((truth == c) & (called == c)).sum() / ((truth == c) | (called == c)).sum() for c in range(17)]
    assert found["mIoU", "all", None] == pytest.approx(np.mean(iou))
    assert found["mIoU", "seen", None] == pytest.approx(np.mean(iou[1:9]))
    assert found["mIoU", "unseen", None] == pytest.approx(np.mean(iou[9:]))
    assert found["IoU", "seen", CATEGORIES[0]] == pytest.approx(iou[1]) and iou[1] < 1
    unseen = truth >= 9
    assert found["aAcc", "unseen", None] == pytest.approx((called == truth)[unseen].mean())
    assert found[CALLED_SEEN, "unseen", None] == pytest.approx((called[unseen] == 1).mean())
    assert found["mAcc", "seen", None] == pytest.approx(7 / 8)
    assert found["IoU", "all", BACKGROUND] == pytest.approx(iou[0])


def test_images_without_a_labeled_pixel_are_counted() -> None:
    shapes = shapes_seg(images=2, random_weights=0)
    task = SegmentationTask("shapes-seg", shapes.dataset, shapes.split, Knows({}))  # type: ignore[arg-type]
    rows = [{"true": BACKGROUND, "predicted": BACKGROUND, "pixels": 9}]
    assert [one.line for one in task.omissions({"a": rows, "b": []})] == [
        "1 of 2 images without a labeled pixel (first b)"
    ]


def test_the_oracle_sees_the_objects() -> None:
    task = shapes_seg(images=1, random_weights=0)
    worth = task.oracle_scores(task.load(0))
    semantic = ShapesWorld(2000).image(0).semantic > 0
    np.testing.assert_allclose(worth, semantic.reshape(12, 8, 12, 8).mean((1, 3)), atol=1e-6)


def test_wrong_options_are_one_line() -> None:
    with pytest.raises(UsageError, match="reduction must be one of drop, fill"):
        shapes_seg(random_weights=0, reduction="cut")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not both"):
        shapes_seg(random_weights=0, model_weights="x")
    with pytest.raises(InputError, match="weights not found"):
        shapes_seg(model_weights="missing.safetensors")


def write_voc(folder: Path) -> Path:
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / "JPEGImages" / "a.jpg")
    mask = np.zeros((60, 80), np.uint8)
    mask[:20], mask[20:40, :30], mask[40:, 60:] = 15, 1, 255
    Image.fromarray(mask).save(folder / "SegmentationClass" / "a.png")
    return folder


def test_vocs_background_is_a_class_but_neither_seen_nor_unseen(tmp_path: Path) -> None:
    task = voc_seg(write_voc(tmp_path), random_weights=0)
    assert task.dataset.classes[:2] == (BACKGROUND, "aeroplane") and len(task.dataset.classes) == 21
    truth = task.dataset.semantic(0)
    assert (truth == -1).sum() == 20 * 20 and (truth == 15).sum() == 20 * 80
    sample = task.load(0)
    assert task.grid(sample) == (14, 14) and task.reduction == "drop"
    rows = task.predict([sample], [Keep(np.ones((14, 14), bool))])[0]
    assert sum(row["pixels"] for row in rows) == 60 * 80 - 400
    found = {(row.metric, row.group): row.n for row in task.compute_metrics({"a": rows}) if row.category is None}
    assert found["mIoU", "all"] == 4400 and found["mIoU", "seen"] + found["mIoU", "unseen"] == 20 * 80 + 20 * 30
    with pytest.raises(UsageError, match="models of mmseg cannot"):
        voc_seg(tmp_path, model="fcn_r50-d8_4xb4-20k_voc12aug-512x512", random_weights=0, reduction="drop")


@pytest.mark.slow
def test_mmsegs_models_on_genuine_images(shared_dir: Path) -> None:
    task = ade20k_seg(
        shared_dir / "data" / "ade20k",
        model="segformer_mit-b0_8xb2-160k_ade20k-512x512",
        random_weights=0,
        patch=32,
        limit=2,
    )
    sample = task.load(0)
    height, width = sample.annotations.prepared.content.shape[:2]
    assert min(height, width) == 512 and task.grid(sample) == (-(-height // 32), -(-width // 32))
    whole = Keep(np.ones(task.grid(sample), bool))
    rows = task.predict([sample, sample], [whole, Downsample(0.25)])
    counted = int((task.dataset.semantic(0) >= 0).sum())
    assert [sum(row["pixels"] for row in part) for part in rows] == [counted, counted]
    # mmseg's own way from file to prediction.
    from mmseg.apis import inference_model

    model = task.runner.model  # type: ignore[attr-defined]
    model.model.cfg = model.config
    with openmmlab.scope("mmseg"):
        own = inference_model(model.model, np.ascontiguousarray(task.dataset.pixels(0)[..., ::-1])).pred_sem_seg.data[0]
    found = task.runner.predict([sample.annotations.prepared], [whole])[0]
    assert (found == own.numpy()).mean() > 0.9999


@pytest.mark.slow
def test_genuine_coco_stuff(shared_dir: Path) -> None:
    task = cocostuff_seg(shared_dir / "data" / "coco_stuff", random_weights=0, limit=2)
    assert len(task.dataset.classes) == 129 and len(task.split.states) == 133  # those that its classes.txt lists
    sample = task.load(0)
    assert task.oracle_scores(sample).shape == (14, 14) and task.oracle_scores(sample).max() == 1
