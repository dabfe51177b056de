"""Where data sets with class masks keep images and masks, and which class each mask value is.

| data | images | masks | values |
|---|---|---|---|
| converters of COCO's panoptic annotations | images/ | masks/ | classes.txt (lines "id: name") |
| COCO-Stuff 164k (Caesar et al., CVPR 2018) | SUBSET/ | stuffthingmaps_trainval2017/SUBSET/ | ids minus one, 255 none |
| VOC devkit (Everingham et al., 2010) | JPEGImages/ | SegmentationClass/ | 1 to 20, 0 background, 255 void |
| Pascal-Context's 59 | JPEGImages/ | SegmentationClassContext/ | 1 to 59, 0 background |
| ADE20K's 150 | images/SUBSET/ | annotations/SUBSET/ | 1 to 150, 0 other |

Folders are found in any case, and in the layouts of mmseg (img_dir/, ann_dir/) and others; options name any other.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.class_masks.class_file import read_classes
from ltrp_bench.tasks.data.class_masks.colors import LABEL_MAP, read_label_map, voc_colors
from ltrp_bench.tasks.data.class_masks.folders import (
    USUAL,
    MaskFolder,
    MaskOptions,
    numbered,
    with_all_masks,
    with_subset,
)
from ltrp_bench.tasks.data.class_masks.numbering import VOID
from ltrp_bench.tasks.data.decoding import is_colored
from ltrp_bench.tasks.data.files.listing import list_files
from ltrp_bench.tasks.data.files.tree import FileTree
from ltrp_bench.tasks.data.folders import (
    VOC_HOW_TO_GET,
    absent,
    data_folder,
    either,
    find_devkit,
    find_lists,
    synonyms,
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
# Names of the bundled splits of these classes.
PANOPTIC, COCO_STUFF = "imagenet1k_cocostuff", "imagenet1k_cocostuff171"
VOC, CONTEXT, ADE20K = "imagenet1k_voc20", "imagenet1k_context59", "imagenet1k_ade20k"
_OTHER_PAIRS = (("images", "masks"), ("images", "labels"), ("img_dir", "ann_dir"), ("imgs", "masks"))
_ADE20K_ZEROS = 0.15  # share of pixels that ADE20K leaves without a class at most; some 5 % on average


def find_stuff(data: str | Path | None, subset: str = "val2017", options: MaskOptions = USUAL) -> MaskFolder:
    """Finds a data set with things and stuff, in either of its layouts (see the top of this file).

    Args:
        data: folder with images/, masks/ and classes.txt; or one with the images in SUBSET/ or images/SUBSET/ and
            the maps in stuffthingmaps/SUBSET/, stuffthingmaps_trainval2017/SUBSET/ or annotations/SUBSET/.
        subset: "val2017" or "train2017"; only used in the second layout.
        options: folders that the user names, and more.

    Raises:
        UsageError: no folder given. InputError: nothing found there (what was looked for, and how to get it), a
            classes.txt that is no list of classes, or images none of which has a mask.
    """
    root = data_folder(data, "images with class masks")
    classes = FileTree(root).find("classes.txt")
    simple = None if classes is None else options.folders(root, [("images", "masks")])
    if classes is not None and simple is not None:
        names, ignored = read_classes(classes)
        folder = MaskFolder(
            images=simple[0],
            masks=simple[1],
            names=names,
            ignored_values=ignored,
            listed_in=classes.name,
            split=PANOPTIC,
        )
        return with_all_masks(folder, options, STUFF_HOW_TO_GET)
    images = [subset, f"images/{subset}"]
    maps = [f"{top}/{subset}" for top in ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")]
    found = options.folders(root, [(image, map_) for image in images for map_ in maps])
    if found is None:
        raise InputError(
            f"no images with class masks in {root}: looked for "
            f"{absent(root / name for name in ('images', 'masks', 'classes.txt'))}; or "
            f"{either(root / name for name in images)}, with {either(root / name for name in maps)}; {STUFF_HOW_TO_GET}"
        )
    folder = MaskFolder(
        images=found[0],
        masks=found[1],
        names={i - 1: name for i, name in _coco_stuff_names().items()},
        ignored_values=frozenset({255}),
        listed_in="COCO-Stuff (its ids minus one, 255 = unlabelled)",
        split=COCO_STUFF,
    )
    return with_all_masks(folder, options, STUFF_HOW_TO_GET)


def find_voc(data: str | Path | None, subset: str = "val", options: MaskOptions = USUAL) -> MaskFolder:
    """Finds the class masks of a VOC devkit, class numbers or VOC's colors.

    Args:
        data: folder with JPEGImages/ and SegmentationClass/, or one with VOC2012/ or VOC2007/ that has them, directly
            or below VOCdevkit/. SegmentationClassAug/, ...Raw/ and ...PNG/ are taken where there is no other.
        subset: "train", "val" or "trainval", the images listed in ImageSets/Segmentation/SUBSET.txt. Without
            ImageSets/Segmentation/ all images with a mask are taken.
        options: folders that the user names, and more.

    Raises:
        UsageError: no folder given, two years in it, or a subset without a list. InputError: nothing found there, or
            no listed image has a mask.
    """
    names = dict(enumerate(VOC_NAMES, start=1))
    pairs = [("JPEGImages", f"SegmentationClass{kind}") for kind in ("", "Aug", "Raw", "PNG")]
    devkit, images, masks = _devkit(data, options, pairs, ("VOC2012", "VOC2007"), VOC_HOW_TO_GET)
    colors = voc_colors(len(names) + 1)
    label_map = FileTree(devkit).find(LABEL_MAP)
    if label_map is not None:
        values = {"background": 0, "void": VOID, "ignored": VOID, **{name: value for value, name in names.items()}}
        colors = read_label_map(label_map, values)
    folder = MaskFolder(
        images=images,
        masks=masks,
        names=names,
        ignored_values=frozenset({0, VOID}),
        listed_in="VOC (1 to 20)",
        split=VOC,
        colors=colors,
    )
    if options.masks is None and masks.name.lower() != pairs[0][1].lower():
        folder.notes.assume(f"masks are read from {masks}")
    found = with_subset(folder, options, find_lists(devkit, "Segmentation"), subset, VOC_HOW_TO_GET)
    first = found.mask_paths[found.stems[0]]
    if is_colored(first):
        source = "VOC's colors" if label_map is None else str(label_map)
        found.notes.assume(f"masks are colored, first {first}: their classes are those of {source}")
    return found


def find_context(
    data: str | Path | None, subset: str = "val", zero_based: bool | None = None, options: MaskOptions = USUAL
) -> MaskFolder:
    """Finds Pascal-Context (Mottaghi et al., CVPR 2014) as OpenMMLab's converter writes it.

    The masks hold 59 categories, values 1 to 59 in alphabetical order. Background, value 0, is ignored, as in mmseg's
    `PascalContextDataset59`: it is no category that a label set could contain. For masks that are numbered from 0 see
    `numbering`.

    Args:
        data: folder with JPEGImages/ and SegmentationClassContext/, or one with VOC2010/ or VOCdevkit/VOC2010/ that
            has them.
        subset: "train" or "val", the images listed in ImageSets/SegmentationContext/SUBSET.txt. Without
            ImageSets/SegmentationContext/ all images with a mask are taken.
        zero_based: True for masks numbered from 0, False for 1; None decides by the masks, see `numbering`.
        options: folders that the user names, and more.

    Raises:
        UsageError: no folder given, or a subset without a list. InputError: nothing found there, or no listed image
            has a mask.
    """
    devkit, images, masks = _devkit(
        data, options, [("JPEGImages", "SegmentationClassContext")], ("VOC2010",), CONTEXT_HOW_TO_GET
    )
    folder = MaskFolder(
        images=images,
        masks=masks,
        names=dict(enumerate(load_split(CONTEXT).states, start=1)),
        ignored_values=frozenset({0, 255}),
        listed_in="Pascal-Context (1 to 59)",
        split=CONTEXT,
    )
    lists = find_lists(devkit, "SegmentationContext")
    return numbered(with_subset(folder, options, lists, subset, CONTEXT_HOW_TO_GET), zero_based)


def find_ade20k(
    data: str | Path | None,
    subset: str = "validation",
    zero_based: bool | None = None,
    options: MaskOptions = USUAL,
) -> MaskFolder:
    """Finds ADE20K's scene parsing benchmark (Zhou et al., CVPR 2017).

    The masks hold 150 categories, values 1 to 150. Value 0, "other objects", is ignored.

    Args:
        data: folder with images/SUBSET/ and annotations/SUBSET/, directly or below ADEChallengeData2016/; or a
            selection of images, whose files lie in images/ and annotations/ directly.
        subset: "validation" or "training"; not used for a selection.
        zero_based: True for masks numbered from 0, False for 1; None decides by the masks, see `numbering`.
        options: folders that the user names, and more.

    Raises:
        UsageError: no folder given. InputError: nothing found there, or images none of which has a mask.
    """
    root = data_folder(data, "ADE20K")
    own = [(f"{top}images/{subset}", f"{top}annotations/{subset}") for top in ("", "ADEChallengeData2016/")]
    pairs = [
        (f"{images}/{name}", f"{masks}/{name}")
        for images, masks in (("images", "annotations"), *_OTHER_PAIRS)
        for name in (subset, *synonyms(subset))
    ]
    tree = FileTree(root)
    flat = [pair for pair in (("images", "annotations"), *_OTHER_PAIRS) if _holds_images(tree.folder(pair[0]))]
    found = options.folders(root, [*own, *flat[:1], *pairs, *flat])
    if found is None:
        raise InputError(
            f"no ADE20K in {root}: looked for {absent(root / name for name in own[0])}, there and in "
            f"ADEChallengeData2016/; {ADE20K_HOW_TO_GET}; other folders are named by --task-option images=DIR and "
            "--task-option masks=DIR"
        )
    folder = MaskFolder(
        images=found[0],
        masks=found[1],
        names=dict(enumerate(load_split(ADE20K).states, start=1)),
        ignored_values=frozenset({0}),
        listed_in="ADE20K (1 to 150)",
        split=ADE20K,
    )
    usual = [*own, ("images", "annotations")]
    if found not in [(tree.root / image, tree.root / mask) for image, mask in usual]:
        folder.notes.assume(f"images are read from {found[0]}, masks from {found[1]}")
    return numbered(with_all_masks(folder, options, ADE20K_HOW_TO_GET), zero_based, most_zeros=_ADE20K_ZEROS)


def _devkit(
    data: str | Path | None,
    options: MaskOptions,
    pairs: Sequence[tuple[str, str]],
    years: Sequence[str],
    how_to_get: str,
) -> tuple[Path, Path, Path]:
    """Folder of a devkit, and those of its images and masks, the first of `pairs` that it has."""
    given = (options.images, options.masks)
    if None not in given:
        found = options.folders(devkit := data_folder(data, "a VOC devkit"), pairs)
    else:
        needed = [[name for name, one in zip(pair, given, strict=True) if one is None] for pair in pairs]
        devkit = find_devkit(data, needed, years, how_to_get)
        found = options.folders(devkit, pairs)
    assert found is not None
    return devkit, *found


def _holds_images(folder: Path | None) -> bool:
    return folder is not None and bool(list_files(folder))


def _coco_stuff_names() -> dict[int, str]:
    """id -> name of COCO-Stuff's 171 classes."""
    with (SPLITS / f"{COCO_STUFF}.csv").open(newline="", encoding="utf-8") as file:
        return {int(row["coco_id"]): row["category"] for row in csv.DictReader(file)}
