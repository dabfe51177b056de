"""Inputs and outputs of a detector on reduced images, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, ShapesWorld
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG, SHAPES_VIT_CONFIG, load_detector
from ltrp_bench.tasks.models.detectors.running import DetectorRunner

IMAGE = ShapesWorld(9).image(0).image
KEEP = np.random.default_rng(0).random((12, 12)) < 0.5


@pytest.fixture(scope="module")
def runner() -> DetectorRunner:
    return DetectorRunner(load_detector(SHAPES_CONFIG, None, random_weights=0), patch=8, score_threshold=0.0)


def planes(packed: dict[str, Any]) -> np.ndarray:
    return packed["inputs"].numpy().transpose(1, 2, 0)


def test_images_are_bgr_in_the_size_of_the_pipeline(runner: DetectorRunner) -> None:
    small = runner.prepare(IMAGE[:48, :32])
    assert small.original.shape == (48, 32, 3) and small.content.shape == (96, 64, 3)
    np.testing.assert_array_equal(runner.prepare(IMAGE).content, IMAGE[..., ::-1])


def test_dropped_patches_hold_the_mean(runner: DetectorRunner) -> None:
    packed = runner.reduce(runner.prepare(IMAGE), Keep(KEEP))
    kept = np.kron(KEEP, np.ones((8, 8), bool))
    np.testing.assert_array_equal(planes(packed)[kept], IMAGE[..., ::-1][kept])
    np.testing.assert_array_equal(planes(packed)[~kept], np.broadcast_to(np.float32(112.2), (int((~kept).sum()), 3)))
    assert "kept_patches" not in packed["data_samples"].metainfo


def test_downsampled_images_tell_their_scale(runner: DetectorRunner) -> None:
    packed = runner.reduce(runner.prepare(IMAGE[:48, :32]), Downsample(0.25))
    assert tuple(packed["inputs"].shape) == (3, 48, 32)
    assert packed["data_samples"].scale_factor == (1.0, 1.0) and packed["data_samples"].ori_shape == (48, 32)
    areas = IMAGE[..., ::-1].reshape(48, 2, 48, 2, 3).mean((1, 3))
    half = runner.reduce(runner.prepare(IMAGE), Downsample(0.25))
    np.testing.assert_allclose(planes(half), areas, atol=0.51)  # rounded to 8 bits


def test_a_dropping_backbone_gets_whole_pixels_and_the_kept_patches() -> None:
    detector = load_detector(SHAPES_VIT_CONFIG, None, random_weights=0)
    packed = DetectorRunner(detector, patch=8, score_threshold=0.0, drop=True).reduce(
        DetectorRunner(detector, patch=8, score_threshold=0.0).prepare(IMAGE), Keep(KEEP)
    )
    np.testing.assert_array_equal(planes(packed), IMAGE[..., ::-1])
    np.testing.assert_array_equal(packed["data_samples"].metainfo["kept_patches"], KEEP)


def test_rows_are_the_best_detections_in_order(runner: DetectorRunner) -> None:
    class Found(dict[str, Any]):
        """Minimal version of mmengine's InstanceData, with attributes and `in`."""

        def __getattr__(self, name: str) -> Any:
            return self[name]

    import torch

    boxes = torch.tensor([[0.0, 0, 4, 4], [1, 2, 4, 7], [5, 5, 6, 6]])
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[1, 2:7, 1:4] = True
    found = Found(scores=torch.tensor([0.1, 0.9, 0.3]), labels=torch.tensor([0, 3, 2]), bboxes=boxes, masks=masks)
    strict = DetectorRunner(runner.detector, patch=8, score_threshold=0.25)
    rows = strict._rows(found)
    assert [row["category"] for row in rows] == [CATEGORIES[3], CATEGORIES[2]]
    assert rows[0] | {"rle": ""} == {
        "category": CATEGORIES[3], "score": 0.9, "x": 1.0, "y": 2.0, "w": 3.0, "h": 5.0, "rle": ""
    }  # fmt: skip
    from pycocotools import mask as rle_tools

    decoded = rle_tools.decode({"size": [8, 8], "counts": rows[0]["rle"].encode()})  # type: ignore[union-attr]
    np.testing.assert_array_equal(decoded, masks[1].numpy())
    assert len(runner.rows([runner.prepare(IMAGE)], [Keep(KEEP)])[0]) <= 100
