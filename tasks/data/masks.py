"""Images with class-index masks: a pixel's value names its class, every class region of an image is an object."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.decoding import open_image, oriented
from ltrp_bench.tasks.data.folders import IMAGE_SUFFIXES, images_by_stem
from ltrp_bench.tasks.data.mask_folders import MaskFolder
from ltrp_bench.tasks.data.objects import ObjectDataset, check_limit

_INDEXED = ("L", "P", "I", "I;16")


class MaskObjects(ObjectDataset):
    """A data set of images with class masks, by their names. An image's objects are its class regions.

    One object is all pixels of one class in one image, connected or not, as semantic segmentation counts them: the
    masks do not tell neighbours of one class apart. Unlabelled pixels are nobody's.

    Args:
        folder: found by `find_stuff`, `find_voc`, `find_context` or `find_ade20k`.
        limit: only the first so many images.

    Raises:
        InputError: a mask cannot be read at all; one line that names it. Later, by `pixels` and `truth`: an image
            that is missing, corrupt or of another size than its mask; a mask that is corrupt, has several channels or
            holds a value that is no class.
    """

    domain = "photos"

    def __init__(self, folder: MaskFolder, limit: int | None = None) -> None:
        self.folder = folder
        self.categories = tuple(folder.names.values())
        super().__init__(folder.stems[: check_limit(limit)])
        self._images = images_by_stem(folder.images)
        self.revision = self._revision()

    def _revision(self) -> str:
        """sha256 of the classes, every used mask's bytes and the names and sizes in bytes of the images."""
        digest = hashlib.sha256(json.dumps([sorted(self.folder.names.items()), sorted(self.folder.nobody)]).encode())
        for stem in self.ids:
            path = self._images.get(stem)
            size = path.stat().st_size if path else -1
            digest.update(json.dumps([stem, path.name if path else None, size]).encode())
            try:
                digest.update(hashlib.sha256(self.mask_path(stem).read_bytes()).digest())
            except OSError as error:
                raise InputError(f"cannot read mask {self.mask_path(stem)}: {error.strerror}") from None
        return digest.hexdigest()

    def mask_path(self, stem: str) -> Path:
        """The mask of an image."""
        return self.folder.masks / f"{stem}.png"

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB as the mask sees it: EXIF is ignored unless the sizes only fit with it."""
        mask_path = self.mask_path(self.ids[index])
        path = self._images.get(self.ids[index])
        if path is None:
            raise InputError(
                f"mask {mask_path} has no image: looked for {self.ids[index]} with {', '.join(IMAGE_SUFFIXES)} "
                f"in {self.folder.images}"
            )
        wanted = open_image(mask_path, "mask", lambda image: image.size)
        decoded = open_image(path, "image", lambda image: np.asarray(oriented(image, wanted).convert("RGB")))
        if decoded.shape[1::-1] != wanted:
            raise InputError(
                f"image {path} has {decoded.shape[1]}x{decoded.shape[0]} pixels, its mask {mask_path} has "
                f"{wanted[0]}x{wanted[1]}: they must be the same"
            )
        return decoded

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        values = read_mask(self.mask_path(self.ids[index]))
        present = [int(v) for v in np.unique(values) if int(v) not in self.folder.nobody]
        unknown = [v for v in present if v not in self.folder.names]
        if unknown:
            raise InputError(
                f"mask {self.mask_path(self.ids[index])} holds {', '.join(map(str, unknown[:5]))}, which "
                f"{self.folder.listed_in} does not list: correct the mask or the list"
            )
        objects = [self._region(values == v, self.folder.names[v], masks) for v in present]
        return ImageAnnotations(self.ids[index], values.shape[0], values.shape[1], objects)

    @staticmethod
    def _region(mask: np.ndarray, name: str, masks: bool) -> ObjectAnnotation:
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (float(xs[0]), float(ys[0]), float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1))
        code = rle_tools.encode(np.asfortranarray(mask.astype(np.uint8))) if masks else None
        return ObjectAnnotation(name, box, float(mask.sum()), False, code)


def read_mask(path: Path) -> np.ndarray:
    """[H, W] integers: the pixel values of a class-index PNG, of a palette image its indices.

    Raises InputError for a file that is missing, corrupt or has several channels.
    """

    def values(image: Image.Image) -> np.ndarray:
        if image.mode not in _INDEXED:
            raise InputError(
                f"mask {path} is an image of mode {image.mode}; a class mask has one channel that holds class "
                "numbers (panoptic PNGs must be converted first)"
            )
        return np.asarray(image)

    return open_image(path, "mask", values)
