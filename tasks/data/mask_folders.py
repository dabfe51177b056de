"""Folders of data sets with class masks: where images and masks lie, and which class each mask value is.

Supported layouts:

* DIR/images/, DIR/masks/ and DIR/classes.txt (lines "id: name"), as converters of COCO's panoptic annotations write;
* COCO-Stuff 164k (Caesar et al., CVPR 2018): the images of SUBSET and the maps of `stuffthingmaps_trainval2017`,
  whose values are COCO-Stuff's ids minus one, 255 = unlabelled;
* a VOC devkit (Everingham et al., 2010): JPEGImages/, SegmentationClass/, 1 to 20, 0 = background, 255 = void;
* Pascal-Context's 59 categories beside a VOC devkit's images: SegmentationClassContext/, 1 to 59, 0 = background;
* ADE20K's 150: images/SUBSET/, annotations/SUBSET/, 1 to 150, 0 = other.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.files.finder import FileFinder
from ltrp_bench.tasks.data.files.listing import list_files, list_stems
from ltrp_bench.tasks.data.files.text import read_lines
from ltrp_bench.tasks.data.folders import (
    VOC_HOW_TO_GET,
    AnnotatedImages,
    absent,
    data_folder,
    either,
    find_devkit,
)
from ltrp_bench.tasks.data.mask_numbering import VOID, look_at_masks
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
# Names of the bundled splits of these classes.
PANOPTIC, COCO_STUFF = "imagenet1k_cocostuff", "imagenet1k_cocostuff171"
VOC, CONTEXT, ADE20K = "imagenet1k_voc20", "imagenet1k_context59", "imagenet1k_ade20k"
_ADE20K_ZEROS = 0.15  # share of pixels that ADE20K leaves without a class at most; some 5 % on average
_UNLABELLED = ("unlabeled", "unlabelled", "void")


@dataclass(frozen=True, kw_only=True)
class MaskFolder:
    """Locations of the files of a data set, and the meaning of its mask values.

    Attributes:
        images, masks: folders; an image and its mask share the file name without suffix.
        names: mask value -> class, in the order of the values.
        ignored_values: mask values that are no class.
        listed_in: name of the list of classes, for error messages.
        split: name of the bundled split of these classes.
        stems: sorted file names without suffix, which are the ids of the images.
        mask_paths: stem -> mask.
        assumptions: one line for each thing that the files do not say and that was assumed.
        unclear: True if the masks may just as well be numbered the other way than was assumed.
    """

    images: Path
    masks: Path
    names: Mapping[int, str]
    ignored_values: frozenset[int]
    listed_in: str
    split: str
    stems: tuple[str, ...] = ()
    mask_paths: Mapping[str, Path] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    unclear: bool = False


def find_stuff(data: str | Path | None, subset: str = "val2017") -> MaskFolder:
    """Finds a data set with things and stuff, in either of its layouts (see the top of this file).

    Args:
        data: folder with images/, masks/ and classes.txt; or one with the images in SUBSET/ or images/SUBSET/ and
            the maps in stuffthingmaps/SUBSET/, stuffthingmaps_trainval2017/SUBSET/ or annotations/SUBSET/.
        subset: "val2017" or "train2017"; only used in the second layout.

    Raises:
        UsageError: no folder given. InputError: nothing found there (what was looked for, and how to get it), a
            classes.txt that is no list of classes, or images without masks.
    """
    root = data_folder(data, "images with class masks")
    simple = (root / "images", root / "masks", root / "classes.txt")
    if all(path.exists() for path in simple):
        names, ignored = _read_classes(simple[2])
        return _with_all_masks(
            MaskFolder(
                images=simple[0],
                masks=simple[1],
                names=names,
                ignored_values=ignored,
                listed_in=simple[2].name,
                split=PANOPTIC,
            )
        )
    images = [root / subset, root / "images" / subset]
    maps = [root / top / subset for top in ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")]
    found = [next((path for path in tried if path.is_dir()), None) for tried in (images, maps)]
    if found[0] is not None and found[1] is not None:
        return _with_all_masks(
            MaskFolder(
                images=found[0],
                masks=found[1],
                names={i - 1: name for i, name in _coco_stuff_names().items()},
                ignored_values=frozenset({255}),
                listed_in="COCO-Stuff (its ids minus one, 255 = unlabelled)",
                split=COCO_STUFF,
            )
        )
    raise InputError(
        f"no images with class masks in {root}: looked for {absent(simple)}; or {either(images)}, with "
        f"{either(maps)}; {STUFF_HOW_TO_GET}"
    )


def find_voc(data: str | Path | None, subset: str = "val") -> MaskFolder:
    """Finds the class masks of a VOC devkit.

    Args:
        data: folder with JPEGImages/ and SegmentationClass/, or one with VOC2012/ or VOC2007/ that has them, directly
            or below VOCdevkit/.
        subset: "train", "val" or "trainval", the images listed in ImageSets/Segmentation/SUBSET.txt. Without
            ImageSets/Segmentation/ all images with a mask are taken.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there, or
            a listed image without a mask.
    """
    devkit = find_devkit(data, ("JPEGImages", "SegmentationClass"))
    folder = MaskFolder(
        images=devkit / "JPEGImages",
        masks=devkit / "SegmentationClass",
        names=dict(enumerate(VOC_NAMES, start=1)),
        ignored_values=frozenset({0, 255}),
        listed_in="VOC (1 to 20)",
        split=VOC,
    )
    return _with_subset(folder, devkit / "ImageSets" / "Segmentation", subset, VOC_HOW_TO_GET)


def find_context(data: str | Path | None, subset: str = "val", zero_based: bool | None = None) -> MaskFolder:
    """Finds Pascal-Context (Mottaghi et al., CVPR 2014) as OpenMMLab's converter writes it.

    The masks hold 59 categories, values 1 to 59 in alphabetical order. Background, value 0, is ignored, as in mmseg's
    `PascalContextDataset59`: it is no category that a label set could contain. For masks that are numbered from 0 see
    `mask_numbering`.

    Args:
        data: folder with JPEGImages/ and SegmentationClassContext/, or one with VOC2010/ or VOCdevkit/VOC2010/ that
            has them.
        subset: "train" or "val", the images listed in ImageSets/SegmentationContext/SUBSET.txt. Without
            ImageSets/SegmentationContext/ all images with a mask are taken.
        zero_based: True for masks numbered from 0, False for 1; None decides by the masks, see `mask_numbering`.

    Raises:
        UsageError: no folder given, or a subset without a list. InputError: nothing found there, or a listed image
            without a mask.
    """
    needed = ("JPEGImages", "SegmentationClassContext")
    devkit = find_devkit(data, needed, ("VOC2010",), CONTEXT_HOW_TO_GET)
    folder = MaskFolder(
        images=devkit / needed[0],
        masks=devkit / needed[1],
        names=dict(enumerate(load_split(CONTEXT).states, start=1)),
        ignored_values=frozenset({0, 255}),
        listed_in="Pascal-Context (1 to 59)",
        split=CONTEXT,
    )
    found = _with_subset(folder, devkit / "ImageSets" / "SegmentationContext", subset, CONTEXT_HOW_TO_GET)
    return _numbered(found, zero_based)


def find_ade20k(data: str | Path | None, subset: str = "validation", zero_based: bool | None = None) -> MaskFolder:
    """Finds ADE20K's scene parsing benchmark (Zhou et al., CVPR 2017).

    The masks hold 150 categories, values 1 to 150. Value 0, "other objects", is ignored.

    Args:
        data: folder with images/SUBSET/ and annotations/SUBSET/, directly or below ADEChallengeData2016/; or a
            selection of images, whose files lie in images/ and annotations/ directly.
        subset: "validation" or "training"; not used for a selection.
        zero_based: True for masks numbered from 0, False for 1; None decides by the masks, see `mask_numbering`.

    Raises:
        UsageError: no folder given. InputError: nothing found there, or images without masks.
    """
    root = data_folder(data, "ADE20K")
    tried = [(top / "images" / subset, top / "annotations" / subset) for top in (root, root / "ADEChallengeData2016")]
    if (root / "images").is_dir() and list_files(root / "images"):
        tried.append((root / "images", root / "annotations"))
    found = next((pair for pair in tried if all(path.is_dir() for path in pair)), None)
    if found is None:
        raise InputError(
            f"no ADE20K in {root}: looked for {absent(tried[0])}, there and in ADEChallengeData2016/; "
            f"{ADE20K_HOW_TO_GET}"
        )
    folder = MaskFolder(
        images=found[0],
        masks=found[1],
        names=dict(enumerate(load_split(ADE20K).states, start=1)),
        ignored_values=frozenset({0}),
        listed_in="ADE20K (1 to 150)",
        split=ADE20K,
    )
    return _numbered(_with_all_masks(folder, ADE20K_HOW_TO_GET), zero_based, most_zeros=_ADE20K_ZEROS)


def _numbered(folder: MaskFolder, zero_based: bool | None, most_zeros: float | None = None) -> MaskFolder:
    """A folder whose classes are numbered from 1, or the same with classes from 0, see `look_at_masks`."""
    last = max(folder.names)
    if zero_based is None:
        masks = [folder.mask_paths[stem] for stem in folder.stems]
        found = look_at_masks(masks, last, most_zeros=most_zeros)
        zero_based = found.from_zero
        folder = replace(folder, assumptions=(found.why,) if found.why else (), unclear=found.unclear)
    if not zero_based:
        return folder
    return replace(
        folder,
        names={value - 1: name for value, name in folder.names.items()},
        ignored_values=frozenset({VOID}),
        listed_in=f"{folder.listed_in.partition(' (')[0]} (0 to {last - 1}, as zero_based=true)",
    )


def _with_subset(folder: MaskFolder, lists: Path, subset: str, how_to_get: str) -> MaskFolder:
    """The folder with the images of a devkit's subset, see `AnnotatedImages.stems`."""
    images = AnnotatedImages(
        annotations=folder.masks, suffix=".png", kind=("a mask", "masks"), lists=lists, how_to_get=how_to_get
    )
    stems = sorted(images.stems(subset))
    return replace(folder, stems=tuple(stems), mask_paths={stem: images.path(stem) for stem in stems})


