"""Images with class-index masks: a pixel's value is its class, and each class region of an image is one object."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.base import Limit, limited
from ltrp_bench.tasks.data.class_masks.folders import MaskFolder
from ltrp_bench.tasks.data.class_masks.numbering import VOID
from ltrp_bench.tasks.data.decoding import open_image, read_mask, read_rgb, revision_tag
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import IMAGE_SUFFIXES
from ltrp_bench.tasks.data.files.orientation import Exif, decide
from ltrp_bench.tasks.data.files.text import printable
from ltrp_bench.tasks.data.objects import ObjectDataset


class MaskRegionDataset(ObjectDataset):
    """The class regions of a folder with masks, images in the order of their names.

    One object is all pixels of one class in one image, connected or not, as in semantic segmentation: masks do not
    separate neighbors of one class. Pixels of `MaskFolder.ignored_values` belong to no object.

    Args:
        folder: found by `find_stuff`, `find_voc`, `find_context` or `find_ade20k`.
        limit: which images are used, see `base.Limit`.
        exif: what to do about an EXIF orientation that the size of the mask does not decide.

    Raises:
        InputError: a mask cannot be read. Later, by `pixels`, `values` and `truth`: an image that is missing, corrupt
            or of another size than its mask; a mask that is corrupt, has several channels or holds an unknown value.
    """

    domain = "photos"

    def __init__(self, folder: MaskFolder, *, limit: Limit = None, exif: Exif = "auto") -> None:
        self.folder = folder
        self.categories = tuple(folder.names.values())
        self._stems = limited(folder.stems, limit, printable)
        super().__init__([printable(stem) for stem in self._stems])
        self.notes = folder.notes
        finder = folder.finder or FileFinder(folder.images, by_stem=True)
        self._images = finder.match(self._stems)
        self._orientations = decide(((path, partial(self._size, stem)) for stem, path in self._images.items()), exif)
        self.assumptions = (*folder.notes.assumptions, *finder.assumptions, *self._orientations.assumptions)
        self.revision = self._revision()

    def _revision(self) -> str:
        """sha256 of the classes, the bytes of all masks in use, and the names and sizes in bytes of their images."""
        classes = [sorted(self.folder.names.items()), sorted(self.folder.ignored_values)]
        digest = hashlib.sha256(json.dumps(classes).encode())
        for stem in self._stems:
            path = self._images[stem]
            there = path.is_file()
            entry = [stem, path.name if there else None, path.stat().st_size if there else -1]
            digest.update(json.dumps(entry).encode())
            try:
                digest.update(hashlib.sha256(self.mask_path(stem).read_bytes()).digest())
            except OSError as error:
                raise InputError(f"cannot read mask {self.mask_path(stem)}: {error.strerror}") from None
        digest.update(revision_tag(self._images.values(), map(self.mask_path, self._stems)))
        return self._orientations.revision(digest.hexdigest())

    def mask_path(self, stem: str) -> Path:
        """Path of an image's mask."""
        return self.folder.mask_paths.get(stem, self.folder.masks / f"{stem}.png")

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB in the orientation of the mask, see `decide`."""
        stem = self._stems[index]
        mask_path = self.mask_path(stem)
        path = self._images[stem]
        if not path.is_file():
            raise InputError(
                f"mask {mask_path} has no image: looked for {self.ids[index]} with {', '.join(IMAGE_SUFFIXES)} "
                f"in {self.folder.images}"
            )
        upright = path in self._orientations.applied
        return read_rgb(path, self._size(stem), size_from=f"its mask {mask_path} has", upright=upright)

    def _size(self, stem: str) -> tuple[int, int]:
        """(width, height) of a mask."""
        return open_image(self.mask_path(stem), "mask", lambda image: image.size)

    def values(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """[H, W] integer mask values, and the distinct ones among them, sorted; InputError for an unknown value.

        A value of 255 that is no class counts as none, as is usual.
        """
        path = self.mask_path(self._stems[index])
        values = read_mask(path, self.folder.colors)
        present = tuple(int(value) for value in np.unique(values))
        unknown = [v for v in present if v not in self.folder.names and v not in (*self.folder.ignored_values, VOID)]
        if unknown:
            raise InputError(
                f"mask {path} holds {', '.join(map(str, unknown[:5]))}, which {self.folder.listed_in} does not list: "
                "correct the mask or the list"
            )
        return values, present

    def listed(self, index: int) -> tuple[ObjectAnnotation, ...]:
        """Empty: class regions are known from masks alone, and all of them count."""
        return ()

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        values, present = self.values(index)
        names = {value: self.folder.names[value] for value in present if value in self.folder.names}
        objects = [_region(values == value, name, masks) for value, name in names.items()]
        return ImageAnnotations(self.ids[index], values.shape[0], values.shape[1], objects)


def _region(mask: np.ndarray, name: str, with_rle: bool) -> ObjectAnnotation:
    """The object of a [H, W] bool mask."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (float(xs[0]), float(ys[0]), float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1))
    rle = rle_tools.encode(np.asfortranarray(mask.astype(np.uint8))) if with_rle else None
    return ObjectAnnotation(name, box, float(mask.sum()), rle=rle)
