"""ImageNet-1K in its usual layouts, and any other folder of class folders.

Supported layouts of ImageNet-1K (SUBSET is "val" by default):

* class folders named by wnid: DIR/SUBSET/n01440764/*.JPEG or DIR/n01440764/*.JPEG;
* flat, DIR/SUBSET/ILSVRC2012_val_00000001.JPEG or DIR/ILSVRC2012_val_00000001.JPEG, with a file that maps each image
  to its class (see `imagenet_lists`).

As in torchvision's ImageFolder and timm, images are converted to RGB and EXIF is ignored: published accuracies are
measured so, although a few images carry an orientation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.folders import data_folder
from ltrp_bench.tasks.data.imagenet_lists import find_map, is_image, read_map
from ltrp_bench.tasks.data.single_label import LabelledImageDataset, SingleLabelDataset
from ltrp_bench.tasks.data.synsets import imagenet_classes, imagenet_wnids

HOW_TO_GET = (
    "get ILSVRC2012_img_val.tar from https://image-net.org and unpack it to val/, with a map of its classes beside it "
    "or sorted into one folder per wnid"
)
# An official file name is the image's id in every layout.
_OFFICIAL = re.compile(r"(ILSVRC2012_(val|train|test)_\d{8}|n\d{8}_.+)")


class ImageNetDataset(LabelledImageDataset):
    """ImageNet-1K, or some of its classes (Russakovsky et al., IJCV 2015).

    `categories` are always all 1,000, in timm's order (sorted wnids).

    Args:
        data: its folder, see the top of this file.
        subset: name of the folder with the images.
        labels: file that maps the images of a flat folder to classes; found by itself if it has a usual name.
        limit: maximum number of images; the first ones are used.

    Attributes:
        wnids: WordNet ids of the categories.

    Raises:
        UsageError: no folder given. InputError: no images there; a class folder that is none of the 1,000; a flat
            folder without a map; a map that cannot be read or lacks an image; an image in two class folders.
    """

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val",
        labels: str | Path | None = None,
        *,
        limit: int | None = None,
    ) -> None:
        root = data_folder(data, "ImageNet-1K")
        self.wnids = tuple(imagenet_classes())
        folder = _image_folder(root, subset)
        classes = class_folders(folder)
        if any(name in self.wnids for name in classes) and labels is None:
            images = self._by_folder(classes)
        else:
            images = self._by_map(root, folder, labels)
        super().__init__(images, tuple(imagenet_classes().values()), limit=limit)

    def _by_folder(self, classes: Mapping[str, Path]) -> dict[str, tuple[Path, int]]:
        """id -> file and class of the images in class folders."""
        number = {wnid: i for i, wnid in enumerate(self.wnids)}
        other = [path for name, path in classes.items() if name not in number and holds_images(path)]
        if other:
            raise InputError(
                f"{other[0]} is no class of ImageNet-1K (a folder must be named by one of its 1,000 wnids): "
                "remove it, or rename all folders to use classes of your own"
            )
        images = _gather({path: number[name] for name, path in classes.items() if name in number})
        if not images:
            raise InputError(f"no images in the class folders of {next(iter(classes.values())).parent}; {HOW_TO_GET}")
        return images

    def _by_map(self, root: Path, folder: Path, labels: str | Path | None) -> dict[str, tuple[Path, int]]:
        """id -> file and class of the images in one folder; the map may list images that are not there."""
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


class ImageFolderDataset(LabelledImageDataset):
    """Any folder of class folders, whose sorted names are the categories, as in torchvision's ImageFolder.

    Args:
        data: DIR with DIR/SUBSET/CLASS/ or DIR/CLASS/.
        subset: name of the folder with the class folders.
        limit: maximum number of images; the first ones are used.

    Raises:
        UsageError: no folder given. InputError: no class folders there, or one without images.
    """

    def __init__(self, data: str | Path | None, subset: str = "val", *, limit: int | None = None) -> None:
        root = data_folder(data, "class folders with images")
        folder = _image_folder(root, subset)
        classes = class_folders(folder)
        if not classes:
            raise InputError(f"no class folders in {folder}: images must lie in one folder per class")
        empty = next((path for path in classes.values() if not holds_images(path)), None)
        if empty is not None:
            raise InputError(f"class folder {empty} holds no images: remove it, or labels would shift unnoticed")
        images = _gather({path: i for i, path in enumerate(classes.values())})
        super().__init__(images, tuple(classes), limit=limit)


def find_labelled(
    data: str | Path | None, subset: str = "val", labels: str | Path | None = None, *, limit: int | None = None
) -> SingleLabelDataset:
    """Returns ImageNet-1K if `data` looks like it, else a folder of class folders; arguments as for `ImageNetDataset`.

    It looks like ImageNet-1K if a class folder has one of its wnids, if no class folder holds images, or if a map is
    given.
    """
    root = data_folder(data, "images with one label each")
    classes = class_folders(_image_folder(root, subset))
    own = labels is None and not set(classes) & set(imagenet_wnids())
    if own and any(holds_images(path) for path in classes.values()):
        return ImageFolderDataset(root, subset, limit=limit)
    return ImageNetDataset(root, subset, labels, limit=limit)


def class_folders(folder: Path) -> dict[str, Path]:
    """name -> path of the folders in `folder`, sorted; hidden ones are left out."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: path for path in below}


def holds_images(folder: Path) -> bool:
    """True if there is an image in `folder`, at any depth."""
    return any(is_image(file) for file in folder.rglob("*"))


def _image_folder(root: Path, subset: str) -> Path:
    """Finds DIR/SUBSET or Kaggle's DIR/ILSVRC/Data/CLS-LOC/SUBSET; else DIR itself."""
    below = (root / subset, root / "ILSVRC" / "Data" / "CLS-LOC" / subset)
    return next((path for path in below if path.is_dir()), root)


def _gather(folders: Mapping[Path, int]) -> dict[str, tuple[Path, int]]:
    """id -> file and class of all images of class folders.

    The id is the name of an official file, else CLASS/PATH, both without suffix.
    """
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
