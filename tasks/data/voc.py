"""Objects and labels of Pascal VOC 2007 to 2012, from a devkit's Annotations/*.xml (Everingham et al., IJCV 2010).

VOC gives the pixels at two corners of a box, counted from 1 and both part of the object. As everywhere here, boxes are
converted to (x, y, width, height) between pixel edges: x = xmin - 1, y = ymin - 1, width = xmax - xmin + 1, height =
ymax - ymin + 1. Fractions, which occur in 2011 and 2012, are kept.

Objects marked `difficult` become crowds, which count neither as found nor as missed, in COCO's metric (as in the usual
converters to COCO's format) and in VOC's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, box_rle
from ltrp_bench.tasks.data.base import DataNotes, Limit, Omission, limited
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.decoding import open_image, read_rgb, revision_tag
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import list_files, list_folders
from ltrp_bench.tasks.data.files.orientation import Exif, decide
from ltrp_bench.tasks.data.files.text import printable
from ltrp_bench.tasks.data.files.tree import FileTree
from ltrp_bench.tasks.data.folders import (
    VOC_HOW_TO_GET,
    AnnotatedImages,
    data_folder,
    find_devkit,
    find_lists,
    named_folder,
    synonyms,
)
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.voc_xml import VocReader

_OTHER_LAYOUTS = (
    ("images", "Annotations"),
    ("images", "Annotations/xmls"),
    ("data", "labels"),
    ("images", "labels"),
    (".", "."),
)


class VocDataset(ObjectDataset, MultiLabelDataset):
    """Images of a VOC devkit in the order of their names, with their boxes and labels.

    VOC has no masks of these objects: where one is needed, it is the filled box.

    Args:
        data: folder with JPEGImages/ and Annotations/, or one with VOC2012/ or VOC2007/ that has them, directly or
            below VOCdevkit/.
        subset: the images listed in ImageSets/Main/SUBSET.txt; without ImageSets/Main/ all annotated images are taken.
        limit: which images are used, see `base.Limit`.
        annotations, images: folders of the XML files and of the images, where they are not to be searched for.
        strict: True to refuse what must be left out or clipped.
        zero_based: True for corners of boxes that are edges of pixels counted from 0.
        exif: what to do about an EXIF orientation that the annotated size does not decide.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there;
            annotations or objects none of which can be used; with `strict`, an annotation that is not VOC's XML, a
            listed image without one, a box outside its image or an object of an unknown class. Later, by `pixels`: an
            image that is missing, corrupt or of another size.
    """

    domain = "photos"
    categories = tuple(VOC_NAMES)

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val",
        *,
        limit: Limit = None,
        annotations: str | Path | None = None,
        images: str | Path | None = None,
        strict: bool = False,
        zero_based: bool = False,
        exif: Exif = "auto",
    ) -> None:
        files = find_files(data, subset, annotations, images)
        self.devkit = files.devkit
        notes = DataNotes()
        listed = AnnotatedImages(
            annotations=files.annotations,
            suffixes=(".xml",),
            kind=("an annotation", "annotations"),
            lists=find_lists(self.devkit, "Main"),
            how_to_get=VOC_HOW_TO_GET,
            strict=strict,
            notes=notes,
        )
        names = sorted(listed.stems(subset))
        stems = limited(names, limit, printable)
        finder, by_name = FileFinder(files.images, by_stem=True), FileFinder(files.images)
        found = finder.match(stems)
        digest = hashlib.sha256()
        self._files: list[Path] = []
        self._images: list[ImageAnnotations] = []
        self._annotated = from_zero = 0
        renamed: list[str] = []
        for stem in stems:
            raw = _read(listed.path(stem))
            try:
                reader = VocReader(
                    listed.path(stem), raw, printable(stem), strict=strict, zero_based=zero_based, notes=notes
                )
            except InputError as error:
                if strict:
                    raise InputError(f"{error} (--strict)") from None
                notes.count("images", "left out: their annotations cannot be read", str(error))
                continue
            path = found[stem]
            if not path.is_file() and (named := by_name.find(reader.file_name or ".")) is not None:
                path = named
                renamed.append(f"{printable(stem)} is {printable(named.name)}")
            self._images.append(reader.read(partial(open_image, path, "image", _size_of)))
            self._annotated += reader.annotated
            from_zero += reader.from_zero
            size = path.stat().st_size if path.is_file() else -1
            digest.update(json.dumps([stem, size, hashlib.sha256(raw).hexdigest()]).encode())
            self._files.append(path)
        notes.listed.setdefault("images", len(stems))
        if renamed:
            notes.assume(f"{len(renamed)} images are those that their <filename> names: {renamed[0]}")
        if listed.lists is None:
            _count_bare(names, finder, self._files, notes)
        super().__init__([image.image_id for image in self._images])
        self.notes = notes
        digest.update(revision_tag(self._files) + b"boxes from 0" * zero_based)
        sizes = (partial(_size, image) for image in self._images)
        self._orientations = decide(zip(self._files, sizes, strict=True), exif)
        self.revision = self._orientations.revision(digest.hexdigest())
        if from_zero:
            notes.assume(
                f"boxes ({from_zero}) begin at pixel 0, but VOC counts from 1, and so all are read; "
                "--task-option zero_based=true reads corners as edges of pixels from 0"
            )
        layout = (files.assumption,) if files.assumption else ()
        self.assumptions = (*layout, *notes.assumptions, *finder.assumptions, *self._orientations.assumptions)
        if not self._images or (self._annotated and not any(image.objects for image in self._images)):
            noun, number = ("objects", self._annotated) if self._images else ("annotations", len(stems))
            first = next((one.first for one in self.omissions() if one.first), "")
            raise InputError(f"none of the {number} {noun} can be used: {first}")

    def omissions(self) -> list[Omission]:
        """What was changed and left out of the images in use."""
        totals = {"images": len(self), "objects": self._annotated}
        return self.notes.omissions(self.ids, totals)

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB in the orientation of the boxes, see `decide`."""
        path = self._files[index]
        upright = path in self._orientations.applied
        return read_rgb(path, _size(self._images[index]), size_from="its annotation says", upright=upright)

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        image = self._images[index]
        if not masks:
            return image
        filled = [replace(item, rle=box_rle(item.box, image.height, image.width)) for item in image.objects]
        return replace(image, objects=filled)

    def labels(self, index: int) -> frozenset[str]:
        """Classes with at least one object that is not difficult."""
        return frozenset(item.category for item in self._images[index].objects if not item.crowd)

    def ignored(self, index: int) -> frozenset[str]:
        """Classes with difficult objects only, which count neither as present nor as absent.

        The devkit's own lists mark them so (ImageSets/Main/CLASS_SUBSET.txt: 1, -1, and 0 for these), and its average
        precision of classification leaves them out.
        """
        return frozenset(item.category for item in self._images[index].objects) - self.labels(index)

    @property
    def objects(self) -> ObjectDataset:
        """The data set itself."""
        return self


