"""`stuff-`, `voc-`, `context-` and `ade20k-coverage`: how much of each segment a selector keeps. No model at all.

A segment is all of an image's pixels of one class, thing or stuff: masks of classes do not tell neighbours apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from pathlib import Path
from typing import Literal

import numpy as np

from ltrp_bench.tasks.coverage import CoverageTask, sides
from ltrp_bench.tasks.data.mask_folders import MaskFolder, find_ade20k, find_context, find_stuff, find_voc
from ltrp_bench.tasks.data.masks import MaskRegionDataset
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.metrics.patch_coverage import segment_worth
from ltrp_bench.tasks.splits.split import CategorySplit, load_split

Narrow = Literal["seen", "unseen"]


class SegmentCoverageTask(CoverageTask):
    """Share of each segment that is kept: of all pixels of one class in one image, thing or stuff.

    Metrics as of `CoverageTask`, and where the data has both kinds the same for `coverage_things` and `coverage_stuff`.

    Args:
        things: the classes that are things; where they are known.
        others: as of `CoverageTask`.
    """

    def __init__(
        self,
        name: str,
        source: ObjectDataset,
        split: CategorySplit,
        grid: tuple[int, int],
        narrow_as: Narrow = "seen",
        things: Set[str] = frozenset(),
    ) -> None:
        super().__init__(name, source, split, grid, narrow_as)
        self._things = frozenset(source.categories) & things

    def _worth(self, areas: np.ndarray, covered: np.ndarray) -> np.ndarray:
        """[gh, gw] float32: `segment_worth`. The share of a patch that segments cover would be 1 nearly everywhere."""
        return segment_worth(areas.reshape(-1, *covered.shape))

    def _kinds(self) -> dict[str, frozenset[str]]:
        """Things and stuff; nothing where all classes are of one kind, or the kinds are not known."""
        stuff = frozenset(self.source.categories) - self._things
        return {"things": self._things, "stuff": stuff} if self._things and stuff else {}


def stuff_coverage(
    data: str | Path | None = None,
    grid: int | Iterable[int] = 14,
    split: str | Path | None = None,
    subset: str = "val2017",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
) -> SegmentCoverageTask:
    """Coverage of the segments, things and stuff, of a data set with class masks.

    Args:
        data: its folder, in one of the layouts of `find_stuff`.
        grid: patches along each side, one number or (gh, gw), over the whole image as a classifier sees it.
        split: name or CSV of the seen and unseen classes; by default ImageNet-1K against the layout's own:
            COCO's panoptic classes, or COCO-Stuff's.
        subset: which images of the COCO-Stuff layout.
        limit: only the first so many images.
        narrow_as: group of classes that are seen through one kind only.
    """
    things = frozenset(load_split("imagenet1k_coco80").states)
    return _task("stuff-coverage", find_stuff(data, subset), grid, split, limit, narrow_as, things)


def voc_coverage(
    data: str | Path | None = None,
    grid: int | Iterable[int] = 14,
    split: str | Path = "imagenet1k_voc20",
    subset: str = "val",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
) -> SegmentCoverageTask:
    """Coverage of the segments of a VOC devkit's SegmentationClass/.

    Args:
        data: the devkit's folder, see `find_voc`.
        subset: a list of ImageSets/Segmentation/; without that folder all masks are taken.
        grid, split, limit, narrow_as: as in `stuff_coverage`.
    """
    return _task("voc-coverage", find_voc(data, subset), grid, split, limit, narrow_as)


def context_coverage(
    data: str | Path | None = None,
    grid: int | Iterable[int] = 14,
    split: str | Path = "imagenet1k_context59",
    subset: str = "val",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
) -> SegmentCoverageTask:
    """Coverage of the segments of Pascal-Context's 59 categories; background is nobody's.

    Args:
        data: the devkit's folder, see `find_context`.
        subset: a list of ImageSets/SegmentationContext/; without that folder all masks are taken.
        grid, split, limit, narrow_as: as in `stuff_coverage`.
    """
    return _task("context-coverage", find_context(data, subset), grid, split, limit, narrow_as)


def ade20k_coverage(
    data: str | Path | None = None,
    grid: int | Iterable[int] = 14,
    split: str | Path = "imagenet1k_ade20k",
    subset: str = "validation",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
) -> SegmentCoverageTask:
    """Coverage of the segments of ADE20K's 150 categories.

    Args:
        data: its folder, see `find_ade20k`.
        subset: "validation" or "training".
        grid, split, limit, narrow_as: as in `stuff_coverage`.
    """
    return _task("ade20k-coverage", find_ade20k(data, subset), grid, split, limit, narrow_as)


def _task(
    name: str,
    folder: MaskFolder,
    grid: int | Iterable[int],
    split: str | Path | None,
    limit: int | None,
    narrow_as: Narrow,
    things: Set[str] = frozenset(),
) -> SegmentCoverageTask:
    states = load_split(folder.split if split is None else split)
    return SegmentCoverageTask(name, MaskRegionDataset(folder, limit=limit), states, sides(grid), narrow_as, things)
