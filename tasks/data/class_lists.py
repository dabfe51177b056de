"""Class names of data sets: VOC's twenty, and the lists with colors that mmseg brings."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

# Module and class below mmseg.datasets.
_MMSEG_DATASETS = {
    "ADE20K": ("ade", "ADE20KDataset"),
    "Context-59": ("pascal_context", "PascalContextDataset59"),
    "VOC": ("voc", "PascalVOCDataset"),
    "COCO-Stuff": ("coco_stuff", "COCOStuffDataset"),
}


VOC_NAMES = {
    "aeroplane": "airplane",
    "bicycle": "bicycle",
    "bird": "bird",
    "boat": "boat",
    "bottle": "bottle",
    "bus": "bus",
    "car": "car",
    "cat": "cat",
    "chair": "chair",
    "cow": "cow",
    "diningtable": "dining table",
    "dog": "dog",
    "horse": "horse",
    "motorbike": "motorcycle",
    "person": "person",
    "pottedplant": "potted plant",
    "sheep": "sheep",
    "sofa": "couch",
    "train": "train",
    "tvmonitor": "tv",
}
"""Name of each VOC class, in the order of its mask values 1 to 20 -> name of the same class in COCO."""


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of a model's outputs.

    Attributes:
        names: name of each class.
        palette: (red, green, blue) of each class, 0 to 255.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


def class_list(dataset: str) -> ClassList:
    """Returns mmseg's METAINFO of a data set, without the spaces around some of its names.

    Args:
        dataset: "ADE20K" (150 classes), "Context-59", "VOC" (21 with background) or "COCO-Stuff" (171).

    Raises:
        UsageError: another name. InputError: mmseg is not installed.
    """
    if dataset not in _MMSEG_DATASETS:
        raise UsageError(f"no class list {dataset!r}: there are {', '.join(_MMSEG_DATASETS)}")
    openmmlab.setup("mmseg")
    module, name = _MMSEG_DATASETS[dataset]
    info = getattr(importlib.import_module(f"mmseg.datasets.{module}"), name).METAINFO
    colours = tuple((int(c[0]), int(c[1]), int(c[2])) for c in info["palette"])
    return ClassList(tuple(text.strip() for text in info["classes"]), colours)
