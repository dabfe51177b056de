"""Entries of a COCO file: images, categories and annotations, each checked and completed.

An entry that cannot be used is left out and counted in the notes; in strict mode it is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes
from ltrp_bench.tasks.data.coco_format.segmentation import Box, to_rle
from ltrp_bench.tasks.data.values import (
    Id,
    id_order,
    member,
    read_id,
    read_integer,
    read_name,
    shown,
)

_MOST_PIXELS: Final = 2**32
_NO_SUPERCATEGORY: Final = ("", "none", "null")


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """An entry of the list "images"; height and width are 0 where the file does not give them."""

    id: Id
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class CocoObject:
    """An entry of the list "annotations".

    Attributes:
        id: its id, for messages; None where the file gives none.
        image_id, category_id: entries of the other two lists.
        box: (x, y, width, height) in pixels.
        area: in square pixels; that of the mask where the file gives none, or the box's if there is no mask.
        crowd: True for a region of many objects ("iscrowd").
        segmentation: polygons or a run-length code; None where there is none.
    """

    id: Id | None
    image_id: Id
    category_id: Id
    box: Box
    area: float
    crowd: bool
    segmentation: Any

    def rle(self, height: int, width: int) -> dict[str, Any]:
        """The mask as one compressed run-length code; the filled box if there is no segmentation."""
        return to_rle(self.segmentation, self.box, height, width)

    def mask(self, height: int, width: int) -> np.ndarray:
        """[H, W] uint8 mask of zeros and ones."""
        return rle_tools.decode(self.rle(height, width))


@dataclass(kw_only=True)
class CocoReading:
    """State of reading one file.

    Attributes:
        path: the file, for messages.
        strict: True to raise InputError for the first entry that cannot be used as it is.
        notes: what was assumed, changed and left out.
        changed: names of the corrections that lead to other results than the file as it stands did in versions before
            0.2, which enter the revision.
        entries: image id -> number of its annotations in the file, used or not.
        as_corners: number of boxes that are the corners of their masks.
    """

    path: Path
    strict: bool
    notes: DataNotes
    changed: set[str] = field(default_factory=set)
    entries: Counter[str] = field(default_factory=Counter)
    as_corners: int = 0

    def fault(self, noun: str, reason: str, first: str, image: Id | None = None) -> None:
        """Count an entry that is left out or changed; InputError in strict mode."""
        if self.strict:
            raise InputError(f"{self.path}: {first} (--strict)")
        self.notes.count(noun, reason, first, image=None if image is None else str(image))

    def images(self, entries: Sequence[Any]) -> dict[Id, CocoImage]:
        """The images by id, in the order of the ids; InputError if there is none or two have one id."""
        images: dict[Id, CocoImage] = {}
        last = ""
        for place, entry in enumerate(entries):
            try:
                image = self._image(entry)
            except ValueError as error:
                last = f"image {described_id(entry, place)} {error}"
                self.fault("images", "left out: their entries cannot be used", last)
                continue
            other = images.setdefault(image.id, image)
            if other.file_name != image.file_name:
                raise InputError(
                    f"{self.path}: image id {image.id} occurs twice, for {other.file_name} and {image.file_name}"
                )
            if other is not image:
                self.fault("images", "listed twice", f"image id {image.id} occurs twice")
        if not images:
            raise InputError(f"{self.path} lists no images" + (f" that can be used: {last}" if last else ""))
        return {key: images[key] for key in sorted(images, key=id_order)}

    def count_shared_files(self, images: Iterable[CocoImage]) -> None:
        """Count the images that are the same file as another: they count as often as they are listed."""
        owners: dict[str, CocoImage] = {}
        for image in images:
            other = owners.setdefault(image.file_name, image)
            if other is not image:
                first = f"{image.file_name} has the ids {other.id} and {image.id}"
                self.notes.count(
                    "images", "listed under several ids, and counted each time", first, image=str(image.id)
                )

    def _image(self, entry: Any) -> CocoImage:
        image_id = read_member(entry, "id", read_id)
        name = entry.get("file_name")
        if name is None and isinstance(entry.get("coco_url"), str):
            # LVIS gives the address alone: .../val2017/000000000139.jpg.
            name = "/".join(PurePosixPath(unquote(urlsplit(entry["coco_url"]).path)).parts[-2:])
        if not isinstance(name, str) or not name.strip():
            given = name is not None and name != ""
            raise ValueError(f"has a file_name that is no text: {shown(name)}" if given else "has no file_name")
        sides = []
        for side in ("height", "width"):
            try:
                sides.append(max(0, read_integer(entry.get(side))))
            except ValueError:
                sides.append(0)
        if max(1, sides[0]) * max(1, sides[1]) >= _MOST_PIXELS:
            sides = [0, 0]  # no image is so large, and run-length codes cannot count so far
        return CocoImage(id=image_id, file_name=name, height=sides[0], width=sides[1])

    def categories(self, entries: Sequence[Any], used: frozenset[Id]) -> dict[Id, str]:
        """Name by id, in the order of the ids, without root categories.

        Args:
            entries: the list "categories".
            used: ids that annotations name.

        Raises:
            InputError: two categories in use have one name, or two names have one id.
        """
        found: dict[Id, str] = {}
        supers: dict[Id, str] = {}
        last = ""
        for place, entry in enumerate(entries):
            try:
                key, name = read_member(entry, "id", read_id), read_member(entry, "name", read_name)
            except ValueError as error:
                last = f"category {described_id(entry, place)} {error}"
                self.fault("categories", "left out: their entries cannot be used", last)
                continue
            if found.setdefault(key, name) != name:
                raise InputError(f"{self.path}: category id {key} occurs twice, for {found[key]!r} and {name!r}")
            supers[key] = str(entry.get("supercategory") or "").strip()
        for key in [key for key in found if key not in used and _is_root(key, found, supers)]:
            name = found.pop(key)
            self.changed.add("root category left out")
            self.notes.assume(
                f"category {name!r} (id {key}) of {self.path.name} is left out: no object is of it and it is the "
                "supercategory of others, as the root of Roboflow's exports"
            )
        for name in [name for name, number in Counter(found.values()).items() if number > 1]:
            keys = [key for key, other in found.items() if other == name]
            idle = [key for key in keys if key not in used]
            for key in idle if len(idle) < len(keys) else idle[1:]:
                del found[key]
                self.fault("categories", "left out: of the name of another", f"category {key} is also called {name!r}")
            if len(keys) - len(idle) > 1:
                raise InputError(
                    f"{self.path}: a category name occurs twice, {name!r} (ids {keys[0]} and {keys[1]}): rename one"
                )
        if not found:
            raise InputError(f"{self.path} lists no categories" + (f" that can be used: {last}" if last else ""))
        return {key: found[key] for key in sorted(found, key=id_order)}


def used_categories(entries: Sequence[Any]) -> frozenset[Id]:
    """Ids of the categories that annotations name."""
    used: set[Id] = set()
    for entry in entries:
        try:
            used.add(read_id(member(entry, "category_id")))
        except ValueError:
            continue
    return frozenset(used)


def _is_root(key: Id, names: Mapping[Id, str], supers: Mapping[Id, str]) -> bool:
    """True if the category is another's supercategory and has none itself."""
    own = supers[key]
    above = any(supers[other] == names[key] for other in names if other != key)
    return above and (own.lower() in _NO_SUPERCATEGORY or own == names[key])


def read_member(entry: Any, key: str, reader: Any) -> Any:
    """`entry[key]` by a reader of `values`; its ValueError names the key."""
    value = member(entry, key)
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"has a wrong {key}: it {error}") from None


def described_id(entry: Any, place: int) -> str:
    """The id of an entry for messages, or its place in the list, from 1."""
    own = entry.get("id") if isinstance(entry, Mapping) else None
    return f"number {place + 1}" if own is None else shown(own)
