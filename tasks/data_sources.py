"""Data sets and splits of the built-in tasks, opened by the options of their data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.mask_folders import MaskFolder, find_ade20k, find_context, find_stuff, find_voc
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.voc import VocDataset
from ltrp_bench.tasks.options import (
    AnnotatedData,
    CocoData,
    DataOptions,
    FolderData,
    NumberedData,
    ShapesData,
    TaskOptions,
)
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split

if TYPE_CHECKING:
    from ltrp_bench.tasks.task_spec import TaskSpec

Data = ShapesData | FolderData

MASK_FOLDERS: Final[dict[str, Callable[[str | Path | None, str], MaskFolder]]] = {
    "stuff": find_stuff,
    "voc": find_voc,
    "context": find_context,
    "ade20k": find_ade20k,
}
"""Data set -> function that finds its folder of class masks."""

NUMBERED_MASK_FOLDERS: Final[dict[str, Callable[[str | Path | None, str, bool | None], MaskFolder]]] = {
    "context": find_context,
    "ade20k": find_ade20k,
}
"""Those of them whose masks may be numbered from 0 or from 1."""


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


def object_dataset(spec: TaskSpec, data: Data) -> ObjectDataset:
    """The images and objects of a task."""
    if isinstance(data, ShapesData):
        return ShapesDataset(data.images, seed=data.seed, limit=data.limit)
    if isinstance(data, CocoData):
        return CocoDataset(
            data.data,
            data.subset,
            limit=data.limit,
            annotations=data.annotations,
            images=data.images,
            strict=data.strict,
            exif=data.exif,
        )
    assert isinstance(data, AnnotatedData), spec.name
    return VocDataset(data.data, data.subset, limit=data.limit, strict=data.strict, exif=data.exif)


def mask_folder(spec: TaskSpec, data: FolderData) -> MaskFolder:
    """The folder of class masks of a task; UsageError if the numbers of its classes are unclear."""
    if isinstance(data, NumberedData):
        folder = NUMBERED_MASK_FOLDERS[spec.dataset](data.data, data.subset, data.zero_based)
        if folder.unclear:
            raise UsageError(
                f"the masks in {folder.masks} may be numbered from 0 or from 1: many of their pixels are 0, none of "
                f"those looked at is {max(folder.names)} or 255; give --task-option zero_based=true (0 is the first "
                "class) or zero_based=false (0 is none)"
            )
        return folder
    return MASK_FOLDERS[spec.dataset](data.data, data.subset)
