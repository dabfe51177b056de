"""Data sets with class masks on disk: where pictures and masks lie, and what a mask's values mean.

Layouts that are read:

* DIR/images/, DIR/masks/ and DIR/classes.txt ("id: name" a line), as converters of COCO's panoptic annotations write;
* COCO-Stuff 164k (Caesar et al., CVPR 2018): the pictures of SUBSET and the maps of `stuffthingmaps_trainval2017`,
  whose values are COCO-Stuff's ids less one, 255 = unlabelled;
* a VOC devkit (Everingham et al., 2010): JPEGImages/, SegmentationClass/, 1 to 20, 0 = background, 255 = void.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.splits.build_mask_splits import COCO_STUFF, PANOPTIC, VOC, VOC_NAMES

STUFF_HOW_TO_GET = (
    "get the 2017 pictures from https://cocodataset.org/#download and stuffthingmaps_trainval2017.zip from "
    "https://github.com/nightrome/cocostuff, or point --data at a folder with images/, masks/ and classes.txt"
)
VOC_HOW_TO_GET = "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it"
_UNLABELLED = ("unlabeled", "unlabelled", "void")
PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class MaskFolder:
    """Where a data set's files lie and what its masks' values mean.

    Attributes:
        pictures, masks: folders; files belong together by their names without suffix.
        stems: those names, sorted: the pictures' ids.
        names: pixel value -> class, in order of values.
        nobody: pixel values that are no class.
        listed_in: what a person would look a value up in.
        split: name of the split that ships for these classes.
    """

    pictures: Path
    masks: Path
    stems: tuple[str, ...]
    names: Mapping[int, str]
    nobody: frozenset[int]
    listed_in: str
    split: str


def find_stuff(data: str | Path | None, subset: str = "val2017") -> MaskFolder:
    """The folder of a data set with things and stuff, in either of its layouts; see the head of this file.

    Args:
        data: with images/, masks/ and classes.txt; or with the pictures in SUBSET/ or images/SUBSET/ and the maps in
            stuffthingmaps/SUBSET/, stuffthingmaps_trainval2017/SUBSET/ or annotations/SUBSET/.
        subset: "val2017" or "train2017"; only used with the second layout.

    Raises:
        UsageError: no folder given. InputError: nothing found there (what was looked for, and how to get it), a
            classes.txt that is no list of classes, or pictures without masks.
    """
    root = _root(data, "pictures with class masks")
    own = (root / "images", root / "masks", root / "classes.txt")
    if all(path.exists() for path in own):
        names, nobody = _read_classes(own[2])
        return _paired(MaskFolder(own[0], own[1], (), names, nobody, own[2].name, PANOPTIC.stem))
    pictures = [root / subset, root / "images" / subset]
    maps = [root / top / subset for top in ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")]
    found = [next((path for path in tried if path.is_dir()), None) for tried in (pictures, maps)]
    if found[0] is not None and found[1] is not None:
        shifted = {i - 1: name for i, name in _coco_stuff_names().items()}
        listed = "COCO-Stuff (its ids less one, 255 = unlabelled)"
        return _paired(MaskFolder(found[0], found[1], (), shifted, frozenset({255}), listed, COCO_STUFF.stem))
    raise InputError(
        f"no pictures with class masks in {root}: looked for {_absent(own)}; or {_either(pictures)}, with "
        f"{_either(maps)}; {STUFF_HOW_TO_GET}"
    )


def find_voc(data: str | Path | None, subset: str = "val") -> MaskFolder:
    """The folder of a VOC devkit with class masks.

    Args:
        data: with JPEGImages/ and SegmentationClass/, itself or below VOC2012/ or VOCdevkit/VOC2012/.
        subset: "train", "val" or "trainval": the pictures that ImageSets/Segmentation/SUBSET.txt lists. A folder
            without ImageSets/Segmentation/ is taken whole.

    Raises:
        UsageError: no folder given, or a subset without a list. InputError: nothing found there, or a listed picture
            without a mask.
    """
    root = _root(data, "a VOC devkit")
    tops = [root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"]
    needed = ("JPEGImages", "SegmentationClass")
    top = next((t for t in tops if all((t / name).is_dir() for name in needed)), None)
    if top is None:
        raise InputError(
            f"no VOC devkit in {root}: looked for {_absent(root / name for name in needed)}, there and in VOC2012/ "
            f"and VOCdevkit/VOC2012/; {VOC_HOW_TO_GET}"
        )
    masks = top / "SegmentationClass"
    stems = [path.stem for path in masks.glob("*.png")]
    lists = top / "ImageSets" / "Segmentation"
    if lists.is_dir():
        stems = _read_list(lists, subset)
        bare = [stem for stem in stems if not (masks / f"{stem}.png").is_file()]
        if bare:
            raise InputError(
                f"{lists / subset}.txt lists {len(bare)} pictures without a mask in {masks}, e.g. {bare[0]}"
            )
    if not stems:
        raise InputError(f"no masks (*.png) in {masks}; {VOC_HOW_TO_GET}")
    names = dict(enumerate(VOC_NAMES, start=1))
    return MaskFolder(
        top / "JPEGImages", masks, tuple(sorted(stems)), names, frozenset({0, 255}), "VOC (1 to 20)", VOC.stem
    )


def pictures_by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without suffix; InputError where two share one."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES:
            if path.stem in found:
                raise InputError(f"{folder} has two pictures of one name: {found[path.stem].name} and {path.name}")
            found[path.stem] = path
    return found


def _root(data: str | Path | None, what: str) -> Path:
    if data is None:
        raise UsageError(f"this task reads {what}: give the folder with --data DIR")
    root = Path(data).expanduser()
    if not root.is_dir():
        raise InputError(f"no folder {root}: --data must name a folder with {what}")
    return root


def _paired(folder: MaskFolder) -> MaskFolder:
    """With the names of all its masks; every picture must have one."""
    # OpenMMLab's converter writes its own maps beside COCO-Stuff's.
    masks = {path.stem for path in folder.masks.glob("*.png") if not path.stem.endswith("_labelTrainIds")}
    bare = sorted(set(pictures_by_stem(folder.pictures)) - masks)
    if bare:
        raise InputError(
            f"{len(bare)} pictures in {folder.pictures} have no mask, first {bare[0]}: looked for "
            f"{folder.masks / bare[0]}.png; add the masks or take the pictures away"
        )
    if not masks:
        raise InputError(f"no masks (*.png) in {folder.masks}; {STUFF_HOW_TO_GET}")
    return replace(folder, stems=tuple(sorted(masks)))


def _read_classes(path: Path) -> tuple[dict[int, str], frozenset[int]]:
    """Classes by pixel value, and the values that are no class: those named unlabeled, and 0 if it is not listed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    listed: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        value, colon, name = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon or not value.isdecimal() or not name:
            raise InputError(f"{path}, line {number}: must be 'id: name', got {line[:60]!r}")
        if int(value) in listed or (name in listed.values() and name not in _UNLABELLED):
            raise InputError(f"{path}, line {number}: id {value} or name {name!r} is there twice")
        listed[int(value)] = name
    names = {value: name for value, name in sorted(listed.items()) if name not in _UNLABELLED}
    if not names:
        raise InputError(f"{path} lists no classes: each line must be 'id: name'")
    return names, frozenset({0, *listed}) - set(names)


def _coco_stuff_names() -> dict[int, str]:
    """COCO-Stuff's 171 classes by id."""
    with COCO_STUFF.open(newline="", encoding="utf-8") as file:
        return {int(row["coco_id"]): row["category"] for row in csv.DictReader(file)}


def _read_list(lists: Path, subset: str) -> list[str]:
    path = lists / f"{subset}.txt"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
        raise UsageError(f"no subset {subset!r} in {lists}: there are {there}")
    return path.read_text(encoding="utf-8").split()


def _absent(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths if not path.exists())


def _either(paths: Iterable[Path]) -> str:
    return " or ".join(str(path) for path in paths)
