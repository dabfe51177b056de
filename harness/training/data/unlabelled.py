"""Streams of unlabelled training images: random access by position, so that a resumed training goes on exactly.

The image at position n, its crop and its flips depend on (seed, n) alone, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.shapes.world import SIZE, WORLD_SEEDS, WORLD_VERSION, ShapesWorld

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})


class ImageStream(Dataset[Tensor]):
    """`num_images` different images, shuffled anew each epoch; `length` draws in all.

    Items are [3, H, W] uint8 RGB tensors.
    """

    revision: str
    """Of the images: a training's folder is not gone on with on others."""

    def __init__(self, num_images: int, length: int, seed: int) -> None:
        self.num_images, self.length, self.seed = num_images, length, seed
        self._epoch = -1
        self._order: np.ndarray = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> Tensor:
        pixels = self.augmented(*self.draw(position))
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def draw(self, position: int) -> tuple[int, np.random.Generator]:
        """The image's index at a position of the stream, and the randomness of its augmentation."""
        epoch, place = divmod(int(position), self.num_images)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, 1, epoch]).permutation(self.num_images)
            self._epoch = epoch
        return int(self._order[place]), np.random.default_rng([self.seed, 2, position])

    @abstractmethod
    def augmented(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """[H, W, 3] uint8: image `index` under a random augmentation drawn from `rng`."""


class ShapesStream(ImageStream):
    """Unlabelled images of the built-in world, with the eight flips and quarter turns under which it is invariant.

    Images are drawn once per worker and kept (27 kB each).
    """

    def __init__(self, num_images: int, length: int, seed: int, world_seed: int = WORLD_SEEDS["train"]) -> None:
        super().__init__(num_images, length, seed)
        self.world = ShapesWorld(world_seed)
        self.revision = f"shapes {WORLD_VERSION}, seed {world_seed}"
        self._kept = np.zeros((num_images, SIZE, SIZE, 3), np.uint8)
        self._drawn = np.zeros(num_images, bool)

    def augmented(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """The image, turned and perhaps mirrored."""
        if not self._drawn[index]:
            self._kept[index] = self.world.image(index).image
            self._drawn[index] = True
        return turned(self._kept[index], int(rng.integers(4)), bool(rng.integers(2)))


def turned(pixels: np.ndarray, turns: int, mirror: bool) -> np.ndarray:
    """[H, W, ...] after so many quarter turns, then perhaps mirrored left to right."""
    out = np.rot90(pixels, turns)
    return out[:, ::-1] if mirror else out


class FolderStream(ImageStream):
    """All images under a folder: random resized crops (scale 0.3 to 1, ratio 3/4 to 4/3) and mirror images.

    Raises:
        InputError: no such folder, no image in it, an image that cannot be read.
    """

    def __init__(self, folder: Path, size: int, length: int, seed: int) -> None:
        if not folder.is_dir():
            raise InputError(f"no folder of training images at {folder}; give --data DIR with images in it")
        self.files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        if not self.files:
            raise InputError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) under {folder}")
        super().__init__(len(self.files), length, seed)
        self.size = size
        # Names and sizes: reading every byte of a million images would take longer than it is worth.
        listing = "\n".join(f"{f.relative_to(folder).as_posix()} {f.stat().st_size}" for f in self.files)
        self.revision = hashlib.sha256(listing.encode()).hexdigest()

    def augmented(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """A random crop of the image at the training size, perhaps mirrored."""
        file = self.files[index]
        try:
            with Image.open(file) as opened:
                opened.draft("RGB", (3 * self.size, 3 * self.size))
                image = opened.convert("RGB")
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise InputError(f"cannot read training image {file}: {error}; remove it or repair it") from error
        box = _random_crop(image.width, image.height, rng)
        pixels = np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box))
        return pixels[:, ::-1] if rng.integers(2) else pixels


def _random_crop(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a crop of 0.3 to 1 of the area, ratio 3/4 to 4/3 (Szegedy et al., 2015)."""
    area = width * height * rng.uniform(0.3, 1)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w, h = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return float(left), float(top), float(left + w), float(top + h)
