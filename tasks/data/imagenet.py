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
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes, Limit
from ltrp_bench.tasks.data.class_order import class_name, ordered_classes
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import (
    IMAGE_SUFFIXES,
    OTHER_IMAGE_SUFFIXES,
    holds_files,
    list_files,
    list_folders,
)
from ltrp_bench.tasks.data.files.orientation import Exif
from ltrp_bench.tasks.data.files.text import printable
from ltrp_bench.tasks.data.folders import data_folder, image_folder
from ltrp_bench.tasks.data.imagenet_lists import MapNotes, find_map, read_map
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
        limit: which images are used, see `base.Limit`.
        upright: apply EXIF orientations.
        strict: True to refuse a map with a line that cannot be used, or without an image.

    Attributes:
        wnids: WordNet ids of the categories.

    Raises:
        UsageError: no folder given. InputError: no images there; a class folder that is none of the 1,000; a flat
            folder without a map; a map that cannot be read or lists no image; an image in two class folders.
    """

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val",
        labels: str | Path | None = None,
        *,
        limit: Limit = None,
        upright: bool = False,
        strict: bool = False,
    ) -> None:
        root = data_folder(data, "ImageNet-1K")
        self.wnids = tuple(imagenet_classes())
        folder = image_folder(root, subset)
        classes = class_folders(folder)
        notes = _folder_notes(folder, root, subset)
        if any(name in self.wnids for name in classes) and labels is None:
            images = self._by_folder(classes, notes)
        else:
            images = self._by_map(root, folder, labels, MapNotes(strict=strict, notes=notes))
        super().__init__(images, tuple(imagenet_classes().values()), limit=limit, upright=upright, notes=notes)

    def _by_folder(self, classes: Mapping[str, Path], notes: DataNotes) -> dict[str, tuple[Path, int]]:
        """id -> file and class of the images in class folders."""
        number = {wnid: i for i, wnid in enumerate(self.wnids)}
        other = [path for name, path in classes.items() if name not in number and holds_files(path)]
        if other:
            raise InputError(
                f"{other[0]} is no class of ImageNet-1K (a folder must be named by one of its 1,000 wnids): "
                "remove it, or rename all folders to use classes of your own"
            )
        images = _gather({path: number[name] for name, path in classes.items() if name in number}, notes)
        if not images:
            raise InputError(f"no images in the class folders of {next(iter(classes.values())).parent}; {HOW_TO_GET}")
        return images

    def _by_map(
        self, root: Path, folder: Path, labels: str | Path | None, notes: MapNotes
    ) -> dict[str, tuple[Path, int]]:
        """id -> file and class of the images in one folder; the map may list images that are not there."""
        files = list_files(folder)
        if not files:
            raise InputError(
                f"no images in {folder}, neither in class folders named by wnid nor in the folder itself; {HOW_TO_GET}"
            )
        path = find_map(root, folder, labels)
        known = read_map(path, self.wnids, notes)
        names = {file: file.name if file.name in known else file.stem for file in files}
        if any(name not in known for name in names.values()):
            finder = FileFinder(folder, by_stem=True)
            there = set(names.values())
            lacking = [name for name in known if name not in there and PurePath(name).stem not in there]
            names |= {file: name for name, file in finder.match(lacking).items() if file in names}
            for line in finder.assumptions:
                notes.notes.assume(line)
        without = [file for file, name in names.items() if name not in known]
        if len(without) == len(files):
            raise InputError(f"{len(without)} images in {folder} are not in {path}, e.g. {without[0].name}")
        for file in without:
            notes.fault("images", "left out: the list does not have them", f"{path} does not list {file.name}")
        notes.notes.listed["images"] = len(files)
        times = Counter(file.stem for file in files)
        return {
            printable(file.stem if times[file.stem] == 1 else file.name): (file, known[name])
            for file, name in names.items()
            if name in known
        }


class NumberedImageNetDataset(LabelledImageDataset):
    """ImageNet-1K in class folders 0 to 999, which are indices of its sorted wnids, as ImageNet-V2 is distributed.

    Args:
        classes: name -> path of the class folders.
        limit: which images are used, see `base.Limit`.
        upright: apply EXIF orientations.
    """

    def __init__(self, classes: Mapping[str, Path], *, limit: Limit = None, upright: bool = False) -> None:
        notes = DataNotes()
        notes.assume(
            "class folders 0 to 999 are taken as indices of ImageNet-1K's sorted wnids, as ImageNet-V2 has them"
        )
        images = _gather({path: int(name) for name, path in classes.items()}, notes)
        super().__init__(images, tuple(imagenet_classes().values()), limit=limit, upright=upright, notes=notes)


class ImageFolderDataset(LabelledImageDataset):
    """Any folder of class folders, whose names are the categories, in the order of `ordered_classes`.

    Args:
        data: DIR with DIR/SUBSET/CLASS/ or DIR/CLASS/.
        subset: name of the folder with the class folders.
        classes: file that lists the class folders in the order of the labels.
        limit: which images are used, see `base.Limit`.
        upright: apply EXIF orientations.

    Raises:
        UsageError: no folder given. InputError: no class folders there; one without images or, if there is a list,
            that is not in it.
    """

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val",
        classes: str | Path | None = None,
        *,
        limit: Limit = None,
        upright: bool = False,
    ) -> None:
        root = data_folder(data, "class folders with images")
        folder = image_folder(root, subset)
        notes = _folder_notes(folder, root, subset)
        folders: dict[str, list[Path]] = defaultdict(list)
        for name, path in class_folders(folder).items():
            folders[class_name(name)].append(path)
        if not folders:
            raise InputError(f"no class folders in {folder}: images must lie in one folder per class")
        names, assumptions = ordered_classes(folders, None if classes is None else Path(classes).expanduser())
        for line in assumptions:
            notes.assume(line)
        for name, paths in folders.items():
            if len(paths) > 1:
                notes.assume(f"{len(paths)} class folders in {folder} are both {name!r}, and taken as one class")
            if classes is None and not any(holds_files(path) for path in paths):
                raise InputError(f"class folder {paths[0]} holds no images: remove it, or labels would shift unnoticed")
        images = _gather({path: i for i, name in enumerate(names) for path in folders.get(name, ())}, notes)
        for file in list_files(folder):
            notes.count("images", "left out: they are in no class folder", f"first {printable(file.name)}")
            notes.listed["images"] += 1
        super().__init__(images, names, limit=limit, upright=upright, notes=notes)


def find_labelled(
    data: str | Path | None,
    subset: str = "val",
    labels: str | Path | None = None,
    *,
    classes: str | Path | None = None,
    imagenet_indices: bool = False,
    exif: Exif = "auto",
    limit: Limit = None,
    strict: bool = False,
) -> SingleLabelDataset:
    """Returns ImageNet-1K if `data` looks like it, else a folder of class folders.

    It looks like ImageNet-1K if a class folder has one of its wnids, if no class folder holds images, or if a map is
    given.

    Args:
        data, subset, labels, limit, strict: as for `ImageNetDataset`.
        classes: as for `ImageFolderDataset`; not for ImageNet-1K.
        imagenet_indices: True to take class folders 0 to 999 as ImageNet-1K's.
        exif: "apply" to apply EXIF orientations, which are ignored else.
    """
    root = data_folder(data, "images with one label each")
    folders = class_folders(image_folder(root, subset))
    own = labels is None and (classes is not None or not set(folders) & set(imagenet_wnids()))
    if own and (classes is not None or any(holds_files(path) for path in folders.values())):
        numbers = sorted(int(name) for name in folders if name.isascii() and name.isdecimal())
        if imagenet_indices and classes is None and numbers == list(range(1000)) and len(folders) == 1000:
            return NumberedImageNetDataset(folders, limit=limit, upright=exif == "apply")
        return ImageFolderDataset(root, subset, classes, limit=limit, upright=exif == "apply")
    return ImageNetDataset(root, subset, labels, limit=limit, upright=exif == "apply", strict=strict)


def class_folders(folder: Path) -> dict[str, Path]:
    """name -> path of the folders in `folder`, sorted; hidden ones are left out."""
    return {path.name: path for path in list_folders(folder)}


def _folder_notes(folder: Path, root: Path, subset: str) -> DataNotes:
    """Notes that say where the images are read from, if it is a folder of another name than the subset's."""
    notes = DataNotes()
    if folder not in (root, root / subset, root / "ILSVRC" / "Data" / "CLS-LOC" / subset):
        notes.assume(f"images are read from {folder}")
    return notes


