"""Labeled training images, from files or from `shapes`, and the stream of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.training.augmentation import Augmentation
from ltrp_bench.harness.training.data.drawn_images import DrawnImages
from ltrp_bench.harness.training.data.file_options import file_options
from ltrp_bench.harness.training.data.geometry import image_tensor
from ltrp_bench.harness.training.data.order import TrainingStream
from ltrp_bench.harness.training.options.training import NO_OPTIONS, FileOptions
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import ImageDataset
from ltrp_bench.tasks.data.folders import data_folder, image_folder
from ltrp_bench.tasks.data.image_labels import as_multilabel, label_vector
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, WORLD_SEEDS, WORLD_VERSION, ShapesWorld
from ltrp_bench.tasks.data_sources import open_labelled, open_nuswide, open_objects
from ltrp_bench.tasks.options import AnnotatedData, FolderData, ImageNetData, VocData

FORMATS: dict[str, tuple[type[FolderData], str]] = {
    "coco": (AnnotatedData, "train2017"),
    "voc": (VocData, "trainval"),
    "nuswide": (FolderData, "train"),
}
"""Format with several labels per image -> options of its files, and its training subset."""


@dataclass(frozen=True)
class TrainingSet:
    """Labeled images to train on.

    Attributes:
        name: name of the data, for the card.
        categories: names in the order of a model's outputs.
        count: number of images.
        revision: identifies the images; a run cannot be resumed on other images.
        sample: index -> [h, w, 3] uint8, and the label (int64 scalar) or [C] int8 of 1 present, 0 absent, -1 ignored.
        synthetic: True for `shapes`: its images are generated rather than read, and kept in memory.
        ids: names of the images; empty for `shapes`.
        assumptions: one line for each thing that was assumed, changed or left out when the files were read.
    """

    name: str
    categories: tuple[str, ...]
    count: int
    revision: str
    sample: Callable[[int], tuple[np.ndarray, np.ndarray]]
    synthetic: bool = False
    ids: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


def class_folders(data: str | Path, subset: str = "train", files: FileOptions = NO_OPTIONS) -> TrainingSet:
    """Training images of ImageNet-1K, or of any folder of class folders, from DIR/SUBSET (or Kaggle's layout).

    Raises:
        InputError: the folder is missing or has no images, see `tasks.data.imagenet`.
    """
    root = data_folder(data, "training images in class folders below train/")
    options = file_options(ImageNetData, files.task_option, data=root, subset=subset, strict=files.strict)
    if image_folder(root, options.subset) == root:
        name = options.subset
        raise InputError(f"no folder {name}/ in {root}: training images lie in {name}/CLASS/ (--subset)")
    source = open_labelled(options)

    def sample(index: int) -> tuple[np.ndarray, np.ndarray]:
        return source.pixels(index), np.array(source.label(index), np.int64)

    return _files("images", source, sample)


def multilabel_files(
    data: str | Path, form: str = "coco", subset: str | None = None, files: FileOptions = NO_OPTIONS
) -> TrainingSet:
    """Images with several labels each, of a data set in COCO's format, a VOC devkit, or NUS-WIDE.

    Args:
        data: folder of the data set.
        form: its format, a key of `FORMATS`.
        subset: name of the subset; None for the training images.
        files: what is known about its files.

    Raises:
        InputError: files are missing or not in this format.
    """
    kind, usual = FORMATS[form]
    options = file_options(kind, files.task_option, data=data, subset=subset or usual, strict=files.strict)
    source = as_multilabel(open_nuswide(options) if form == "nuswide" else open_objects(options))

    def sample(index: int) -> tuple[np.ndarray, np.ndarray]:
        return source.pixels(index), label_vector(source, index)

    return _files(form, source, sample)


def _files(name: str, source: ImageDataset, sample: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> TrainingSet:
    return TrainingSet(
        name,
        source.categories,
        len(source),
        source.revision,
        sample,
        ids=source.ids,
        assumptions=source.remarks,
    )


def labelled_shapes(num_images: int, view: str, split: str = "train") -> TrainingSet:
    """Images of `shapes`.

    Args:
        num_images: number of images.
        view: "single-object", with its category as the label, or "scenes", with all categories that they show.
        split: "train" or "val"; tasks evaluate on neither.
    """
    world = ShapesWorld(WORLD_SEEDS[split], view)

    def sample(index: int) -> tuple[np.ndarray, np.ndarray]:
        image = world.image(index)
        if view == "single-object":
            return image.image, np.array(image.labels[0], np.int64)
        return image.image, np.isin(np.arange(len(CATEGORIES)), image.labels).astype(np.int8)

    revision = f"shapes v{WORLD_VERSION}, {view}, seed {world.seed}"
    return TrainingSet(f"shapes, {view}", CATEGORIES, num_images, revision, sample, synthetic=True)


class LabelledStream(TrainingStream):
    """Augmented images of a training set.

    Items are (image [3, H, W] uint8, target), and with `scores` also their [gh, gw] float32 of the augmented image.

    Args:
        dataset: the images.
        augment: augmentation of each.
        length: number of images drawn over the whole training.
        seed: seed of order and augmentation.
        scores: [count, gh, gw] of the whole images' patches.
    """

    def __init__(
        self, dataset: TrainingSet, augment: Augmentation, length: int, seed: int, scores: np.ndarray | None = None
    ) -> None:
        super().__init__(dataset.count, length, seed)
        self.revision, self._augment, self._scores = dataset.revision, augment, scores
        self.assumptions, self._ids = dataset.assumptions, dataset.ids
        self._image: Callable[[int], tuple[np.ndarray, np.ndarray]] = dataset.sample
        if dataset.synthetic:
            self._image = DrawnImages(dataset.count, dataset.sample).__getitem__

    def name(self, index: int) -> str:
        """Id of the image in the data set."""
        return self._ids[index] if self._ids else super().name(index)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Image and target, and the scores if they are known."""
        pixels, target = self._image(index)
        before = None if self._scores is None else np.array(self._scores[index])
        image, after = self._augment(pixels, rng, before)
        item = image_tensor(image), torch.from_numpy(np.array(target))
        return item if after is None else (*item, torch.from_numpy(after))
