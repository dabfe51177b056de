"""Data sets with class masks on disk: where images and masks lie, and what a mask's values mean.

Layouts that are read:

* DIR/images/, DIR/masks/ and DIR/classes.txt ("id: name" a line), as converters of COCO's panoptic annotations write;
* COCO-Stuff 164k (Caesar et al., CVPR 2018): the images of SUBSET and the maps of `stuffthingmaps_trainval2017`,
  whose values are COCO-Stuff's ids less one, 255 = unlabelled;
* a VOC devkit (Everingham et al., 2010): JPEGImages/, SegmentationClass/, 1 to 20, 0 = background, 255 = void;
* Pascal-Context's 59 categories beside a VOC devkit's images: SegmentationClassContext/, 1 to 59, 0 = background;
* ADE20K's 150: images/SUBSET/, annotations/SUBSET/, 1 to 150, 0 = other.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.folders import (
    VOC_HOW_TO_GET,
    absent,
    data_folder,
    either,
    find_devkit,
    images_by_stem,
    read_list,
)
from ltrp_bench.tasks.splits.split import SPLITS, load_split

STUFF_HOW_TO_GET = (
    "get the 2017 images from https://cocodataset.org/#download and stuffthingmaps_trainval2017.zip from "
    "https://github.com/nightrome/cocostuff, or point --data at a folder with images/, masks/ and classes.txt"
)
CONTEXT_HOW_TO_GET = (
    "get VOC2010's images from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ and write the masks with mmseg's "
    "tools/dataset_converters/pascal_context.py"
)
ADE20K_HOW_TO_GET = "get ADEChallengeData2016.zip from http://sceneparsing.csail.mit.edu/ and unpack it"
# The splits that ship for these classes.
PANOPTIC, COCO_STUFF = "imagenet1k_cocostuff", "imagenet1k_cocostuff171"
VOC, CONTEXT, ADE20K = "imagenet1k_voc20", "imagenet1k_context59", "imagenet1k_ade20k"
_UNLABELLED = ("unlabeled", "unlabelled", "void")


@dataclass(frozen=True)
class MaskFolder:
    """Where a data set's files lie and what its masks' values mean.

    Attributes:
        images, masks: folders; files belong together by their names without suffix.
        stems: those names, sorted: the images' ids.
        names: pixel value -> class, in order of values.
        nobody: pixel values that are no class.
        listed_in: what a person would look a value up in.
        split: name of the split that ships for these classes.
    """

    images: Path
    masks: Path
    stems: tuple[str, ...]
    names: Mapping[int, str]
    nobody: frozenset[int]
    listed_in: str
    split: str


def find_stuff(data: str | Path | None, subset: str = "val2017") -> MaskFolder:
    """The folder of a data set with things and stuff, in either of its layouts; see the head of this file.

    Args:
        data: with images/, masks/ and classes.txt; or with the images in SUBSET/ or images/SUBSET/ and the maps in
            stuffthingmaps/SUBSET/, stuffthingmaps_trainval2017/SUBSET/ or annotations/SUBSET/.
        subset: "val2017" or "train2017"; only used with the second layout.

    Raises:
        UsageError: no folder given. InputError: nothing found there (what was looked for, and how to get it), a
            classes.txt that is no list of classes, or images without masks.
    """
    root = data_folder(data, "images with class masks")
    own = (root / "images", root / "masks", root / "classes.txt")
    if all(path.exists() for path in own):
        names, nobody = _read_classes(own[2])
        return _paired(MaskFolder(own[0], own[1], (), names, nobody, own[2].name, PANOPTIC))
    images = [root / subset, root / "images" / subset]
    maps = [root / top / subset for top in ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")]
    found = [next((path for path in tried if path.is_dir()), None) for tried in (images, maps)]
    if found[0] is not None and found[1] is not None:
        shifted = {i - 1: name for i, name in _coco_stuff_names().items()}
        listed = "COCO-Stuff (its ids less one, 255 = unlabelled)"
        return _paired(MaskFolder(found[0], found[1], (), shifted, frozenset({255}), listed, COCO_STUFF))
    raise InputError(
        f"no images with class masks in {root}: looked for {absent(own)}; or {either(images)}, with "
        f"{either(maps)}; {STUFF_HOW_TO_GET}"
    )


def find_voc(data: str | Path | None, subset: str = "val") -> MaskFolder:
    """The folder of a VOC devkit with class masks.

    Args:
        data: with JPEGImages/ and SegmentationClass/, itself or below VOC2012/ or VOC2007/, or VOCdevkit/ with one of
            them.
        subset: "train", "val" or "trainval": the images that ImageSets/Segmentation/SUBSET.txt lists. A folder
            without ImageSets/Segmentation/ is taken whole.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there, or
            a listed image without a mask.
    """
    top = find_devkit(data, ("JPEGImages", "SegmentationClass"))
    names = dict(enumerate(VOC_NAMES, start=1))
    folder = MaskFolder(
        top / "JPEGImages", top / "SegmentationClass", (), names, frozenset({0, 255}), "VOC (1 to 20)", VOC
    )
    return _listed(folder, top / "ImageSets" / "Segmentation", subset, VOC_HOW_TO_GET)


def find_context(data: str | Path | None, subset: str = "val") -> MaskFolder:
    """The folder of Pascal-Context (Mottaghi et al., CVPR 2014) as OpenMMLab's converter writes it.

    The 59 categories, values 1 to 59 in alphabetical order. Background, 0 (what is annotated as none of them), is
    nobody's, as in mmseg's `PascalContextDataset59`: it is no category that a label set could contain. Masks that are
    numbered from 0, with 255 for background, cannot be told from these and must be converted.

    Args:
        data: with JPEGImages/ and SegmentationClassContext/, itself or below VOC2010/ or VOCdevkit/VOC2010/.
        subset: "train" or "val": the images that ImageSets/SegmentationContext/SUBSET.txt lists. A folder without
            ImageSets/SegmentationContext/ is taken whole.

    Raises:
        UsageError: no folder given, or a subset without a list. InputError: nothing found there, or a listed image
            without a mask.
    """
    needed = ("JPEGImages", "SegmentationClassContext")
    top = find_devkit(data, needed, ("VOC2010",), CONTEXT_HOW_TO_GET)
    names = dict(enumerate(load_split(CONTEXT).states, start=1))
    folder = MaskFolder(
        top / needed[0], top / needed[1], (), names, frozenset({0, 255}), "Pascal-Context (1 to 59)", CONTEXT
    )
    return _listed(folder, top / "ImageSets" / "SegmentationContext", subset, CONTEXT_HOW_TO_GET)


def find_ade20k(data: str | Path | None, subset: str = "validation") -> MaskFolder:
    """The folder of ADE20K's scene parsing benchmark (Zhou et al., CVPR 2017): 150 categories, values 1 to 150.

    Value 0, "other objects", is nobody's.

    Args:
        data: with images/SUBSET/ and annotations/SUBSET/, itself or below ADEChallengeData2016/; or a selection, with
            its files in images/ and annotations/ themselves.
        subset: "validation" or "training"; a selection is taken whole.

    Raises:
        UsageError: no folder given. InputError: nothing found there, or images without masks.
    """
    root = data_folder(data, "ADE20K")
    tried = [(top / "images" / subset, top / "annotations" / subset) for top in (root, root / "ADEChallengeData2016")]
    if any((root / "images").glob("*.jpg")):
        tried.append((root / "images", root / "annotations"))
    found = next((pair for pair in tried if all(path.is_dir() for path in pair)), None)
    if found is None:
        raise InputError(
            f"no ADE20K in {root}: looked for {absent(tried[0])}, there and in ADEChallengeData2016/; "
            f"{ADE20K_HOW_TO_GET}"
        )
    names = dict(enumerate(load_split(ADE20K).states, start=1))
    folder = MaskFolder(found[0], found[1], (), names, frozenset({0}), "ADE20K (1 to 150)", ADE20K)
    return _paired(folder, ADE20K_HOW_TO_GET)


def _listed(folder: MaskFolder, lists: Path, subset: str, how_to_get: str) -> MaskFolder:
    """With the images of a devkit's list, each of which must have a mask; without lists those of all masks."""
    stems = [path.stem for path in folder.masks.glob("*.png")]
    if lists.is_dir():
        stems = read_list(lists, subset)
        if not stems or len(set(stems)) != len(stems):
            raise InputError(f"{lists / subset}.txt lists {'an image twice' if stems else 'no images'}")
        bare = [stem for stem in stems if not (folder.masks / f"{stem}.png").is_file()]
        if bare:
            raise InputError(
                f"{lists / subset}.txt lists {len(bare)} images without a mask in {folder.masks}, e.g. {bare[0]}"
            )
    if not stems:
        raise InputError(f"no masks (*.png) in {folder.masks}; {how_to_get}")
    return replace(folder, stems=tuple(sorted(stems)))


def _paired(folder: MaskFolder, how_to_get: str = STUFF_HOW_TO_GET) -> MaskFolder:
    """With the names of all its masks; every image must have one."""
    # OpenMMLab's converter writes its own maps beside COCO-Stuff's.
    masks = {path.stem for path in folder.masks.glob("*.png") if not path.stem.endswith("_labelTrainIds")}
    bare = sorted(set(images_by_stem(folder.images)) - masks)
    if bare:
        raise InputError(
            f"{len(bare)} images in {folder.images} have no mask, first {bare[0]}: looked for "
            f"{folder.masks / bare[0]}.png; add the masks or take the images away"
        )
    if not masks:
        raise InputError(f"no masks (*.png) in {folder.masks}; {how_to_get}")
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
    with (SPLITS / f"{COCO_STUFF}.csv").open(newline="", encoding="utf-8") as file:
        return {int(row["coco_id"]): row["category"] for row in csv.DictReader(file)}
