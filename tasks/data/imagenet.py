"""Images with one label each: ImageNet-1K in the layouts it comes in, and any folder of class folders.

Layouts of ImageNet-1K that are read, SUBSET being "val" by default:

* class folders named by wnid: DIR/SUBSET/n01440764/*.JPEG or DIR/n01440764/*.JPEG;
* flat, DIR/SUBSET/ILSVRC2012_val_00000001.JPEG or DIR/ILSVRC2012_val_00000001.JPEG, and a map that says which class
  each image is of (`imagenet_maps`).

Images are read as torchvision's ImageFolder and timm read them: to RGB, EXIF ignored. The published accuracies are
of images so read, though a few of ImageNet's carry an orientation.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.decoding import open_image
from ltrp_bench.tasks.data.folders import data_folder
from ltrp_bench.tasks.data.imagenet_lists import find_map, is_image, read_map
from ltrp_bench.tasks.data.objects import check_limit
from ltrp_bench.tasks.data.synsets import imagenet_classes, imagenet_wnids

HOW_TO_GET = (
    "get ILSVRC2012_img_val.tar from https://image-net.org and unpack it to val/, with a map of its classes beside it "
    "or sorted into one folder a wnid"
)
# Official files carry a name of their own: it is their id, whatever folder they lie in.
_OFFICIAL = re.compile(r"(ILSVRC2012_(val|train|test)_\d{8}|n\d{8}_.+)")


class SingleLabelDataset(ABC):
    """A data set of images with one label each, in the order of their ids.

    Attributes:
        domain: which shipped weights fit, "shapes" or "photos".
        categories: unique readable names, in the order of a model's outputs.
        ids: of the images.
        revision: of the data.
    """

    domain: Literal["shapes", "photos"]
    categories: tuple[str, ...]
    revision: str

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self._index = {image_id: i for i, image_id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, image_id: str) -> int:
        """Position of an image id."""
        return self._index[image_id]

    @abstractmethod
    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB; InputError where the file is missing or corrupt."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Index of the image's class in `categories`."""


class LabelledFiles(SingleLabelDataset):
    """Files with one label each.

    `revision` is the sha256 of the categories, and of each used image's id, class and size in bytes: an image that
    is replaced by one of as many bytes goes unnoticed.

    Args:
        images: id -> file and index of its class.
        categories: readable names in the order of the labels.
        limit: only the first so many images.
    """

    domain = "photos"

    def __init__(
        self, images: Mapping[str, tuple[Path, int]], categories: Sequence[str], limit: int | None = None
    ) -> None:
        super().__init__(sorted(images)[: check_limit(limit)])
        self.categories = tuple(categories)
        self._files, self._labels = zip(*(images[image_id] for image_id in self.ids), strict=True)
        digest = hashlib.sha256(json.dumps(self.categories).encode())
        for image_id, file, label in zip(self.ids, self._files, self._labels, strict=True):
            size = file.stat().st_size if file.is_file() else -1  # a link to nowhere
            digest.update(json.dumps([image_id, label, size]).encode())
        self.revision = digest.hexdigest()

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB as stored, EXIF ignored."""
        return open_image(self._files[index], "image", lambda image: np.asarray(image.convert("RGB")))

    def label(self, index: int) -> int:
        """Index of the image's class in `categories`."""
        return self._labels[index]


