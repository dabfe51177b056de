"""Reader of COCO's format: one JSON file of annotations, checked as a whole, and a folder of images."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.decoding import read_rgb
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import list_files

HOW_TO_GET = (
    "get 2017 Val images and annotations from https://cocodataset.org/#download and unzip both there, "
    "or point --data at a folder with images/ and one .json"
)
# Pixels that a box may reach beyond its image: COCO rounds to hundredths, and some of its boxes are off by one.
_SLACK = 1.01
# Pixels that an outline may reach beyond: some were drawn so by hand, and rasterising cuts them off.
_OUTLINE_SLACK = 10.0


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """An entry of the list "images"."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class CocoObject:
    """An entry of the list "annotations".

    Attributes:
        id: unique in the file.
        image_id, category_id: entries of the other two lists.
        box: (x, y, width, height) in pixels.
        area: in square pixels; the box's where the file gives none.
        crowd: True for a region of many objects ("iscrowd").
        segmentation: as in the file, polygons or a run-length code; None or empty where there is none.
    """

    id: int
    image_id: int
    category_id: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    segmentation: Any

    def rle(self, height: int, width: int) -> dict[str, Any]:
        """The mask as one compressed run-length code; the filled box if there is no segmentation."""
        if not self.segmentation:
            return box_rle(self.box, height, width)
        if isinstance(self.segmentation, list):
            return rle_tools.merge(rle_tools.frPyObjects(self.segmentation, height, width))
        if isinstance(self.segmentation["counts"], list):
            return rle_tools.frPyObjects(self.segmentation, height, width)
        return self.segmentation

    def mask(self, height: int, width: int) -> np.ndarray:
        """[H, W] uint8 mask of zeros and ones."""
        return rle_tools.decode(self.rle(height, width))