def _size(image: ImageAnnotations) -> tuple[int, int]:
    return image.width, image.height


@dataclass(frozen=True)
class _Files:
    """Folders of a data set.

    Attributes:
        devkit: the folder that holds the others.
        images, annotations: folders of the images and of the XML files.
        assumption: a line about a layout other than VOC's own; empty for VOC's.
    """

    devkit: Path
    images: Path
    annotations: Path
    assumption: str = ""


def find_files(
    data: str | Path | None, subset: str, annotations: str | Path | None, images: str | Path | None
) -> _Files:
    """Folders of a devkit, or of a data set as Label Studio, FiftyOne, Roboflow and others write it.

    Raises:
        UsageError: no folder given, or two years in it. InputError: nothing found there.
    """
    if annotations is not None or images is not None:
        root = data_folder(data, "VOC's annotations")
        tree = FileTree(root)
        found = [
            tree.folder(usual) or root if given is None else named_folder(root, given, option)
            for given, usual, option in ((images, "JPEGImages", "images"), (annotations, "Annotations", "annotations"))
        ]
        return _Files(root, found[0], found[1])
    try:
        devkit = find_devkit(data, [("JPEGImages", "Annotations")])
        tree = FileTree(devkit)
        return _Files(devkit, tree.path("JPEGImages"), tree.path("Annotations"))
    except InputError as error:
        root = data_folder(data, "VOC's annotations")
        tree = FileTree(root)
        below = [root, *(path for name in (subset, *synonyms(subset)) if (path := tree.folder(name)) is not None)]
        for top in below:
            inside = FileTree(top)
            for names in _OTHER_LAYOUTS:
                pair = [inside.folder(name) for name in names]
                if pair[0] is not None and pair[1] is not None and list_files(pair[1], (".xml",)):
                    line = f"annotations are read from {pair[1]}, images from {pair[0]}"
                    return _Files(top, pair[0], pair[1], line)
        others = sorted(path.name for path in list_folders(root) if list_files(path, (".xml",)) and list_files(path))
        if others:
            raise InputError(
                f"no subset {subset!r} in {root}: there are {', '.join(others)}; choose by --task-option subset=NAME, "
                "or name folders with --task-option annotations=DIR and --task-option images=DIR"
            ) from None
        raise InputError(
            f"{error}; other folders are named by --task-option annotations=DIR and --task-option images=DIR"
        ) from None


def _count_bare(stems: Sequence[str], finder: FileFinder, used: Collection[Path], notes: DataNotes) -> None:
    """Count the images without annotation.

    Args:
        stems: names of all annotations.
        finder: finds the images.
        used: images in use, whose names may be others.
        notes: gets the count.
    """
    bare = finder.stems.keys() - set(stems)
    if bare:
        taken = {*finder.match(stems).values(), *used}
        bare = {stem for stem in bare if finder.stems[stem][0] not in taken}
    for stem in sorted(bare):
        notes.count("images", "left out: they have no annotation", f"first {printable(stem)}")
    if bare:
        notes.listed["images"] = len(finder.stems)


def _size_of(image: Image.Image) -> tuple[int, int]:
    return image.size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read annotation {path}: {error.strerror}") from None