class ImageNetDataset(LabelledFiles):
    """ImageNet-1K, or some of its classes; `categories` are always all 1,000, in timm's order (sorted wnids).

    Args:
        data: its folder, see the head of this file.
        subset: the folder of the images.
        labels: the map of a flat folder; found by itself where it has one of the usual names.
        limit: only the first so many images.

    Attributes:
        wnids: of the categories.

    Raises:
        UsageError: no folder given. InputError: no images there; a class folder that is none of the 1,000; a flat
            folder without a map, a map that cannot be read or lacks an image; an image in two class folders.
    """

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val",
        labels: str | Path | None = None,
        limit: int | None = None,
    ) -> None:
        root = data_folder(data, "ImageNet-1K")
        self.wnids = tuple(imagenet_classes())
        folder = _image_folder(root, subset)
        classes = class_folders(folder)
        if any(name in self.wnids for name in classes) and labels is None:
            images = self._sorted(classes)
        else:
            images = self._flat(root, folder, labels)
        super().__init__(images, tuple(imagenet_classes().values()), limit)

    def _sorted(self, classes: Mapping[str, Path]) -> dict[str, tuple[Path, int]]:
        """Images of class folders."""
        number = {wnid: i for i, wnid in enumerate(self.wnids)}
        other = [path for name, path in classes.items() if name not in number and holds_images(path)]
        if other:
            raise InputError(
                f"{other[0]} is no class of ImageNet-1K (a folder must be named by one of its 1,000 wnids): "
                "take it away, or name all folders otherwise to use classes of your own"
            )
        images = _gather({path: number[name] for name, path in classes.items() if name in number})
        if not images:
            raise InputError(f"no images in the class folders of {next(iter(classes.values())).parent}; {HOW_TO_GET}")
        return images

    def _flat(self, root: Path, folder: Path, labels: str | Path | None) -> dict[str, tuple[Path, int]]:
        """Images of one folder by a map; the map may list more than there are."""
        files = [path for path in sorted(folder.iterdir()) if is_image(path)]
        if not files:
            raise InputError(
                f"no images in {folder}, neither in class folders named by wnid nor in the folder itself; {HOW_TO_GET}"
            )
        path = find_map(root, folder, labels)
        known = read_map(path, self.wnids)
        without = [file for file in files if file.stem not in known]
        if without:
            raise InputError(f"{len(without)} images in {folder} are not in {path}, e.g. {without[0].name}")
        return _unique([(file.stem, file, known[file.stem]) for file in files])


class ImageFolderDataset(LabelledFiles):
    """Any folder of class folders; the folders' names, sorted, are the categories, as torchvision's ImageFolder has it.

    Args:
        data: DIR with DIR/SUBSET/CLASS/ or DIR/CLASS/.
        subset: see there.
        limit: only the first so many images.

    Raises:
        UsageError: no folder given. InputError: no class folders there, or one without images.
    """

    def __init__(self, data: str | Path | None, subset: str = "val", limit: int | None = None) -> None:
        root = data_folder(data, "class folders with images")
        folder = _image_folder(root, subset)
        classes = class_folders(folder)
        if not classes:
            raise InputError(f"no class folders in {folder}: images must lie in one folder a class")
        empty = next((path for path in classes.values() if not holds_images(path)), None)
        if empty is not None:
            raise InputError(f"class folder {empty} holds no images: take it away, or labels would shift unnoticed")
        images = _gather({path: i for i, path in enumerate(classes.values())})
        super().__init__(images, tuple(classes), limit)


def find_labelled(
    data: str | Path | None, subset: str = "val", labels: str | Path | None = None, limit: int | None = None
) -> SingleLabelDataset:
    """ImageNet-1K where `data` looks like it, else class folders of one's own; arguments as of `ImageNetDataset`.

    It looks like ImageNet-1K if a class folder has one of its wnids, if no folder there holds images, or if a
    map is given.
    """
    root = data_folder(data, "images with one label each")
    classes = class_folders(_image_folder(root, subset))
    own = labels is None and not set(classes) & set(imagenet_wnids())
    if own and any(holds_images(path) for path in classes.values()):
        return ImageFolderDataset(root, subset, limit)
    return ImageNetDataset(root, subset, labels, limit)


def class_folders(folder: Path) -> dict[str, Path]:
    """The folders below `folder` by name, sorted; hidden ones are left out."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: path for path in below}


def holds_images(folder: Path) -> bool:
    """Whether there is an image in `folder`, at any depth."""
    return any(is_image(file) for file in folder.rglob("*"))


def _image_folder(root: Path, subset: str) -> Path:
    """DIR/SUBSET, Kaggle's DIR/ILSVRC/Data/CLS-LOC/SUBSET, or DIR itself."""
    below = (root / subset, root / "ILSVRC" / "Data" / "CLS-LOC" / subset)
    return next((path for path in below if path.is_dir()), root)


def _gather(folders: Mapping[Path, int]) -> dict[str, tuple[Path, int]]:
    """All images of class folders by id: an official file's own name, else CLASS/PATH without suffix."""
    found = []
    for folder, label in folders.items():
        for file in folder.rglob("*"):
            if is_image(file):
                inside = file.relative_to(folder.parent).with_suffix("").as_posix()
                found.append((file.stem if _OFFICIAL.fullmatch(file.stem) else inside, file, label))
    return _unique(found)


def _unique(found: Sequence[tuple[str, Path, int]]) -> dict[str, tuple[Path, int]]:
    images: dict[str, tuple[Path, int]] = {}
    for image_id, file, label in found:
        if image_id in images:
            raise InputError(f"two images of one name: {images[image_id][0]} and {file}; keep one")
        images[image_id] = (file, label)
    return images
