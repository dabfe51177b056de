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
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation, box_rle
from ltrp_bench.tasks.data.base import DataNotes, Omission, check_limit
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.decoding import open_image, read_rgb, revision_tag
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import list_files
from ltrp_bench.tasks.data.files.orientation import Exif, decide
from ltrp_bench.tasks.data.files.text import printable
from ltrp_bench.tasks.data.folders import VOC_HOW_TO_GET, AnnotatedImages, data_folder, find_devkit, synonyms
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.values import read_flag, read_integer, read_number

_CLASSES = {name.casefold(): name for name in VOC_NAMES}
_OTHER_LAYOUTS = (
    ("images", "Annotations"),
    ("images", "annotations"),
    ("data", "labels"),
    ("images", "labels"),
    (".", "."),
)
_SLACK = 1.01  # pixels a box may reach beyond its image, as in COCO's files


class VocDataset(ObjectDataset, MultiLabelDataset):
    """Images of a VOC devkit in the order of their names, with their boxes and labels.

    VOC has no masks of these objects: where one is needed, it is the filled box.

    Args:
        data: folder with JPEGImages/ and Annotations/, or one with VOC2012/ or VOC2007/ that has them, directly or
            below VOCdevkit/.
        subset: the images listed in ImageSets/Main/SUBSET.txt; without ImageSets/Main/ all annotated images are taken.
        limit: maximum number of images; the first ones are used.
        strict: True to refuse an object that must be left out or clipped.
        exif: what to do about an EXIF orientation that the annotated size does not decide.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there; a
            listed image without an annotation; an annotation that is not VOC's XML; objects none of which can be used;
            with `strict`, a box outside its image or an object of an unknown class. Later, by `pixels`: an image that
            is missing, corrupt or of another size.
    """

    domain = "photos"
    categories = tuple(VOC_NAMES)

    def __init__(
        self,
        data: str | Path | None,
        subset: str = "val",
        *,
        limit: int | None = None,
        strict: bool = False,
        exif: Exif = "auto",
    ) -> None:
        files = _find_files(data, subset)
        self.devkit = files.devkit
        images = AnnotatedImages(
            annotations=files.annotations,
            suffix=".xml",
            kind=("an annotation", "annotations"),
            lists=self.devkit / "ImageSets" / "Main",
            how_to_get=VOC_HOW_TO_GET,
        )
        stems = sorted(images.stems(subset))[: check_limit(limit)]
        super().__init__([printable(stem) for stem in stems])
        finder = FileFinder(files.images, by_stem=True)
        found = finder.match(stems)
        self._files = [found[stem] for stem in stems]
        digest = hashlib.sha256()
        self._images: list[ImageAnnotations] = []
        self._annotated = 0
        for stem, path in zip(stems, self._files, strict=True):
            annotation = images.path(stem)
            raw = _read(annotation)
            reader = VocReader(annotation, printable(stem), strict=strict, notes=self.notes)
            self._images.append(reader.read(raw, partial(open_image, path, "image", _size_of)))
            self._annotated += reader.annotated
            size = path.stat().st_size if path.is_file() else -1
            digest.update(json.dumps([stem, size, hashlib.sha256(raw).hexdigest()]).encode())
        digest.update(revision_tag(self._files))
        sizes = (partial(_size, image) for image in self._images)
        self._orientations = decide(zip(self._files, sizes, strict=True), exif)
        self.revision = self._orientations.revision(digest.hexdigest())
        layout = (files.assumption,) if files.assumption else ()
        self.assumptions = (*layout, *finder.assumptions, *self._orientations.assumptions)
        if self._annotated and not any(image.objects for image in self._images):
            first = next(one.first for one in self.omissions() if one.noun == "objects")
            raise InputError(f"none of the {self._annotated} objects can be used: {first}")

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


