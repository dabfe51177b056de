from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ltrp_bench.harness.training.recipes.detector import (
    DetectorTraining,
    ShapesDetection,
    export_detector,
    random_keep,
    train_detector,
)
from ltrp_bench.tasks.catalog import shapes_det
from ltrp_bench.tasks.data.shapes.world import MEAN
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    openmmlab.setup("mmdet", training=True)


def test_samples_depend_on_their_position_alone() -> None:
    options = DetectorTraining(iterations=8, batch_size=4)
    whole, rest = ShapesDetection(options), ShapesDetection(options, start=10)
    assert len(whole) == 32 and len(rest) == 22
    one, same = whole[13], rest[3]
    assert torch.equal(one["inputs"], same["inputs"])
    assert torch.equal(one["data_samples"].gt_instances.bboxes, same["data_samples"].gt_instances.bboxes)


def test_half_of_the_images_are_filled_and_boxes_stay_inside() -> None:
    data = ShapesDetection(DetectorTraining())
    filled = 0
    for i in range(40):
        sample = data[i]
        mean = torch.tensor([255 * MEAN[0]])
        filled += bool((sample["inputs"] == mean).all(0).any())
        boxes = sample["data_samples"].gt_instances.bboxes
        assert (boxes >= 0).all() and (boxes <= 96).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    assert 10 <= filled <= 30


def test_kept_shares_spread_from_a_tenth_to_all() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([random_keep(rng).mean() for _ in range(200)])
    assert 0.09 < shares.min() < 0.2 and shares.max() > 0.9 and abs(shares.mean() - 0.55) < 0.05


@pytest.mark.slow
def test_an_interrupted_training_ends_like_a_whole_one(tmp_path: Path) -> None:
    options = DetectorTraining(iterations=4, batch_size=2, warmup=1)
    whole = train_detector(tmp_path / "whole", options, device="cpu", save_every=4, log_every=1)

    class Stop(Exception):
        pass

    held = ShapesDetection.__getitem__

    def fail_late(self: ShapesDetection, index: int) -> dict[str, object]:
        if self.start + index >= 6:
            raise Stop
        return held(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShapesDetection, "__getitem__", fail_late)
        with pytest.raises(Stop):
            train_detector(tmp_path / "cut", options, device="cpu", save_every=2, log_every=1)
    resumed = train_detector(tmp_path / "cut", options, device="cpu", save_every=2, log_every=1)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, msg=key)
    file = tmp_path / "detector.safetensors"
    export_detector(whole, file, options)
    assert len(shapes_det(limit=1, model_weights=file)) == 1
