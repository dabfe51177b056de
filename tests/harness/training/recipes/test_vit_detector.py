from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.harness.cli.main import run_command
from ltrp_bench.harness.training.patch_policy import PatchPolicy
from ltrp_bench.harness.training.recipes.detector import DetectorTraining
from ltrp_bench.harness.training.recipes.vit_detector import (
    GRID,
    KeptBatch,
    WholeScenes,
    export_vit_detector,
    train_vit_detector,
)
from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.tasks.catalog import shapes_det
from ltrp_bench.tasks.data.shapes.world import PATCH
from ltrp_bench.tasks.models.bundled import shipped_model
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

SEGMENTOR = shipped_model("segmentor", "fill")


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    openmmlab.setup("mmdet", training=True)


def scenes(count: int = 8) -> list[dict[str, Any]]:
    data = WholeScenes(DetectorTraining(iterations=2, batch_size=4))
    return [data[i] for i in range(count)]


def test_scenes_depend_on_their_position_alone() -> None:
    options = DetectorTraining(iterations=8, batch_size=4)
    one, same = WholeScenes(options)[13], WholeScenes(options, start=10)[3]
    np.testing.assert_array_equal(one["image"], same["image"])
    np.testing.assert_array_equal(one["masks"], same["masks"])
    assert one["position"] == same["position"] == 13


def test_whole_images_keep_all_patches_and_objects() -> None:
    items = scenes()
    batch = KeptBatch(PatchPolicy(), 0)(items)
    for item, sample in zip(items, batch["data_samples"], strict=True):
        assert sample.metainfo["kept_patches"].all()
        assert sample.gt_instances.labels.tolist() == item["labels"].tolist()


def test_objects_of_which_less_than_a_tenth_is_kept_are_not_taught() -> None:
    items = scenes()
    batch = KeptBatch(PatchPolicy(None), 0)(items)
    shares = {round(float(sample.metainfo["kept_patches"].mean()), 3) for sample in batch["data_samples"]}
    assert len(shares) == 1 and next(iter(shares)) < 1  # one ratio a batch
    lost = 0
    for item, sample in zip(items, batch["data_samples"], strict=True):
        kept = sample.metainfo["kept_patches"]
        assert kept.shape == (GRID, GRID)
        seen = kept.repeat(PATCH, 0).repeat(PATCH, 1)
        taught = [
            label
            for label, mask in zip(item["labels"], item["masks"], strict=True)
            if (mask & seen).sum() >= 0.1 * mask.sum()
        ]
        assert sample.gt_instances.labels.tolist() == taught
        lost += len(item["labels"]) - len(taught)
    assert lost


def test_patches_depend_on_the_position_and_the_seed() -> None:
    def kept(seed: int, items: list[dict[str, Any]]) -> np.ndarray:
        batch = KeptBatch(PatchPolicy(None), seed)(items)
        return np.stack([sample.metainfo["kept_patches"] for sample in batch["data_samples"]])

    items = scenes(12)
    np.testing.assert_array_equal(kept(0, items[4:8]), kept(0, items[4:8]))
    assert (kept(0, items[4:8]) != kept(1, items[4:8])).any()
    assert (kept(0, items[4:8]) != kept(0, items[8:])).any()


def test_it_starts_from_a_segmentors_encoder_and_its_file_is_read_again(tmp_path: Path) -> None:
    options = DetectorTraining(iterations=1, batch_size=2, warmup=0, lr=1e-12)
    state, more = train_vit_detector(tmp_path / "t", options, PatchPolicy(None), SEGMENTOR, "cpu")
    wanted = {k.removeprefix("vit."): v for k, v in load_state(SEGMENTOR).items()}
    key = next(k for k in state if k.endswith("blocks.0.attn.qkv.weight"))
    source = next(v for k, v in wanted.items() if k.endswith("blocks.0.attn.qkv.weight"))
    torch.testing.assert_close(state[key], source, rtol=0, atol=1e-6)
    assert more["architecture"] == "vit" and more["keep_ratio"] == "random" and more["init_tensors"] > 50
    file = tmp_path / "d.safetensors"
    export_vit_detector(state, file, options, more)
    task = shapes_det(limit=2, model_weights=file, reduction="drop")
    from ltrp_bench.tasks.base import Keep

    sample = task.load(0)
    half = np.arange(GRID * GRID).reshape(GRID, GRID) % 2 == 0
    assert len(task.predict([sample], [Keep(half)])) == 1


@pytest.mark.slow
def test_an_interrupted_training_ends_like_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DetectorTraining(iterations=4, batch_size=2, warmup=1)
    keep = PatchPolicy(None)
    whole, _ = train_vit_detector(tmp_path / "whole", options, keep, SEGMENTOR, "cpu", 4, 1)

    class Stop(Exception):
        pass

    held = WholeScenes.__getitem__

    def fail_late(self: WholeScenes, index: int) -> dict[str, Any]:
        if self.start + index >= 6:
            raise Stop
        return held(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(WholeScenes, "__getitem__", fail_late)
        with pytest.raises(Stop):
            train_vit_detector(tmp_path / "cut", options, keep, SEGMENTOR, "cpu", 2, 1)
    resumed, _ = train_vit_detector(tmp_path / "cut", options, keep, SEGMENTOR, "cpu", 2, 1)
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, msg=key)


def test_a_file_without_a_vit_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ltrp_bench.tasks.models.detectors.loading import SHAPES_WEIGHTS

    arguments = ["train", "detector", "--architecture", "vit", "--iterations", "1", "--out", str(tmp_path / "x")]
    assert run_command([*arguments, "--init", str(SHAPES_WEIGHTS)]) == 1
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "plain ViT" in said


def test_a_ratio_out_of_range_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "detector", "--architecture", "vit", "--iterations", "1", "--out", str(tmp_path / "x")]
    assert run_command([*arguments, "--keep-ratio", "1.5"]) == 2
    assert "1.5" in capsys.readouterr().err