def _gather(folders: Mapping[Path, int], notes: DataNotes) -> dict[str, tuple[Path, int]]:
    """id -> file and class of all images of class folders; counts the images of formats that are not read.

    The id is the name of an official file, else CLASS/PATH, both without suffix; with it where files differ in their
    suffixes only.
    """
    found, others = [], 0
    for folder, label in folders.items():
        for file in list_files(folder, (*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES), recursive=True):
            if file.suffix.lower() in OTHER_IMAGE_SUFFIXES:
                others += 1
                reason = f"left out: {file.suffix.lower()} is not read, convert them"
                notes.count("images", reason, f"first {printable(str(file))}")
                continue
            path = file.relative_to(folder.parent)
            official = _OFFICIAL.fullmatch(file.stem) is not None
            image_id = file.stem if official else path.with_suffix("").as_posix()
            found.append((image_id, path, file, label, official))
    notes.listed["images"] = len(found) + others
    times = Counter(image_id for image_id, *_ in found)
    return _unique(
        [
            (printable(image_id if official or times[image_id] == 1 else path.as_posix()), file, label)
            for image_id, path, file, label, official in found
        ]
    )


def _unique(found: Sequence[tuple[str, Path, int]]) -> dict[str, tuple[Path, int]]:
    images: dict[str, tuple[Path, int]] = {}
    for image_id, file, label in found:
        if image_id in images:
            raise InputError(f"two images of one name: {images[image_id][0]} and {file}; keep one")
        images[image_id] = (file, label)
    return images
