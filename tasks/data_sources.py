"""Data sets and splits of the built-in tasks, opened by the options of their data; trainings use the same functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data import coco
from ltrp_bench.tasks.data.class_masks.folders import MaskFolder, MaskOptions
from ltrp_bench.tasks.data.class_masks.layouts import find_ade20k, find_context, find_stuff, find_voc
from ltrp_bench.tasks.data.coco_format.layout import find_coco
from ltrp_bench.tasks.data.folders import data_folder, image_folder
from ltrp_bench.tasks.data.imagenet import find_labelled
from ltrp_bench.tasks.data.nuswide import NusWideDataset, find_concepts
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.single_label import SingleLabelDataset
from ltrp_bench.tasks.data.voc import VocDataset, find_files
from ltrp_bench.tasks.options import (
    AnnotatedData,
    DataOptions,
    FolderData,
    ImageNetData,
    MaskData,
    NumberedData,
    ShapesData,
    TaskOptions,
    VocData,
)
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split

if TYPE_CHECKING:
    from ltrp_bench.tasks.task_spec import TaskSpec

Data = ShapesData | FolderData

MASK_FOLDERS: Final[dict[str, Callable[..., MaskFolder]]] = {
    "stuff": find_stuff,
    "voc": find_voc,
    "context": find_context,
    "ade20k": find_ade20k,
}
"""Data set -> function that finds its folder of class masks."""


def split_of(spec: TaskSpec, data: DataOptions, options: TaskOptions) -> CategorySplit:
    """The given split, or else the default split of the task."""
    if options.split is not None:
        return load_split(options.split)
    if isinstance(data, ShapesData):
        return shapes_split(data.fold)
    if spec.split is None:
        raise UsageError(
            f"{spec.name} has no bundled split: give a CSV with columns category, state and reason with --split FILE"
        )
    return load_split(spec.split)


def locate(dataset: str, data: DataOptions) -> None:
    """Look for a data set by the names of its files, without reading annotations or images.

    Args:
        dataset: key of the data set, see `TaskSpec`.
        data: its options.

    Raises:
        UsageError, InputError: as of the functions that open it: no folder given, nothing found there.
    """
    if isinstance(data, VocData):
        find_files(data.data, data.subset, data.annotations, data.images)
    elif isinstance(data, AnnotatedData):
        if data.data is None and data.annotations is None:
            raise UsageError(coco.NO_FOLDER)
        if data.data is not None:
            find_coco(data.data, data.subset, data.annotations, data.images)
    elif isinstance(data, NumberedData):
        # Which number is the first class is told by the values of masks, so it is left for later.
        options = MaskOptions(images=data.images, masks=data.masks, strict=data.strict)
        MASK_FOLDERS[dataset](data.data, data.subset, False, options=options)
    elif isinstance(data, MaskData):
        open_masks(dataset, data)
    elif isinstance(data, ImageNetData):
        image_folder(data_folder(data.data, "images with one label each"), data.subset)
    elif isinstance(data, FolderData):
        find_concepts(data.data, data.subset)


def open_objects(data: DataOptions) -> ObjectDataset:
    """Images with objects: `shapes`, a devkit of VOC, or a data set in COCO's format."""
    if isinstance(data, ShapesData):
        return ShapesDataset(data.images, seed=data.seed, limit=data.images_in_use)
    assert isinstance(data, AnnotatedData)
    given: dict[str, Any] = {"annotations": data.annotations, "images": data.images}
    given |= {"limit": data.images_in_use, "strict": data.strict, "exif": data.exif}
    if isinstance(data, VocData):
        return VocDataset(data.data, data.subset, zero_based=data.zero_based, **given)
    return coco.CocoDataset(data.data, data.subset, **given)


def open_labelled(data: ImageNetData, *, imagenet_indices: bool = False) -> SingleLabelDataset:
    """Images with one label each, see `find_labelled`."""
    return find_labelled(
        data.data,
        data.subset,
        data.labels,
        classes=data.classes,
        imagenet_indices=imagenet_indices,
        exif=data.exif,
        limit=data.images_in_use,
        strict=data.strict,
    )


def open_nuswide(data: DataOptions) -> NusWideDataset:
    """Images of NUS-WIDE."""
    assert isinstance(data, FolderData)
    return NusWideDataset(data.data, data.subset, exif=data.exif, limit=data.images_in_use, strict=data.strict)


def open_masks(dataset: str, data: DataOptions) -> MaskFolder:
    """The folder of class masks of a data set, a key of `MASK_FOLDERS`."""
    assert isinstance(data, MaskData)
    options = MaskOptions(images=data.images, masks=data.masks, strict=data.strict)
    if not isinstance(data, NumberedData):
        return MASK_FOLDERS[dataset](data.data, data.subset, options=options)
    return MASK_FOLDERS[dataset](data.data, data.subset, data.zero_based, options=options)


def open_clear_masks(dataset: str, data: DataOptions) -> MaskFolder:
    """As `open_masks`; UsageError if the masks may be numbered from 0 or from 1."""
    folder = open_masks(dataset, data)
    if folder.unclear:
        raise UsageError(
            f"the masks in {folder.masks} may be numbered from 0 or from 1: many of their pixels are 0, none of "
            f"those looked at is {max(folder.names)} or 255; give --task-option zero_based=true (0 is the first "
            "class) or zero_based=false (0 is none)"
        )
    return folder
