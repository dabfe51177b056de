"""Single-label view of `shapes`: stream of labeled images, initial weights, and accuracy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.training.data.drawn_images import DrawnImages
from ltrp_bench.harness.training.data.geometry import image_tensor, random_turn, turned, turned_box
from ltrp_bench.harness.training.data.order import TrainingStream, batches
from ltrp_bench.harness.training.data.unlabelled import shapes_revision
from ltrp_bench.harness.training.pixels import normalize_bytes
from ltrp_bench.selectors.base import Channels
from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.selectors.ltrp.mae_checkpoints import load_mae
from ltrp_bench.selectors.vit.backbones import Backbone, load_backbone
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, STD, WORLD_SEEDS, ShapesWorld

CLASSES = len(CATEGORIES) // 2


class LabelledShapes(TrainingStream):
    """Images of one fold's single-label view, with the flips, turns and order of `ShapesStream`.

    Each shows one object of a seen category, which is the label, and up to three unseen, unlabeled ones.

    Items are (image [3, 96, 96] uint8, label in 0 .. 7); with `boxes`, also the labeled object's
    box [4] float32 (x, y, width, height) in pixels.

    Args:
        fold: 0 or 1, which half of the categories is seen.
        num_images: number of different images.
        length: number of images drawn over the whole training.
        seed: seed of order and augmentation.
        boxes: return the labeled object's box, too.
        world_seed: seed of the images; training and validation have different ones.
    """

    def __init__(
        self,
        fold: int,
        num_images: int,
        length: int,
        seed: int,
        *,
        boxes: bool = False,
        world_seed: int = WORLD_SEEDS["train"],
    ) -> None:
        super().__init__(num_images, length, seed)
        self.fold, self.boxes = fold, boxes
        self.world = ShapesWorld(world_seed, f"single-label/{fold}")
        self.revision = f"{shapes_revision(world_seed)}, {self.world.view}"
        self._images = DrawnImages(num_images, self._draw)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Image and label, with the box if requested."""
        pixels, (label, box) = self._images[index]
        turns, mirror = random_turn(rng)
        item = image_tensor(turned(pixels, turns, mirror)), torch.tensor(label, dtype=torch.int64)
        return (*item, torch.from_numpy(turned_box(box, turns, mirror))) if self.boxes else item

    def _draw(self, index: int) -> tuple[np.ndarray, tuple[int, np.ndarray]]:
        image = self.world.image(index)
        place = image.seen_object(self.fold)
        box = np.asarray(image.boxes[place], np.float32)
        return image.image, (int(image.labels[place]) - self.fold * CLASSES, box)


def label_set(fold: int) -> str:
    """Name of the label set of a fold."""
    return f"shapes-seen/{fold}"


def vit_or_mae(init: str | Path, fold: int) -> Backbone | MAE:
    """Weights that a supervised selector of `fold` may start from: a ViT trained on its labels, or an autoencoder.

    Raises:
        UsageError: a ViT trained on other or unknown labels, which might include the unseen ones.
    """
    path = located(init)
    if "mask_token" in load_state(path):
        return load_mae(path)
    found = load_backbone(path)
    if str(found.supervision) != label_set(fold):
        trained = f"{path.name} was trained on {found.supervision}, not {label_set(fold)}"
        raise UsageError(f"{trained}: start from another --init")
    return found


@torch.no_grad()
def seen_accuracy(
    logits: Callable[[Tensor], Tensor],
    fold: int,
    count: int,
    *,
    mean: Channels = MEAN,
    std: Channels = STD,
    device: torch.device | str = "cpu",
    batch: int = 50,
) -> Tensor:
    """Top-1 accuracy on validation images of `shapes` in their single-label view.

    Args:
        logits: normalized images [B, 3, 96, 96] -> [B, ..., classes], of a model in evaluation mode.
        fold: which half of the categories is seen.
        count: number of images.
        mean, std: normalization of the model, per channel of RGB in [0, 1].
        device: device of the model.
        batch: images per batch.

    Returns:
        [...] float64 on the CPU, one accuracy for each of an image's predictions.
    """
    stream = LabelledShapes(fold, count, count, 0, world_seed=WORLD_SEEDS["val"])
    correct = torch.zeros((), dtype=torch.float64)
    for images, labels in batches(stream, count, batch):
        found = logits(normalize_bytes(images.to(device), mean, std)).argmax(-1).cpu()
        correct = correct + (found.movedim(0, -1) == labels).sum(-1)
    return correct / count
