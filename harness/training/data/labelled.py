"""Streams of labelled training images, from files or the built-in world: random access by position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ltrp_bench.harness.training.augmentation import Augmentation
from ltrp_bench.harness.training.data.unlabelled import ImageStream
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.folders import data_folder
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset, as_multilabel, label_vector
from ltrp_bench.tasks.data.imagenet import find_labelled
from ltrp_bench.tasks.data.nuswide import NusWideDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, SIZE, WORLD_SEEDS, WORLD_VERSION, ShapesWorld
from ltrp_bench.tasks.data.single_label import SingleLabelDataset
from ltrp_bench.tasks.data.voc import VocDataset

SHAPES = "shapes"
FORMATS: dict[str, tuple[Callable[..., Any], str]] = {
    "coco": (CocoDataset, "train2017"),
    "voc": (VocDataset, "trainval"),
    "nuswide": (NusWideDataset, "train"),
}
"""Data sets with several labels an image, and the subset that is trained on."""


@dataclass(frozen=True)
class Taught:
    """Images and what they are labelled with.

    Attributes:
        name: of the data, for the card.
        categories: in the order of a model's outputs.
        count: how many images.
        revision: of them.
        sample: position -> [h, w, 3] uint8, and the label (int64 scalar) or [C] int8 of 1 present, 0 absent, -1 not
            asked for.
        drawn: they are made rather than read: kept in memory once made, 27 kB each.
    """

    name: str
    categories: tuple[str, ...]
    count: int
    revision: str
    sample: Callable[[int], tuple[np.ndarray, np.ndarray]]
    drawn: bool = False


def labelled_files(data: str | Path, subset: str = "train") -> Taught:
    """ImageNet-1K's training images, or any folder of class folders, from DIR/SUBSET (or Kaggle's layout).

    Raises:
        InputError: no such folder, no images in it, see `tasks.data.imagenet`.
    """
    root = data_folder(data, "training images in class folders below train/")
    below = (root / subset, root / "ILSVRC" / "Data" / "CLS-LOC" / subset)
    if not any(folder.is_dir() for folder in below):
        raise InputError(f"no folder {subset}/ in {root}: training images lie in {subset}/CLASS/ (--subset)")
    source: SingleLabelDataset = find_labelled(root, subset)

    def sample(index: int) -> tuple[np.ndarray, np.ndarray]:
        return source.pixels(index), np.array(source.label(index), np.int64)

    return Taught("images", source.categories, len(source), source.revision, sample)


def label_set_files(data: str | Path, form: str = "coco", subset: str | None = None) -> Taught:
    """Images with several labels of COCO's format, of a VOC devkit, or of NUS-WIDE.

    Raises:
        UsageError: an unknown format. InputError: files that are missing or not in it.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form}: write {', '.join(FORMATS)}")
    make, usual = FORMATS[form]
    source: MultiLabelDataset = as_multilabel(make(data, subset or usual))

    def sample(index: int) -> tuple[np.ndarray, np.ndarray]:
        return source.pixels(index), label_vector(source, index)

    return Taught(form, source.categories, len(source), source.revision, sample)


def shapes_taught(num_images: int, view: str, split: str = "train") -> Taught:
    """Images of the built-in world.

    Args:
        images: how many.
        view: "single-object", with its category as the label, or "scenes", with all that they show.
        split: "train" or "val"; tasks judge on neither.
    """
    world = ShapesWorld(WORLD_SEEDS[split], view)

    def sample(index: int) -> tuple[np.ndarray, np.ndarray]:
        image = world.image(index)
        if view == "single-object":
            return image.image, np.array(image.labels[0], np.int64)
        return image.image, np.isin(np.arange(len(CATEGORIES)), image.labels).astype(np.int8)

    revision = f"shapes v{WORLD_VERSION}, {view}, seed {world.seed}"
    return Taught(f"shapes, {view}", CATEGORIES, num_images, revision, sample, drawn=True)


class TaughtStream(Dataset[tuple[Tensor, ...]]):
    """Augmented images in an order that is shuffled anew each epoch; a sample depends on (seed, position) alone.

    Items are (image [3, H, W] uint8, target), and with `scores` also their [gh, gw] float32 of the augmented image.

    Args:
        taught: the images.
        augment: what is done to each.
        length: draws in all.
        seed: of order and augmentation.
        scores: [count, gh, gw] of the whole images' patches.
    """

    def __init__(
        self,
        taught: Taught,
        augment: Augmentation,
        length: int,
        seed: int,
        scores: np.ndarray | None = None,
    ) -> None:
        self.taught, self.augment, self.scores = taught, augment, scores
        self._order = _Order(taught, augment, length, seed)
        self._pixels = np.zeros((taught.count, SIZE, SIZE, 3), np.uint8) if taught.drawn else None
        self._targets: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        index, rng = self._order.draw(position)
        pixels, target = self._image(index)
        before = None if self.scores is None else np.array(self.scores[index])
        image, after = self.augment(pixels, rng, before)
        item = (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(np.array(target)))
        return item if after is None else (*item, torch.from_numpy(after))

    def _image(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self._pixels is None:
            return self.taught.sample(index)
        if index not in self._targets:
            self._pixels[index], self._targets[index] = self.taught.sample(index)
        return self._pixels[index], self._targets[index]


class _Order(ImageStream):
    """The same images without their targets: which one stands where, and its generator."""

    def __init__(self, taught: Taught, augment: Augmentation, length: int, seed: int) -> None:
        super().__init__(taught.count, length, seed)
        self.taught, self.augment, self.revision = taught, augment, taught.revision

    def augmented(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """[H, W, 3] uint8."""
        return self.augment(self.taught.sample(index)[0], rng)[0]