def _with_all_masks(folder: MaskFolder, how_to_get: str = STUFF_HOW_TO_GET) -> MaskFolder:
    """The folder with the images of all its masks; InputError if an image has no mask or there are no masks."""
    # OpenMMLab's converter writes its own maps beside COCO-Stuff's.
    masks = {
        stem: path for stem, path in list_stems(folder.masks, (".png",)).items() if not stem.endswith("_labelTrainIds")
    }
    images = list_stems(folder.images)
    bare = sorted(images.keys() - masks.keys())
    if bare:
        # Names that differ in case or Unicode form only.
        used = set(FileFinder(folder.images, by_stem=True).match(masks).values())
        bare = [stem for stem in bare if images[stem] not in used]
    if bare:
        raise InputError(
            f"{len(bare)} images in {folder.images} have no mask, first {bare[0]}: looked for "
            f"{folder.masks / bare[0]}.png; add the masks or remove the images"
        )
    if not masks:
        raise InputError(f"no masks (*.png) in {folder.masks}; {how_to_get}")
    return replace(folder, stems=tuple(sorted(masks)), mask_paths=masks)


def _read_classes(path: Path) -> tuple[dict[int, str], frozenset[int]]:
    """Classes by mask value, and ignored values: those named unlabelled, and 0 if it is not listed."""
    lines = read_lines(path)
    listed: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        value, colon, name = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon or not value.isdecimal() or not name:
            raise InputError(f"{path}, line {number}: must be 'id: name', got {line[:60]!r}")
        if int(value) in listed or (name in listed.values() and name not in _UNLABELLED):
            raise InputError(f"{path}, line {number}: id {value} or name {name!r} occurs twice")
        listed[int(value)] = name
    names = {value: name for value, name in sorted(listed.items()) if name not in _UNLABELLED}
    if not names:
        raise InputError(f"{path} lists no classes: each line must be 'id: name'")
    return names, frozenset({0, *listed}) - set(names)


def _coco_stuff_names() -> dict[int, str]:
    """id -> name of COCO-Stuff's 171 classes."""
    with (SPLITS / f"{COCO_STUFF}.csv").open(newline="", encoding="utf-8") as file:
        return {int(row["coco_id"]): row["category"] for row in csv.DictReader(file)}
