"""Reader of VOC's annotation files, as its devkits and other programs write them."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.annotations import ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.values import read_flag, read_integer, read_number

_SLACK: Final = 1.01  # pixels a box may reach beyond its image, as in COCO's files
_DECLARATION: Final = re.compile(rb"\s*<\?xml[^>]*?encoding=[\"']([\w.-]+)[\"'][^>]*\?>")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


_CLASSES: Final = {_plain(spelled): name for name, coco in VOC_NAMES.items() for spelled in (name, coco)}
"""Names of VOC's classes and those of the same classes in COCO, compared by their letters."""


class _NoDoctype(ET.TreeBuilder):
    """Tree builder that refuses a document type.

    Only a document type can declare entities, through which XML reads other files or grows in memory. VOC's files
    have none, so that with this check the parser of the standard library is safe.
    """

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no VOC annotation does")


def _parse(raw: bytes) -> ET.Element:
    """Root of a file; ValueError if it is no annotation, ParseError if it is no XML."""
    try:
        root = ET.fromstring(raw, ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, ValueError, LookupError):
        # Text before the declaration, or an encoding that expat does not know or that is not the declared one. The
        # names of classes are ASCII in all of them.
        text = _decoded(raw)
        if text is None:
            raise
        root = ET.fromstring(text, ET.XMLParser(target=_NoDoctype()))
    if "}" in root.tag:
        for node in root.iter():
            node.tag = node.tag.rpartition("}")[2]
    if root.tag.lower() != "annotation":
        raise ValueError(f"it begins with <{root.tag[:40]}>, not with <annotation>")
    return root


def _decoded(raw: bytes) -> str | None:
    """Text of a file without its declaration; None if that is the text which expat has read."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    declared = _DECLARATION.match(raw)
    body = raw[declared.end() :] if declared is not None else raw
    encoding = declared[1].decode() if declared is not None else "utf-8"
    try:
        text = body.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return body.decode("latin-1").strip()
    known = encoding.lower() in ("utf-8", "utf-16", "ascii", "us-ascii", "iso-8859-1")
    return None if known and not raw[:1].isspace() else text.strip()


class VocReader:
    """Reader of one annotation file; what it changes and leaves out is counted.

    Args:
        path: the file, for messages.
        raw: bytes of the file.
        image_id: id of the result.
        strict: True to raise InputError for an object that must be left out or clipped.
        zero_based: True for corners that are edges of pixels counted from 0.
        notes: gets the counts.

    Attributes:
        annotated: number of objects in the file.
        file_name: name of the image; empty if the file does not give it.
        from_zero: number of boxes with a corner at 0, which do not exist where pixels are counted from 1.

    Raises:
        InputError: not VOC's XML.
    """

    def __init__(
        self, path: Path, raw: bytes, image_id: str, *, strict: bool, zero_based: bool = False, notes: DataNotes
    ) -> None:
        self._path, self._image_id, self._strict, self._notes = path, image_id, strict, notes
        self._zero_based = zero_based
        try:
            self._root = _parse(raw)
        except (ET.ParseError, ValueError, LookupError) as error:
            problem = "is empty" if not raw.strip() else f"is not valid XML: {' '.join(str(error).split())}"
            raise InputError(f"annotation {path} {problem}") from None
        self._objects = self._root.findall("object")
        if not self._objects:  # below another element, or in another case
            self._objects = [node for node in self._root.iter() if node.tag.lower() == "object"]
        self.annotated, self.from_zero = len(self._objects), 0
        self.file_name = _text(self._root, "filename")

    def read(self, file_size: Callable[[], tuple[int, int]]) -> ImageAnnotations:
        """The objects of an image; of size 0 and without objects if neither annotation nor file tell its size.

        Args:
            file_size: gives (width, height) of the image file, for annotations that do not.

        Raises:
            InputError: in strict mode, a box outside the image or a class that is none of the twenty.
        """
        width, height = self._size(file_size)
        objects: list[ObjectAnnotation] = []
        for number, node in enumerate(self._objects if width else (), start=1):
            what = f"object {number}"
            try:
                objects.append(self._object(node, what, width, height))
            except ValueError as error:
                self._fault("left out: their annotations cannot be used", f"{what} {error}")
        for item, times in Counter(objects).items() if len(set(objects)) < len(objects) else ():
            for _ in range(times - 1):
                described = f"annotation {self._path}: a {item.category}"
                self._notes.count("objects", "annotated twice, and counted twice", described, image=self._image_id)
        return ImageAnnotations(self._image_id, height, width, objects)

    def _size(self, file_size: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """(width, height); that of the image file where the annotation gives none, or 0 as labelImg does."""
        try:
            sides = [read_integer(_text(self._root, f"size/{side}")) for side in ("width", "height")]
        except ValueError:
            sides = [0, 0]
        if min(sides) >= 1:
            return sides[0], sides[1]
        try:
            size = file_size()
        except InputError:  # reported when the image is used
            return 0, 0
        described = f"first {self._image_id}"
        self._notes.count("images", "without a size: that of the file is taken", described, image=self._image_id)
        return size

    def _object(self, node: ET.Element, what: str, width: int, height: int) -> ObjectAnnotation:
        written = _text(node, "name")
        category = _CLASSES.get(_plain(written))
        if category is None:
            raise ValueError(
                f"is of class {written!r}, which is none of VOC's {len(VOC_NAMES)} "
                f"({', '.join(list(VOC_NAMES)[:3])}, …)"
                if written
                else "has no <name>"
            )
        if node.find("bndbox") is None:
            raise ValueError(f"({category}) has no <bndbox>")
        try:
            corners = [read_number(_text(node, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError as error:
            raise ValueError(f"({category}) has a bndbox with a corner that {error}") from None
        if max(corners) < 1:
            raise ValueError(f"({category}) has corners below 1, {corners}: shares of the image? VOC's are in pixels")
        first = 0 if self._zero_based else 1
        left, top, right, bottom = corners[0] - first, corners[1] - first, corners[2], corners[3]
        described = (
            f"({category}) has the box xmin={corners[0]:g}, ymin={corners[1]:g}, xmax={corners[2]:g}, "
            f"ymax={corners[3]:g}, which is empty or outside its image of {width}x{height}"
        )
        if right <= left or bottom <= top or left >= width or top >= height or right <= 0 or bottom <= 0:
            raise ValueError(described)
        self.from_zero += not self._zero_based and 0 in corners[:2]
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
        self._notes.count("objects", reason, line, image=self._image_id)


def _text(node: ET.Element, tag: str) -> str:
    """Text of an element; empty if it is missing."""
    return (node.findtext(tag) or "").strip()
