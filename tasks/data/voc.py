"""Pascal VOC's boxes: the objects of a devkit's Annotations/*.xml (Everingham et al., 2010), 2007 to 2012.

A VOC box names the pixels at its corners, counted from 1, both inside the object. Here as everywhere it is (x, y,
width, height) between the edges of pixels, as COCO's are: x = xmin - 1, y = ymin - 1, width = xmax - xmin + 1, height
= ymax - ymin + 1. Coordinates with a fraction (there are some in 2011 and 2012) are kept.

Objects marked `difficult` are crowds here: neither found nor missed, in COCO's metric (as the usual converters to
COCO's format have it) and in VOC's own.
"""

from __future__ import annotations

import hashlib
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.decoding import open_image, oriented
from ltrp_bench.tasks.data.folders import IMAGE_SUFFIXES, VOC_HOW_TO_GET, find_devkit
from ltrp_bench.tasks.data.objects import ObjectDataset, check_limit

_SLACK = 1.01  # pixels a box may reach beyond its image, as in COCO's files


class VocObjects(ObjectDataset):
    """The images and boxes of a VOC devkit, by their names.

    There are no masks of objects: where one is asked for, it is the box, filled.

    Args:
        data: with JPEGImages/ and Annotations/, itself or below VOC2012/, VOC2007/ or VOCdevkit/ with one of them.
        subset: the images that ImageSets/Main/SUBSET.txt lists; a devkit without ImageSets/Main/ is taken whole.
        limit: only the first so many images.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there; a
            listed image without an annotation; an annotation that is not VOC's XML, has a box outside its image or
            an object of an unknown class. Later, by `pixels`: an image that is missing, corrupt or of another size.
    """

    domain = "photos"
    categories = tuple(VOC_NAMES)

    def __init__(self, data: str | Path | None, subset: str = "val", limit: int | None = None) -> None:
        self.devkit = find_devkit(data, ("JPEGImages", "Annotations"))
        super().__init__(sorted(_listed(self.devkit, subset))[: check_limit(limit)])
        digest = hashlib.sha256()
        self._images: list[ImageAnnotations] = []
        for stem in self.ids:
            raw = _read(self.devkit / "Annotations" / f"{stem}.xml")
            self._images.append(parse_annotation(raw, stem, self.devkit / "Annotations" / f"{stem}.xml"))
            path = self._image(stem)
            size = path.stat().st_size if path.is_file() else -1
            digest.update(json.dumps([stem, size, hashlib.sha256(raw).hexdigest()]).encode())
        self.revision = digest.hexdigest()

    def _image(self, stem: str) -> Path:
        """Its file; JPEGImages/STEM.jpg, there or not, unless one with another suffix is."""
        tried = [self.devkit / "JPEGImages" / f"{stem}{suffix}" for suffix in IMAGE_SUFFIXES]
        return next((path for path in tried if path.is_file()), tried[0])

    def pixels(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8 RGB as the annotation sees it: EXIF is ignored unless the sizes only fit with it."""
        truth, path = self._images[index], self._image(self.ids[index])
        wanted = (truth.width, truth.height)
        decoded = open_image(path, "image", lambda image: np.asarray(oriented(image, wanted).convert("RGB")))
        if decoded.shape[1::-1] != wanted:
            raise InputError(
                f"image {path} has {decoded.shape[1]}x{decoded.shape[0]} pixels, its annotation says "
                f"{wanted[0]}x{wanted[1]}"
            )
        return decoded

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        image = self._images[index]
        if not masks:
            return image
        objects = [ObjectAnnotation(o.category, o.box, o.area, o.crowd, _filled(o.box, image)) for o in image.objects]
        return ImageAnnotations(image.image_id, image.height, image.width, objects)

    def labels(self, index: int) -> frozenset[str]:
        """The classes of which the image shows an object that is not difficult."""
        return frozenset(item.category for item in self._images[index].objects if not item.crowd)

    def ignored(self, index: int) -> frozenset[str]:
        """The classes of which it shows difficult objects only: neither present nor absent.

        So the devkit's own lists have it (ImageSets/Main/CLASS_SUBSET.txt: 1, -1, and 0 for these), and its average
        precision of classification leaves them out.
        """
        return frozenset(item.category for item in self._images[index].objects) - self.labels(index)

    @property
    def boxes(self) -> ObjectDataset:
        """Where the labelled objects are: known here."""
        return self


def _listed(devkit: Path, subset: str) -> list[str]:
    """Names of the images in a subset, or of all annotations where there are no lists."""
    lists = devkit / "ImageSets" / "Main"
    if not lists.is_dir():
        stems = [path.stem for path in (devkit / "Annotations").glob("*.xml")]
        if not stems:
            raise InputError(f"no annotations (*.xml) in {devkit / 'Annotations'}; {VOC_HOW_TO_GET}")
        return stems
    path = lists / f"{subset}.txt"
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    stems = [words[0] for words in lines if words]
    # The lists of single classes ("cat_val") hold every image of a subset, with a mark of 1, 0 or -1.
    if not path.is_file() or any(len(words) > 1 for words in lines):
        there = ", ".join(sorted(p.stem for p in lists.glob("*.txt") if p.stem.rpartition("_")[0] not in VOC_NAMES))
        raise UsageError(f"no list of images {path}: there are {there or 'none'}")
    if not stems or len(set(stems)) != len(stems):
        raise InputError(f"{path} lists {'no images' if not stems else 'an image twice'}")
    bare = [stem for stem in stems if not (devkit / "Annotations" / f"{stem}.xml").is_file()]
    if bare:
        raise InputError(f"{path} lists {len(bare)} images without an annotation, e.g. {bare[0]}; {VOC_HOW_TO_GET}")
    return stems


class _NoDoctype(ET.TreeBuilder):
    """Stops at a document type.

    Entities, the only way in which XML reaches for other files or swells in memory, can be declared nowhere else, so
    the standard library's parser is enough; VOC's files have none.
    """

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no VOC annotation does")


def parse_annotation(raw: bytes, image_id: str, path: Path) -> ImageAnnotations:
    """One annotation file; `path` is named in errors.

    Raises InputError for what is not VOC's XML, a box outside the image, and a class that is none of the twenty.
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
    return ObjectAnnotation(category, box, box[2] * box[3], bool(difficult))


def _number(node: ET.Element, tag: str, path: Path, what: str) -> float:
    """A finite number below `node`; InputError where it is missing or none."""
    text = (node.findtext(tag) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"annotation {path}: <{tag}> of {what} must be a number, got {text[:40]!r}")
    return value


def _filled(box: tuple[float, float, float, float], image: ImageAnnotations) -> dict[str, object]:
    """The run-length code of a box's pixels."""
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return rle_tools.merge(rle_tools.frPyObjects([polygon], image.height, image.width))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read annotation {path}: {error.strerror}") from None
