"""Data sets in COCO's format: one JSON file of annotations and a folder of images."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.base import DataNotes, Omission
from ltrp_bench.tasks.data.coco_format.entries import CocoImage, CocoReading, used_categories
from ltrp_bench.tasks.data.coco_format.layout import find_coco
from ltrp_bench.tasks.data.coco_format.objects import read_objects
from ltrp_bench.tasks.data.coco_format.other_formats import what_is_wrong
from ltrp_bench.tasks.data.decoding import open_image, read_rgb, revision_tag
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.values import Id

_LFS_POINTER = b"version https://git-lfs"
_GZIP = b"\x1f\x8b"


class CocoFolder:
    """Images and objects of a folder in COCO's format (Lin et al., ECCV 2014).

    Args:
        data: the folder, in one of the layouts of `layout`, or its JSON file (also .json.gz).
        subset: name of the subset, for layouts with several.
        annotations, images: the JSON file and the folder of the images, where they are not to be searched for.
        strict: True to refuse files with an annotation that must be left out or changed.

    Attributes:
        annotations: the JSON file.
        folder: the folder of the images.
        images: entries of the images, sorted by id.
        categories: id -> name, sorted by id.
        objects: image id -> its objects, crowds included, in the file's order.
        files: file_name -> path of the image, see `FileFinder`.
        notes: what was assumed, changed and left out.
        assumptions: one line for each thing that the files do not say and that was assumed.

    Raises:
        InputError: nothing found there, a JSON file that is corrupt or not COCO's, or one of which no entry of a list
            can be used; with `strict`, an annotation that contradicts the rest of the file. One line that names the
            annotation and the file.
    """

    def __init__(
        self,
        data: str | Path,
        subset: str = "val2017",
        *,
        annotations: str | Path | None = None,
        images: str | Path | None = None,
        strict: bool = False,
    ) -> None:
        layout = find_coco(data, subset, annotations, images)
        self.root, self.annotations = layout.root, layout.annotations
        raw = _read_bytes(self.annotations)
        content = _parse(raw, self.annotations)
        self.notes = DataNotes()
        reading = CocoReading(path=self.annotations, strict=strict, notes=self.notes)
        found = reading.images(content["images"])
        reading.count_shared_files(found.values())
        self.folder = layout.image_folder([image.file_name for image in found.values()])
        if layout.assumed:
            self.notes.assume(f"annotations are read from {self.annotations}, images from {self.folder}")
        finder = FileFinder(self.folder, self.root)
        self.files = finder.match(image.file_name for image in found.values())
        self._by_id = {key: self._sized(image) for key, image in found.items()}
        self.images = list(self._by_id.values())
        self.categories = reading.categories(content["categories"], used_categories(content["annotations"]))
        self.objects = read_objects(reading, content["annotations"], self._by_id, self.categories)
        self._entries = reading.entries
        self.notes.listed = {key: len(content[key]) for key in ("images", "annotations", "categories")}
        self.assumptions = (*finder.assumptions, *self.notes.assumptions)
        digest = hashlib.sha256(raw)
        if reading.changed:
            digest.update(json.dumps(sorted(reading.changed)).encode())
        self._digest = digest.digest()

    def _sized(self, image: CocoImage) -> CocoImage:
        """The entry with the size of its file, if the JSON file gives none; with size 0 if it cannot be read either."""
        if image.height > 0 and image.width > 0:
            return image
        try:
            width, height = open_image(self.files[image.file_name], "image", lambda opened: opened.size)
        except InputError:  # reported when the image is used
            return replace(image, height=0, width=0)
        self.notes.count("images", "without a size: that of the file is taken", image.file_name, image=str(image.id))
        return replace(image, height=height, width=width)

    def omissions(self, images: Sequence[CocoImage]) -> list[Omission]:
        """What was changed and left out of these images."""
        used = [str(image.id) for image in images]
        totals = {
            "objects": sum(self._entries[key] for key in used),
            "images": len(used),
        }
        return self.notes.omissions(used, totals)

    @property
    def revision(self) -> str:
        """`revision_of` all images."""
        return self.revision_of(self.images)

    def revision_of(self, images: Sequence[CocoImage]) -> str:
        """sha256 of the bytes of the JSON file and of the names and file sizes of `images`.

        Image files are not read: one that is replaced by another of the same size in bytes goes unnoticed. A missing
        file has the size -1.
        """
        used = sorted((image.file_name, _file_size(self.files[image.file_name])) for image in images)
        digest = hashlib.sha256(self._digest + json.dumps(used).encode())
        digest.update(revision_tag(self.files[image.file_name] for image in images))
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def image(self, image_id: Id) -> CocoImage:
        """The entry with this id."""
        return self._by_id[image_id]

    def pixels(self, image: CocoImage, *, upright: bool = False) -> np.ndarray:
        """[H, W, 3] uint8 RGB in the annotations' orientation: EXIF is applied only if the size fits no other way.

        With `upright`, it is also applied if the size fits both ways.

        Raises InputError for a file that is missing, cannot be decoded or has another size than annotated.
        """
        return read_rgb(
            self.files[image.file_name],
            (image.width, image.height),
            size_from=f"{self.annotations.name} says",
            listed_by=f" ({self.annotations.name} lists it as id {image.id})",
            upright=upright,
        )


def _read_bytes(path: Path) -> bytes:
    """The JSON text of a file, decompressed if its first bytes are gzip's."""
    try:
        raw = path.read_bytes()
        named = path.suffix.lower() == ".gz" and raw[:64].lstrip()[:1] not in (b"{", b"[")
        return gzip.decompress(raw) if named or raw.startswith(_GZIP) else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be decompressed ({error}); download it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _file_size(path: Path) -> int:
    """Size in bytes; -1 if there is no such file."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return -1


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    if raw.startswith(_LFS_POINTER):
        raise InputError(f"{path} is a pointer of git-lfs, not the file itself: get it with `git lfs pull`")
    if not raw.strip():
        raise InputError(f"{path} is empty; download it again")
    try:
        content = json.loads(raw)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path} is not UTF-8 (line {line}); save it as UTF-8") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); download it again") from None
    except RecursionError:
        raise InputError(f"{path} is not a COCO instances file: its JSON is nested too deeply") from None
    wrong = what_is_wrong(content)
    if wrong is not None:
        raise InputError(f"{path} is not a COCO instances file: {wrong}")
    found: dict[str, Any] = content
    return found
