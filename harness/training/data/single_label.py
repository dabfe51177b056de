"""The single-label view of the built-in world: a stream of labelled images, what may learn from it, and how well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ltrp_bench.harness.training.data.unlabelled import ShapesStream, turned
from ltrp_bench.selectors.base import Channels
from ltrp_bench.selectors.checkpoints import load_state, resolve
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.vit.backbones import Backbone, load_backbone
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, SIZE, STD, WORLD_SEEDS, ShapesWorld

CLASSES = len(CATEGORIES) // 2


class LabelledShapes(Dataset[tuple[Tensor, ...]]):
    """`num_images` different images of one fold's single-label view, shuffled anew each epoch; `length` draws in all.

    Each holds one object of a seen category, which is the label, and up to three unseen, unlabelled ones. Order, flips
    and quarter turns depend on (seed, position) alone, and are those of `ShapesStream`.

    Items are (image [3, 96, 96] uint8, label in 0 .. 7); with `boxes`, also the labelled object's
    box [4] float32 (x, y, width, height) in pixels.

    Args:
        fold: 0 or 1, which half of the categories is seen.
        images: how many different ones.
        length: draws.
        seed: of order and augmentation.
        boxes: give the labelled object's box.
        world_seed: of the world; training and validation have their own.
    """

    def __init__(
        self,
        fold: int,
        num_images: int,
        length: int,
        seed: int,
        boxes: bool = False,
        world_seed: int = WORLD_SEEDS["train"],
    ) -> None:
        self.fold, self.boxes = fold, boxes
        self.world = ShapesWorld(world_seed, f"single-label/{fold}")
        self._stream = ShapesStream(num_images, length, seed, world_seed)
        self.num_images, self.revision = num_images, f"{self._stream.revision}, {self.world.view}"
        self._kept = np.zeros((num_images, SIZE, SIZE, 3), np.uint8)
        self._labels = np.full(num_images, -1, np.int64)
        self._boxes = np.zeros((num_images, 4), np.float32)

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        index, rng = self._stream.draw(position)
        if self._labels[index] < 0:
            self._draw(index)
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        pixels = turned(self._kept[index], turns, mirror)
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        label = torch.tensor(self._labels[index])
        if not self.boxes:
            return image, label
        return image, label, torch.from_numpy(turned_box(self._boxes[index], turns, mirror))

    def _draw(self, index: int) -> None:
        """Make an image once and keep it (27 kB)."""
        image = self.world.image(index)
        place = image.seen_object(self.fold)
        self._kept[index], self._boxes[index] = image.image, image.boxes[place]
        self._labels[index] = image.labels[place] - self.fold * CLASSES


def turned_box(box: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """A box (x, y, width, height) on the image that `turned` makes of its own."""
    x, y, w, h = (float(v) for v in box)
    for _ in range(turns):
        x, y, w, h = y, SIZE - x - w, h, w
    return np.array([SIZE - x - w if mirror else x, y, w, h], np.float32)


def label_set(fold: int) -> str:
    """The name of a fold's labels."""
    return f"shapes-seen/{fold}"


def vit_or_mae(init: str | Path, fold: int) -> Backbone | MAE:
    """What a rival of `fold` may start from: a ViT taught this fold's labels, or a masked autoencoder.

    Raises:
        UsageError: a ViT that was taught other labels, or nobody knows which: it might know the unseen ones.
    """
    path = resolve(init)
    if "mask_token" in load_state(path):
        return load_mae(path)
    found = load_backbone(path)
    if str(found.supervision) != label_set(fold):
        taught = f"{path.name} was taught {found.supervision}, not {label_set(fold)}"
        raise UsageError(f"{taught}: start from another --init")
    return found


@torch.no_grad()
def seen_accuracy(
    logits: Callable[[Tensor], Tensor],
    fold: int,
    count: int,
    mean: Channels = MEAN,
    std: Channels = STD,
    device: torch.device | str = "cpu",
    batch: int = 50,
) -> Tensor:
    """Top-1 accuracy on `count` images of the validation world's single-label view.

    Args:
        logits: [B, 3, 96, 96] normalised images -> [B, ..., classes], of a model in evaluation mode.
        fold: of the view.
        count: images.
        mean, std: of the model's normalisation.
        device: of the images.
        batch: images at a time.

    Returns:
        [...] float64 on the CPU, one for each of an image's answers.
    """
    stream = LabelledShapes(fold, count, count, 0, world_seed=WORLD_SEEDS["val"])
    shift, scale = (torch.tensor(x, device=device).view(1, 3, 1, 1) * 255 for x in (mean, std))
    right = torch.zeros((), dtype=torch.float64)
    for start in range(0, count, batch):
        images, labels = default_collate([stream[i] for i in range(start, min(start + batch, count))])
        found = logits((images.to(device).float() - shift) / scale).argmax(-1).cpu()
        right = right + (found.movedim(0, -1) == labels).sum(-1)
    return right / count
