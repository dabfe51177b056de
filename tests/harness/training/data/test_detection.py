"""Scenes for detectors depend on the position alone; filled and dropped patches take invisible objects' labels away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ltrp_bench.harness.training.data.detection import (
    GRID,
    FilledScenes,
    KeptPatchesCollate,
    Scenes,
    random_keep,
    tight_boxes,
    turned_scene,
)
from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy
from ltrp_bench.tasks.data.shapes.world import MEAN, PATCH, STD
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

POOL = 16384


@pytest.fixture(scope="module", autouse=True)
def ready() -> None:
    openmmlab.setup("mmdet", training=True)


def scenes(count: int = 8) -> list[dict[str, Any]]:
    data = Scenes(POOL, count, 0)
    return [data[i] for i in range(count)]


def collated(items: list[dict[str, Any]], policy: PatchPolicy, seed: int = 0) -> dict[str, list[Any]]:
    return KeptPatchesCollate(PatchKeeper(policy, (GRID, GRID), MEAN, STD), seed)(items)


def test_scenes_depend_on_their_position_alone() -> None:
    one, same = Scenes(POOL, 32, 0), Scenes(POOL, 64, 0)
    assert len(one) == 32
    same[5]
    np.testing.assert_array_equal(one[13]["image"], same[13]["image"])
    np.testing.assert_array_equal(one[13]["masks"], same[13]["masks"])
    assert one[13]["position"] == same[13]["position"] == 13


def test_filled_scenes_depend_on_their_position_alone() -> None:
    one, other = FilledScenes(POOL, 32, 0), FilledScenes(POOL, 32, 0)
    other[12]
    first, same = one[13], other[13]
    assert torch.equal(first["inputs"], same["inputs"])
    assert torch.equal(first["data_samples"].gt_instances.bboxes, same["data_samples"].gt_instances.bboxes)


def test_half_of_the_images_are_filled_and_boxes_stay_inside() -> None:
    data = FilledScenes(POOL, 40, 0)
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


@pytest.mark.parametrize("number", range(8))
def test_masks_turn_with_their_image(number: int) -> None:
    mask = np.zeros((96, 96), bool)
    mask[10:22, 50:90] = True
    image = np.repeat(mask[..., None], 3, 2).astype(np.uint8)
    turned, masks = turned_scene(image, mask[None], number)
    np.testing.assert_array_equal(turned[..., 0].astype(bool), masks[0])
    assert masks.shape == (1, 96, 96)


def test_the_eight_flips_and_turns_are_different() -> None:
    image = np.arange(96 * 96 * 3).reshape(96, 96, 3)
    assert len({turned_scene(image, np.zeros((1, 96, 96), bool), i)[0].tobytes() for i in range(8)}) == 8


def test_boxes_are_tight() -> None:
    masks = np.zeros((2, 96, 96), bool)
    masks[0, 10:22, 50:90] = masks[1, 0, 95] = True
    assert tight_boxes(masks).tolist() == [[50, 10, 90, 22], [95, 0, 96, 1]]


def test_whole_images_keep_all_patches_and_objects() -> None:
    items = scenes()
    batch = collated(items, PatchPolicy())
    for item, sample in zip(items, batch["data_samples"], strict=True):
        assert sample.metainfo["kept_patches"].all()
        assert sample.gt_instances.labels.tolist() == item["labels"].tolist()


def test_objects_of_which_less_than_a_tenth_is_kept_lose_their_label() -> None:
    items = scenes()
    batch = collated(items, PatchPolicy(None))
    shares = {round(float(sample.metainfo["kept_patches"].mean()), 3) for sample in batch["data_samples"]}
    assert len(shares) == 1 and next(iter(shares)) < 1  # one ratio per batch
    lost = 0
    for item, sample in zip(items, batch["data_samples"], strict=True):
        kept = sample.metainfo["kept_patches"]
        assert kept.shape == (GRID, GRID)
        seen = kept.repeat(PATCH, 0).repeat(PATCH, 1)
        expected = [
            label
            for label, mask in zip(item["labels"], item["masks"], strict=True)
            if (mask & seen).sum() >= 0.1 * mask.sum()
        ]
        assert sample.gt_instances.labels.tolist() == expected
        lost += len(item["labels"]) - len(expected)
    assert lost > 0


def test_patches_depend_on_the_position_and_the_seed() -> None:
    def kept(seed: int, items: list[dict[str, Any]]) -> np.ndarray:
        batch = collated(items, PatchPolicy(None), seed)
        return np.stack([sample.metainfo["kept_patches"] for sample in batch["data_samples"]])

    items = scenes(12)
    np.testing.assert_array_equal(kept(0, items[4:8]), kept(0, items[4:8]))
    assert (kept(0, items[4:8]) != kept(1, items[4:8])).any()
    assert (kept(0, items[4:8]) != kept(0, items[8:])).any()
