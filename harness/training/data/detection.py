"""Scenes of `shapes` for detectors: all whole, or half of them with some patches filled.

Filled images have patches replaced by the mean, at a keep ratio drawn from [0.1, 1] and in the order of a random field
between white noise and smooth blobs: so the detector knows reduced images and favors no selector. Objects of which
less than a tenth is left are removed from the labels.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ltrp_bench.harness.training.data.geometry import turned
from ltrp_bench.harness.training.patch_policy import PatchKeeper
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.tasks.data.shapes.drawing import power_noise
from ltrp_bench.tasks.data.shapes.world import MEAN, PATCH, SIZE, STD, ShapesImage, ShapesWorld

GRID = SIZE // PATCH
MIN_VISIBLE = 0.1
"""Share of an object's pixels that must be kept for it to stay labeled."""
WORLD_SEED_OFFSET = 1_000_003  # the task evaluates on WORLD_SEEDS["test"]: these images are never among them

Sample = dict[str, Any]


class Scenes(Dataset[Sample]):
    """Scenes, flipped and turned; a sample depends on (seed, position) alone.

    Items are {"image": [96, 96, 3] uint8, "masks": [n, 96, 96] bool, "labels": [n] int64, "position": int}.

    Args:
        pool: number of different images.
        length: number of images drawn over the whole training.
        seed: seed of the images, their order and the augmentation.
    """

    def __init__(self, pool: int, length: int, seed: int) -> None:
        self.pool, self.length, self.seed = pool, length, seed
        self.world = ShapesWorld(seed + WORLD_SEED_OFFSET)
        self._cache: OrderedDict[int, ShapesImage] = OrderedDict()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> Sample:
        return self.draw(position)[0]

    def draw(self, position: int) -> tuple[Sample, np.random.Generator]:
        """The scene at a position, and the generator of what follows."""
        rng = np.random.default_rng([self.seed, position])
        scene = self._scene(int(rng.integers(self.pool)))
        image, masks = turned_scene(scene.image, scene.masks, int(rng.integers(8)))
        return {"image": image, "masks": masks, "labels": scene.labels, "position": position}, rng

    def _scene(self, number: int) -> ShapesImage:
        if number not in self._cache:
            self._cache[number] = self.world.image(number)
        return self._cache[number]


class FilledScenes(Scenes):
    """Scenes half of which have patches filled; items are samples of mmdet's models, see `pack`."""

    def __getitem__(self, position: int) -> Sample:
        item, rng = self.draw(position)
        pixels, masks, labels = item["image"].astype(np.float32), item["masks"], item["labels"]
        if rng.random() < 0.5:
            kept = pixelwise(random_keep(rng))
            pixels[~kept] = np.float32(255) * np.asarray(MEAN, np.float32)
            visible = sufficiently_visible(masks, kept)
            masks, labels = masks[visible], labels[visible]
        return pack(pixels, tight_boxes(masks), labels)


class KeptPatchesCollate:
    """Collates `Scenes` for a detector that drops patches: chooses the patches of each batch.

    Args:
        keeper: chooses the patches.
        seed: with the position of the batch's first sample, seed of all that is random.
    """

    def __init__(self, keeper: PatchKeeper, seed: int) -> None:
        self.seed, self._keeper = seed, keeper

    def __call__(self, items: list[Sample]) -> dict[str, list[Any]]:
        """Samples as mmdet's models take them, with `metainfo["kept_patches"]`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + items[0]["position"])
        images = torch.from_numpy(np.stack([item["image"] for item in items])).permute(0, 3, 1, 2).float() / 255
        indices = self._keeper(normalize(images, MEAN, STD), generator)
        samples = []
        for i, item in enumerate(items):
            kept = np.ones((GRID, GRID), bool)
            if indices is not None:
                kept = np.isin(np.arange(GRID * GRID), indices[i].numpy()).reshape(GRID, GRID)
            visible = sufficiently_visible(item["masks"], pixelwise(kept))
            boxes = tight_boxes(item["masks"][visible])
            sample = pack(item["image"].astype(np.float32), boxes, item["labels"][visible])
            sample["data_samples"].set_metainfo({"kept_patches": kept})
            samples.append(sample)
        return collate(samples)


def collate(samples: list[Sample]) -> dict[str, list[Any]]:
    """A batch of samples as mmdet's models take it: a list for each key."""
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def random_keep(rng: np.random.Generator) -> np.ndarray:
    """[12, 12] bool: patches kept at a random ratio, by a random field between white noise and smooth blobs."""
    field = power_noise(rng, GRID, float(rng.uniform(0, 2)), 1)[0].ravel()
    keep = np.zeros(GRID * GRID, bool)
    keep[np.argsort(-field)[: max(1, round(float(rng.uniform(0.1, 1)) * field.size))]] = True
    return keep.reshape(GRID, GRID)


def pixelwise(kept: np.ndarray) -> np.ndarray:
    """[12, 12] bool of patches -> [96, 96] bool of pixels."""
    return np.kron(kept, np.ones((PATCH, PATCH), bool))


def sufficiently_visible(masks: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """[n] bool: objects [n, 96, 96] of which enough lies on kept pixels [96, 96]."""
    visible: np.ndarray = (masks & kept).sum((1, 2)) >= MIN_VISIBLE * masks.sum((1, 2))
    return visible


def turned_scene(image: np.ndarray, masks: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Apply flip or rotation `number` (0 .. 7) to an image [H, W, 3] and its masks [n, H, W]."""
    turns, mirror = number % 4, number >= 4
    return turned(image, turns, mirror), turned(masks.transpose(1, 2, 0), turns, mirror).transpose(2, 0, 1)


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """[n, 4] float32 (x1, y1, x2, y2) around [n, H, W] masks, none of them empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for i, mask in enumerate(masks):
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes[i] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return boxes


def pack(pixels: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> Sample:
    """One sample as mmdet's models take it.

    Args:
        pixels: [H, W, 3] float32 RGB in 0 .. 255.
        boxes: [n, 4] float32 (x1, y1, x2, y2).
        labels: [n] int64.

    Returns:
        {"inputs": [3, H, W] float32, "data_samples": DetDataSample with boxes and labels}.
    """
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    size = pixels.shape[:2]
    sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)})
    sample.gt_instances = InstanceData(
        bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(np.ascontiguousarray(labels))
    )
    return {
        # BGR, as mmdet reads files; the config converts it to RGB.
        "inputs": torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))),
        "data_samples": sample,
    }