class CocoFolder:
    """Images and objects of a folder in COCO's format (Lin et al., ECCV 2014).

    Args:
        root: DIR/annotations/instances_SUBSET.json with DIR/SUBSET/, or DIR/images/ with one DIR/*.json.
        subset: name of the subset; only used in the first layout.

    Attributes:
        annotations: the JSON file.
        folder: the folder of the images.
        images: entries of the images, sorted by id.
        categories: id -> name, sorted by id.
        objects: image id -> its objects, crowds included, in the file's order.
        files: file_name -> path of the image, see `FileFinder`.
        assumptions: one line for each thing that the files do not say and that was assumed.

    Raises:
        InputError: nothing found there, a JSON file that is corrupt or not COCO's, or an annotation that contradicts
            the rest of the file; one line that names the annotation and the file.
    """

    def __init__(self, root: str | Path, subset: str = "val2017") -> None:
        self.root = Path(root).expanduser()
        self.annotations, self.folder = _locate(self.root, subset)
        raw = _read_bytes(self.annotations)
        content = _parse(raw, self.annotations)
        self.images = _images(content["images"], self.annotations)
        self.categories = _categories(content["categories"], self.annotations)
        self._by_id = {image.id: image for image in self.images}
        self.objects = _objects(content["annotations"], self._by_id, self.categories, self.annotations)
        self._digest = hashlib.sha256(raw).digest()
        finder = FileFinder(self.folder, self.root)
        self.files = finder.match(image.file_name for image in self.images)
        self.assumptions = finder.assumptions

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
        return hashlib.sha256(self._digest + json.dumps(used).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def image(self, image_id: int) -> CocoImage:
        """The entry with this id."""
        return self._by_id[image_id]

    def pixels(self, image: CocoImage) -> np.ndarray:
        """[H, W, 3] uint8 RGB in the annotations' orientation: EXIF is applied only if the size fits no other way.

        Raises InputError for a file that is missing, cannot be decoded or has another size than annotated.
        """
        return read_rgb(
            self.files[image.file_name],
            (image.width, image.height),
            size_from=f"{self.annotations.name} says",
            listed_by=f" ({self.annotations.name} lists it as id {image.id})",
        )


def box_rle(box: Sequence[float], height: int, width: int) -> dict[str, Any]:
    """The compressed run-length code of a filled box (x, y, width, height) on an image of height x width pixels."""
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return rle_tools.merge(rle_tools.frPyObjects([polygon], height, width))


def _locate(root: Path, subset: str) -> tuple[Path, Path]:
    """(JSON file, images folder) of either layout."""
    first = (root / "annotations" / f"instances_{subset}.json", root / subset)
    if first[0].is_file() and first[1].is_dir():
        return first
    found = list_files(root, (".json",)) if root.is_dir() else []
    if (root / "images").is_dir() and len(found) == 1:
        return found[0], root / "images"
    if (root / "images").is_dir() and len(found) > 1:
        raise InputError(
            f"{root} has images/ but {len(found)} .json files ({', '.join(p.name for p in found[:3])}): keep one"
        )
    tried = [(p, p.exists()) for p in (*first, root / "images", root / "*.json")]
    absent = ", ".join(str(p) for p, there in tried if not there and not (p.name == "*.json" and found))
    raise InputError(f"no COCO data set in {root}: looked for {absent}; {HOW_TO_GET}")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _file_size(path: Path) -> int:
    """Size in bytes; -1 if there is no such file."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return -1


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); download it again") from None
    except RecursionError:
        raise InputError(f"{path} is not a COCO instances file: its JSON is nested too deeply") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(f"{path} is not a COCO instances file: no list '{key}'")
    return content


def _images(entries: Sequence[Any], path: Path) -> list[CocoImage]:
    images: dict[int, CocoImage] = {}
    for entry in entries:
        try:
            image = CocoImage(
                id=int(entry["id"]),
                file_name=str(entry["file_name"]),
                height=int(entry["height"]),
                width=int(entry["width"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(f"{path}: an image lacks id, file_name, height or width: {entry!r:.80}") from None
        if not isinstance(entry["file_name"], str) or not image.file_name.strip():
            raise InputError(f"{path}: image {image.id} has no file_name")
        if image.width <= 0 or image.height <= 0:
            raise InputError(
                f"{path}: image {image.id} has the size {image.width}x{image.height}, must be at least 1x1"
            )
        if image.id in images:
            raise InputError(f"{path}: image id {image.id} occurs twice")
        images[image.id] = image
    if not images:
        raise InputError(f"{path} lists no images")
    return [images[key] for key in sorted(images)]


def _categories(entries: Sequence[Any], path: Path) -> dict[int, str]:
    try:
        categories = {int(entry["id"]): str(entry["name"]) for entry in entries}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: a category lacks id or name") from None
    if len(set(categories.values())) != len(entries):
        raise InputError(f"{path}: a category id or name occurs twice")
    return dict(sorted(categories.items()))


def _objects(
    entries: Sequence[Any], images: Mapping[int, CocoImage], categories: Mapping[int, str], path: Path
) -> dict[int, list[CocoObject]]:
    objects: dict[int, list[CocoObject]] = defaultdict(list)
    seen: set[int] = set()
    for entry in entries:
        try:
            x, y, w, h = (float(v) for v in entry["bbox"])
            item = CocoObject(
                id=int(entry["id"]),
                image_id=int(entry["image_id"]),
                category_id=int(entry["category_id"]),
                box=(x, y, w, h),
                area=float(entry.get("area", w * h)),
                crowd=bool(entry.get("iscrowd", 0)),
                segmentation=entry.get("segmentation"),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            raise InputError(
                f"{path}: an annotation lacks id, image_id, category_id or bbox [x, y, w, h]: {entry!r:.80}"
            ) from None
        if item.id in seen:
            raise InputError(f"{path}: annotation id {item.id} occurs twice")
        seen.add(item.id)
        problem = _problem(item, images, categories)
        if problem:
            raise InputError(f"{path}: annotation {item.id} {problem}")
        objects[item.image_id].append(item)
    return dict(objects)


def _problem(item: CocoObject, images: Mapping[int, CocoImage], categories: Mapping[int, str]) -> str | None:
    """Describes a contradiction within the file; None if there is none."""
    image = images.get(item.image_id)
    if image is None:
        return f"names image {item.image_id}, which is not among the images"
    if item.category_id not in categories:
        return f"names category {item.category_id}, which is not among the categories"
    x, y, w, h = item.box
    finite = all(math.isfinite(v) for v in (*item.box, item.area))
    inside = x >= -_SLACK and y >= -_SLACK and x + w <= image.width + _SLACK and y + h <= image.height + _SLACK
    if not finite or w < 0 or h < 0 or not inside:
        return (
            f"has the box [x={x:g}, y={y:g}, w={w:g}, h={h:g}] outside its image {image.file_name} "
            f"({image.width}x{image.height})"
        )
    return _mask_problem(item.segmentation, image)


def _mask_problem(segmentation: Any, image: CocoImage) -> str | None:
    if not segmentation:
        return None
    where = f"of image {image.file_name}"
    if isinstance(segmentation, list):
        problems = (_polygon_problem(polygon, image) for polygon in segmentation)
        return next((f"{where} has {problem}" for problem in problems if problem), None)
    if not isinstance(segmentation, dict) or "counts" not in segmentation or "size" not in segmentation:
        return f"{where} has a segmentation that is neither polygons nor a run-length code"
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list) or not all(type(v) is int for v in size):
        return f"{where} has a run-length code whose size is not [height, width]: {size!r:.40}"
    if size != [image.height, image.width]:
        return f"has a mask of {size} (height, width), its image {image.file_name} is {[image.height, image.width]}"
    runs = _decode_counts(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(v) is int and v >= 0 for v in runs):
        return f"{where} has a run-length code whose counts cannot be decoded: {counts!r:.40}"
    if sum(runs) != image.height * image.width:
        return f"has a mask of {sum(runs)} pixels, its image {image.file_name} has {image.height * image.width}"
    return None


def _polygon_problem(polygon: Any, image: CocoImage) -> str | None:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return "a polygon that is not a list of at least three x, y pairs"
    if not all(type(v) in (int, float) and abs(v) < 1e300 for v in polygon):
        return "a polygon with a coordinate that is not a finite number"
    xs, ys = polygon[::2], polygon[1::2]
    slack = _OUTLINE_SLACK
    if min(*xs, *ys) < -slack or max(xs) > image.width + slack or max(ys) > image.height + slack:
        return (
            f"a polygon from ({min(xs):.6g}, {min(ys):.6g}) to ({max(xs):.6g}, {max(ys):.6g}), outside its "
            f"{image.width}x{image.height} pixels"
        )
    return None


def _decode_counts(text: str) -> list[int] | None:
    """Runs of a compressed code; None if it is broken, which makes pycocotools read past its end."""
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or digits == 6:  # six digits are 30 bits
            return None
        value |= (code & 31) << 5 * digits
        digits += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << 5 * digits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = digits = 0
    return None if digits else runs
