"""Class lists of data sets: VOC's, and those with colours that OpenMMLab's mmseg has."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

_WHERE = {
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
"""VOC's classes in its order (pixel values 1 to 20) -> COCO's."""


@dataclass(frozen=True)
class ClassList:
    """Names and colours, in the order of a model's outputs.

    Attributes:
        names: of the classes.
        palette: (red, green, blue) of each, 0 to 255.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


def class_list(dataset: str) -> ClassList:
    """The classes of "ADE20K" (150), "Context-59", "VOC" (21 with background) or "COCO-Stuff" (171).

    mmseg's METAINFO, without the spaces around names that one of its lists has. Raises UsageError for another name,
    InputError where mmseg is not installed.
    """
    if dataset not in _WHERE:
        raise UsageError(f"no class list {dataset!r}: there are {', '.join(_WHERE)}")
    openmmlab.setup("mmseg")
    module, name = _WHERE[dataset]
    info = getattr(importlib.import_module(f"mmseg.datasets.{module}"), name).METAINFO
    colours = tuple((int(c[0]), int(c[1]), int(c[2])) for c in info["palette"])
    return ClassList(tuple(text.strip() for text in info["classes"]), colours)
