"""Streams of images with class maps to train on: random access by position, so that a resumed training goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ltrp_bench.harness.training.augmentation import seeded
from ltrp_bench.harness.training.data.unlabelled import ImageStream, ShapesStream, turned
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.mask_folders import MaskFolder, find_ade20k, find_context, find_stuff, find_voc
from ltrp_bench.tasks.data.semantic import MaskSemanticDataset
from ltrp_bench.tasks.data.shapes.world import SIZE, WORLD_SEEDS

IGNORED = 255
"""In class maps of training: pixels that are no class."""

FORMATS: dict[str, tuple[Callable[..., MaskFolder], str, int | None]] = {
    "ade20k": (find_ade20k, "training", None),
    "voc": (find_voc, "train", 0),
    "context": (find_context, "train", None),
    "cocostuff": (find_stuff, "train2017", None),
}
"""How a data set is found, the subset that is trained on, and the mask value of background, where that is a class."""


class SemanticShapes(Dataset[tuple[Tensor, Tensor]]):
    """Scenes of the training world with their class maps, flipped and turned; a sample depends on (seed, position).

    Items are (image [3, 96, 96] uint8, classes [96, 96] uint8: 0 background, 1 + category elsewhere).
    """

    def __init__(self, num_images: int, length: int, seed: int, world_seed: int = WORLD_SEEDS["train"]) -> None:
        self._stream = ShapesStream(num_images, length, seed, world_seed)
        self.revision = self._stream.revision
        self._kept = np.zeros((num_images, SIZE, SIZE, 4), np.uint8)
        self._drawn = np.zeros(num_images, bool)

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        index, rng = self._stream.draw(position)
        if not self._drawn[index]:
            image = self._stream.world.image(index)
            self._kept[index, ..., :3], self._kept[index, ..., 3] = image.image, image.semantic
            self._drawn[index] = True
        both = turned(self._kept[index], int(rng.integers(4)), bool(rng.integers(2)))
        planes = torch.from_numpy(np.ascontiguousarray(both.transpose(2, 0, 1)))
        return planes[:3], planes[3]


class _Order(ImageStream):
    """Which image stands where."""

    def augmented(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """Of no use here: images are augmented together with their maps."""
        raise NotImplementedError


class SemanticFiles(Dataset[tuple[Tensor, Tensor]]):
    """Images with class maps from files, as mmseg's recipes augment them, by torchvision's transforms.

    The image is resized by a factor drawn from [0.5, 2] of what fits the input, a square is cut at random (the mean
    and `IGNORED` beyond the borders), mirrored with probability 1/2, colours are jittered. A sample depends on (seed,
    position).

    Items are (image [3, S, S] uint8, classes [S, S] uint8 or int16, `IGNORED` where nobody's).

    Args:
        source: images and class maps; at most 255 classes.
        size: side S of the crop in pixels.
        mean: of the model's normalisation, in [0, 1].
        length: draws in all.
        seed: of order and augmentation.
    """

    def __init__(self, source: MaskSemanticDataset, size: int, mean: tuple[float, ...], length: int, seed: int) -> None:
        if len(source.classes) > IGNORED:
            raise UsageError(f"{len(source.classes)} classes: a training here knows {IGNORED} at most")
        self.source, self.size = source, size
        self._order = _Order(len(source), length, seed)
        fill = {tv_tensors.Image: [255 * m for m in mean], tv_tensors.Mask: IGNORED}
        self._augment = v2.Compose(
            [
                v2.ScaleJitter((size, size), (0.5, 2.0)),
                v2.RandomCrop(size, pad_if_needed=True, fill=fill),
                v2.RandomHorizontalFlip(),
                v2.RandomPhotometricDistort(),
            ]
        )

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        index, rng = self._order.draw(position)
        classes = self.source.semantic(index)
        classes = np.where(classes < 0, IGNORED, classes).astype(np.uint8)
        image = tv_tensors.Image(torch.from_numpy(self.source.pixels(index).transpose(2, 0, 1).copy()))
        with seeded(int(rng.integers(2**31))):
            image, mask = self._augment(image, tv_tensors.Mask(torch.from_numpy(classes)))
        return image.as_subclass(Tensor).contiguous(), mask.as_subclass(Tensor).contiguous()


def semantic_files(data: str | Path, form: str, subset: str | None = None) -> MaskSemanticDataset:
    """A data set to train on.

    Raises:
        UsageError: an unknown format. InputError: files that are missing or not in it.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form}: write {', '.join(FORMATS)}")
    find, usual, background = FORMATS[form]
    return MaskSemanticDataset(find(data, subset or usual), background=background)
