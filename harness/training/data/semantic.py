"""Streams of images with class maps: scenes of `shapes`, or files of a segmentation data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ltrp_bench.harness.training.augmentation import seeded
from ltrp_bench.harness.training.data.drawn_images import DrawnImages
from ltrp_bench.harness.training.data.file_options import file_options
from ltrp_bench.harness.training.data.geometry import image_tensor, random_turn, turned
from ltrp_bench.harness.training.data.order import TrainingStream
from ltrp_bench.harness.training.data.unlabelled import shapes_revision
from ltrp_bench.harness.training.options.training import NO_OPTIONS, FileOptions
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.semantic import MaskSemanticDataset
from ltrp_bench.tasks.data.shapes.world import WORLD_SEEDS, ShapesWorld
from ltrp_bench.tasks.data_sources import open_masks
from ltrp_bench.tasks.options import MaskData, NumberedData

IGNORE_INDEX = 255
"""Value of pixels without a class in the class maps."""

FORMATS: dict[str, tuple[str, type[MaskData], str, int | None]] = {
    "ade20k": ("ade20k", NumberedData, "training", None),
    "voc": ("voc", MaskData, "train", 0),
    "context": ("context", NumberedData, "train", None),
    "cocostuff": ("stuff", MaskData, "train2017", None),
}
"""Format -> data set, options of its files, training subset, and mask value of background if that is a class."""


class SemanticShapes(TrainingStream):
    """Training scenes of `shapes` with their class maps, flipped and rotated by quarter turns.

    Items are (image [3, 96, 96] uint8, classes [96, 96] uint8: 0 background, 1 + category elsewhere).
    """

    def __init__(self, num_images: int, length: int, seed: int, world_seed: int = WORLD_SEEDS["train"]) -> None:
        super().__init__(num_images, length, seed)
        self.world = ShapesWorld(world_seed)
        self.revision = shapes_revision(world_seed)
        self._images = DrawnImages(num_images, self._draw, channels=4)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Image and class map."""
        planes = image_tensor(turned(self._images[index][0], *random_turn(rng)))
        return planes[:3], planes[3]

    def _draw(self, index: int) -> tuple[np.ndarray, None]:
        image = self.world.image(index)
        return np.dstack([image.image, image.semantic.astype(np.uint8)]), None


class SemanticFiles(TrainingStream):
    """Images with class maps from files, augmented like mmsegmentation's recipes, with torchvision's transforms.

    The image is resized by a factor drawn from [0.5, 2] of what fits the input, a square is cropped at random (the mean
    and `IGNORE_INDEX` beyond the borders), mirrored with probability 1/2, and its colors are jittered.

    Items are (image [3, S, S] uint8, classes [S, S] uint8).

    Args:
        source: images and class maps; at most 255 classes.
        size: side S of the crop in pixels.
        mean: mean of the model's normalization, per channel of RGB in [0, 1].
        length: number of images drawn over the whole training.
        seed: seed of order and augmentation.
    """

    def __init__(self, source: MaskSemanticDataset, size: int, mean: tuple[float, ...], length: int, seed: int) -> None:
        if len(source.classes) > IGNORE_INDEX:
            raise UsageError(f"{len(source.classes)} classes: a segmentor is trained on {IGNORE_INDEX} at most")
        super().__init__(len(source), length, seed)
        self.source, self.size, self.revision = source, size, source.revision
        self.assumptions = source.remarks
        fill = {tv_tensors.Image: [255 * m for m in mean], tv_tensors.Mask: IGNORE_INDEX}
        self._augment = v2.Compose(
            [
                v2.ScaleJitter((size, size), (0.5, 2.0)),
                v2.RandomCrop(size, pad_if_needed=True, fill=fill),
                v2.RandomHorizontalFlip(),
                v2.RandomPhotometricDistort(),
            ]
        )

    def name(self, index: int) -> str:
        """Id of the image in the data set."""
        return self.source.ids[index]

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Image and class map, with the same crop."""
        classes = self.source.semantic(index)
        classes = np.where(classes < 0, IGNORE_INDEX, classes).astype(np.uint8)
        image = tv_tensors.Image(torch.from_numpy(self.source.pixels(index).transpose(2, 0, 1).copy()))
        with seeded(int(rng.integers(2**31))):
            image, mask = self._augment(image, tv_tensors.Mask(torch.from_numpy(classes)))
        return image.as_subclass(Tensor).contiguous(), mask.as_subclass(Tensor).contiguous()


def semantic_files(
    data: str | Path, form: str, subset: str | None = None, files: FileOptions = NO_OPTIONS
) -> MaskSemanticDataset:
    """A segmentation data set to train on.

    Args:
        data: its folder.
        form: its format, a key of `FORMATS`.
        subset: name of the subset; None for the training images.
        files: what is known about its files.

    Raises:
        InputError: files are missing or not in this format.
    """
    dataset, kind, usual, background = FORMATS[form]
    options = file_options(kind, files.task_option, data=data, subset=subset or usual, strict=files.strict)
    folder = open_masks(dataset, options)
    return MaskSemanticDataset(folder, limit=options.images_in_use, background=background, exif=options.exif)