def _find_files(data: str | Path | None, subset: str) -> _Files:
    """Folders of a devkit, or of a data set as Label Studio, FiftyOne or Roboflow write it."""
    try:
        devkit = find_devkit(data, ("JPEGImages", "Annotations"))
        return _Files(devkit, devkit / "JPEGImages", devkit / "Annotations")
    except InputError:
        root = data_folder(data, "VOC's annotations")
        below = [root, *(root / name for name in (subset, *synonyms(subset)))]
        for top in below:
            for pair in _OTHER_LAYOUTS:
                images, annotations = (top / name for name in pair)
                if images.is_dir() and annotations.is_dir() and list_files(annotations, (".xml",)):
                    line = f"annotations are read from {annotations}, images from {images}"
                    return _Files(top, images, annotations, line)
        raise


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a document type.

    Only a document type can declare entities, through which XML reads other files or grows in memory. VOC's files
    have none, so that with this check the parser of the standard library is safe.
    """

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no VOC annotation does")


class VocReader:
    """Reader of one annotation file; what it changes and leaves out is counted.

    Args:
        path: the file, for messages.
        image_id: id of the result.
        strict: True to raise InputError for an object that must be left out or clipped.
        notes: gets the counts.

    Attributes:
        annotated: number of objects in the file.
    """

    def __init__(self, path: Path, image_id: str, *, strict: bool, notes: DataNotes) -> None:
        self._path, self._image_id, self._strict, self._notes = path, image_id, strict, notes
        self.annotated = 0

    def read(self, raw: bytes, file_size: Callable[[], tuple[int, int]]) -> ImageAnnotations:
        """The objects of an image.

        Args:
            raw: bytes of the file.
            file_size: gives (width, height) of the image file, for annotations that do not.

        Raises:
            InputError: not VOC's XML, a size that is neither given nor to be found, or, in strict mode, a box outside
                the image or a class that is none of the twenty.
        """
        try:
            root = ET.fromstring(raw, ET.XMLParser(target=_NoDoctype()))
        except (ET.ParseError, ValueError, LookupError) as error:
            raise InputError(f"annotation {self._path} is not valid XML: {' '.join(str(error).split())}") from None
        width, height = self._size(root, file_size)
        objects = []
        self.annotated = len(root.findall("object"))
        for number, node in enumerate(root.findall("object"), start=1):
            what = f"object {number}"
            try:
                objects.append(self._object(node, what, width, height))
            except ValueError as error:
                self._fault("left out: their annotations cannot be used", f"{what} {error}")
        return ImageAnnotations(self._image_id, height, width, objects)

    def _size(self, root: ET.Element, file_size: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """(width, height); that of the image file where the annotation gives none, or 0 as labelImg does."""
        try:
            sides = [read_integer(_text(root, f"size/{side}")) for side in ("width", "height")]
        except ValueError:
            sides = [0, 0]
        if min(sides) >= 1:
            return sides[0], sides[1]
        self._notes.count("images", "without a size: that of the file is taken", f"first {self._image_id}")
        return file_size()

    def _object(self, node: ET.Element, what: str, width: int, height: int) -> ObjectAnnotation:
        written = _text(node, "name")
        category = _CLASSES.get(written.casefold())
        if category is None:
            raise ValueError(
                f"is of class {written!r}, which is none of VOC's {len(VOC_NAMES)} "
                f"({', '.join(list(VOC_NAMES)[:3])}, …)"
            )
        try:
            corners = [read_number(_text(node, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError as error:
            raise ValueError(f"({category}) has a bndbox with a corner that {error}") from None
        left, top, right, bottom = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
        described = (
            f"({category}) has the box xmin={corners[0]:g}, ymin={corners[1]:g}, xmax={corners[2]:g}, "
            f"ymax={corners[3]:g}, which is empty or outside its image of {width}x{height}"
        )
        if right <= left or bottom <= top or left >= width or top >= height or right <= 0 or bottom <= 0:
            raise ValueError(described)
        if min(left, top) < -_SLACK or right > width + _SLACK or bottom > height + _SLACK:
            self._fault("clipped to their images", f"{what} {described}")
            left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        try:
            difficult = read_flag(_text(node, "difficult"))
        except ValueError as error:
            raise ValueError(f"({category}) has a <difficult> that {error}") from None
        box = (left, top, right - left, bottom - top)
        return ObjectAnnotation(category, box, box[2] * box[3], crowd=difficult)

    def _fault(self, reason: str, described: str) -> None:
        line = f"annotation {self._path}: {described}"
        if self._strict:
            raise InputError(f"{line} (--strict)")
        self._notes.count("objects", reason, line)


def _size_of(image: Image.Image) -> tuple[int, int]:
    return image.size


def _text(node: ET.Element, tag: str) -> str:
    """Text of an element; empty if it is missing."""
    return (node.findtext(tag) or "").strip()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read annotation {path}: {error.strerror}") from None
