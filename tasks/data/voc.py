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
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.base import check_limit
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.coco_folder import box_rle
from ltrp_bench.tasks.data.decoding import read_rgb
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.folders import VOC_HOW_TO_GET, AnnotatedImages, find_devkit
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset
from ltrp_bench.tasks.data.objects import ObjectDataset

_SLACK = 1.01  # pixels a box may reach beyond its image, as in COCO's files


class VocDataset(ObjectDataset, MultiLabelDataset):
    """Images of a VOC devkit in the order of their names, with their boxes and labels.

    VOC has no masks of these objects: where one is needed, it is the filled box.

    Args:
        data: folder with JPEGImages/ and Annotations/, or one with VOC2012/ or VOC2007/ that has them, directly or
            below VOCdevkit/.
        subset: the images listed in ImageSets/Main/SUBSET.txt; without ImageSets/Main/ all annotated images are taken.
        limit: maximum number of images; the first ones are used.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there; a
            listed image without an annotation; an annotation that is not VOC's XML, has a box outside its image or
            an object of an unknown class. Later, by `pixels`: an image that is missing, corrupt or of another size.
    """

    domain = "photos"
    categories = tuple(VOC_NAMES)

    def __init__(self, data: str | Path | None, subset: str = "val", *, limit: int | None = None) -> None:
        self.devkit = find_devkit(data, ("JPEGImages", "Annotations"))
        images = AnnotatedImages(
            annotations=self.devkit / "Annotations",
            suffix=".xml",
            kind=("an annotation", "annotations"),
            lists=self.devkit / "ImageSets" / "Main",
            how_to_get=VOC_HOW_TO_GET,
        )
        super().__init__(sorted(images.stems(subset))[: check_limit(limit)])
        finder = FileFinder(self.devkit / "JPEGImages", by_stem=True)
        self._files = finder.match(self.ids)
        self.assumptions = finder.assumptions
        digest = hashlib.sha256()
        self._images: list[ImageAnnotations] = []
        for stem in self.ids:
            annotation = images.path(stem)
            raw = _read(annotation)
            self._images.append(parse_annotation(raw, stem, annotation))
            path = self._files[stem]
            size = path.stat().st_size if path.is_file() else -1
            digest.update(json.dumps([stem, size, hashlib.sha256(raw).hexdigest()]).encode())
        self.revision = digest.hexdigest()

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB in the orientation of the boxes: EXIF is applied only if the size fits no other way."""
        truth = self._images[index]
        path = self._files[self.ids[index]]
        return read_rgb(path, (truth.width, truth.height), size_from="its annotation says")

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


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a document type.

    Only a document type can declare entities, through which XML reads other files or grows in memory. VOC's files
    have none, so that with this check the parser of the standard library is safe.
    """

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no VOC annotation does")


def parse_annotation(raw: bytes, image_id: str, path: Path) -> ImageAnnotations:
    """Parses an annotation file.

    Args:
        raw: its bytes.
        image_id: id of the result.
        path: path of the file, for error messages.

    Raises:
        InputError: not VOC's XML, a box outside the image, or a class that is none of the twenty.
    """
    try:
        root = ET.fromstring(raw, ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise InputError(f"annotation {path} is not valid XML: {' '.join(str(error).split())}") from None
    width, height = (_number(root, f"size/{side}", path, "the image") for side in ("width", "height"))
    if not (width.is_integer() and height.is_integer() and min(width, height) >= 1):
        raise InputError(f"annotation {path} says its image has {width:g}x{height:g} pixels")
    objects = [
        _object(node, f"object {i}", int(width), int(height), path)
        for i, node in enumerate(root.findall("object"), start=1)
    ]
    return ImageAnnotations(image_id, int(height), int(width), objects)


def _object(node: ET.Element, what: str, width: int, height: int, path: Path) -> ObjectAnnotation:
    category = (node.findtext("name") or "").strip()
    if category not in VOC_NAMES:
        raise InputError(
            f"annotation {path}: {what} is of class {category!r}, which is none of VOC's {len(VOC_NAMES)} "
            f"({', '.join(list(VOC_NAMES)[:3])}, …)"
        )
    corners = [_number(node, f"bndbox/{name}", path, what) for name in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
    inside = min(left, top) >= -_SLACK and right <= width + _SLACK and bottom <= height + _SLACK
    if not inside or right <= left or bottom <= top:
        raise InputError(
            f"annotation {path}: {what} ({category}) has the box xmin={corners[0]:g}, ymin={corners[1]:g}, "
            f"xmax={corners[2]:g}, ymax={corners[3]:g}, which is empty or outside its image of {width}x{height}"
        )
    difficult = _number(node, "difficult", path, what) if node.find("difficult") is not None else 0
    box = (left, top, right - left, bottom - top)
    return ObjectAnnotation(category, box, box[2] * box[3], crowd=bool(difficult))


def _number(node: ET.Element, tag: str, path: Path, what: str) -> float:
    """The number in element `tag` of `node`; InputError if it is missing or not finite."""
    text = (node.findtext(tag) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"annotation {path}: <{tag}> of {what} must be a number, got {text[:40]!r}")
    return value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read annotation {path}: {error.strerror}") from None
