"""Streams of unlabeled training images: `shapes`, or any folder of images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ltrp_bench.harness.training.data.drawn_images import DrawnImages
from ltrp_bench.harness.training.data.geometry import image_tensor, random_turn, turned
from ltrp_bench.harness.training.data.order import TrainingStream
from ltrp_bench.harness.training.options.pretraining import CROP_SCALE
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.decoding import read_rgb, revision_tag
from ltrp_bench.tasks.data.files.listing import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES, list_files
from ltrp_bench.tasks.data.files.text import printable
from ltrp_bench.tasks.data.shapes.world import SIZE, WORLD_SEEDS, WORLD_VERSION, ShapesWorld


def shapes_revision(world_seed: int) -> str:
    """Identifies the images that `shapes` generates from a seed."""
    return f"shapes {WORLD_VERSION}, seed {world_seed}"


class ShapesStream(TrainingStream):
    """Images of `shapes` with random flips and quarter turns; items are [3, 96, 96] uint8."""

    def __init__(self, num_images: int, length: int, seed: int, world_seed: int = WORLD_SEEDS["train"]) -> None:
        super().__init__(num_images, length, seed)
        world = ShapesWorld(world_seed)
        self.revision = shapes_revision(world_seed)
        self._images = DrawnImages(num_images, lambda index: (world.image(index).image, None))

    def sample(self, index: int, rng: np.random.Generator) -> Tensor:
        """[3, 96, 96] uint8."""
        return image_tensor(turned(self._images[index][0], *random_turn(rng)))


class FolderStream(TrainingStream):
    """All images below a folder: random resized crops (ratio 3/4 to 4/3), mirrored half the time.

    Items are [3, size, size] uint8. The least share of an image's area in a crop is `crop_scale`; at 1 every crop is
    the whole image, whatever its ratio.

    Raises:
        InputError: the folder is missing or has no images, or an image cannot be read.
        UsageError: a share outside (0, 1].
    """

    def __init__(self, folder: Path, size: int, length: int, seed: int, crop_scale: float = CROP_SCALE) -> None:
        if not 0 < crop_scale <= 1:
            raise UsageError(f"--crop-scale is a share of the image's area in (0, 1], got {crop_scale}")
        if not folder.is_dir():
            raise InputError(f"no folder of training images at {folder}; give --data DIR with images in it")
        found = list_files(folder, (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES), recursive=True)
        self.files = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES]
        if len(self.files) < len(found):
            other = next(file for file in found if file.suffix.lower() not in IMAGE_SUFFIXES)
            line = f"{len(found) - len(self.files)} of {len(found)} images left out: their formats are not read"
            self.assumptions = (f"{line} (first {printable(other.name)})",)
        if not self.files:
            raise InputError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) under {folder}")
        super().__init__(len(self.files), length, seed)
        self.folder, self.size, self.crop_scale = folder, size, crop_scale
        # Names and sizes only: hashing every byte of a million images would take too long.
        sizes = {file: file.stat().st_size if file.is_file() else -1 for file in self.files}  # -1: a dangling link
        listing = "\n".join(f"{printable(f.relative_to(folder).as_posix())} {size}" for f, size in sizes.items())
        self.revision = hashlib.sha256(listing.encode() + revision_tag(self.files)).hexdigest()

    def name(self, index: int) -> str:
        """Path below the folder."""
        return printable(self.files[index].relative_to(self.folder).as_posix())

    def sample(self, index: int, rng: np.random.Generator) -> Tensor:
        """[3, size, size] uint8."""
        image = Image.fromarray(read_rgb(self.files[index], draft=(3 * self.size, 3 * self.size)))
        box = _random_crop(image.width, image.height, rng, self.crop_scale)
        pixels = np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box))
        return image_tensor(pixels[:, ::-1] if rng.integers(2) else pixels)


def open_stream(
    data: str, size: int, length: int, seed: int, num_images: int, crop_scale: float = CROP_SCALE
) -> TrainingStream:
    """Training images of `data`: "shapes" or a folder of images.

    Args:
        data: "shapes" or a folder.
        size: side of the images in pixels.
        length: number of images drawn over the whole training.
        seed: seed of order and augmentation.
        num_images: number of different images of shapes.
        crop_scale: least share of the area of a folder's image in a crop.

    Raises:
        UsageError: shapes have another size. InputError: see `FolderStream`.
    """
    if data == "shapes":
        if size != SIZE:
            raise UsageError(f"images of shapes are {SIZE} pixels wide: a model for {size} pixels does not fit")
        return ShapesStream(num_images, length, seed)
    return FolderStream(Path(data), size, length, seed, crop_scale)


def image_record(data: str, stream: TrainingStream) -> dict[str, Any]:
    """Entries of a training's record about its images: data, number of different images, revision."""
    record: dict[str, Any] = {
        "data": "shapes" if data == "shapes" else "images",
        "pictures": min(stream.order.num_images, len(stream)),
        "revision": stream.revision,
    }
    if isinstance(stream, FolderStream) and stream.crop_scale != CROP_SCALE:  # earlier trainings have no such entry
        record["crop_scale"] = stream.crop_scale
    return record


def _random_crop(width: int, height: int, rng: np.random.Generator, least: float) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a crop of `least` to 1 of the area, ratio 3/4 to 4/3 (Szegedy et al., 2015)."""
    if least == 1:
        return 0.0, 0.0, float(width), float(height)
    area = width * height * rng.uniform(least, 1)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w, h = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return float(left), float(top), float(left + w), float(top + h)
