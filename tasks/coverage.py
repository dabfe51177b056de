"""`shapes-coverage` and `coco-coverage`: how much of each object a selector keeps. No model at all.

An object's coverage is the share of its mask's area that lies in kept patches, areas cut exactly at patch borders.
Crowds are left out: their masks hold many objects at once. The baseline of every number is the share of the image
that is kept: a selector that knows nothing covers objects by just that. Where masks name classes only, see
`segment_coverage`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, MetricRow, ReducedInput, Row, Sample
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.objects import SIZES, ObjectDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.shapes.world import PATCH, SIZE, WORLD_SEEDS
from ltrp_bench.tasks.dataset_task import DatasetTask
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, even_edges, patch_areas
from ltrp_bench.tasks.metrics.summaries import means_summary
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split

_DIGITS = 9  # of shares: below that lies what matrix products differ by between machines


class CoverageTask(DatasetTask[ObjectDataset]):
    """Share of each object that is kept, on one grid over the whole image.

    Args:
        name: as in the registry.
        source: images and objects.
        split: which of its categories are seen.
        grid: (gh, gw) of the patches.
        narrow_as: group of the "narrow" categories.
    """

    reduction = "none"
    headline = "coverage"
    row_schema: Mapping[str, str] = {
        "category": "string",  # "" in the one row of every image itself
        "size": "string",
        "area": "float64",
        "kept": "float64",
    }

    def __init__(
        self,
        name: str,
        source: ObjectDataset,
        split: CategorySplit,
        grid: tuple[int, int],
        narrow_as: Literal["seen", "unseen"] = "seen",
    ) -> None:
        if min(grid) < 1:
            raise UsageError(f"grid must be at least 1, got {grid}")
        super().__init__(name, source, split, source.categories, narrow_as, grid=list(grid))
        self._grid = grid
        self._areas: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def load(self, index: int) -> Sample:
        """The image; its annotations are the objects' areas in each patch."""
        pixels = self.source.pixels(index)
        if index not in self._areas:
            self._areas[index] = self._measure(index)
        return Sample(self.image_id(index), pixels, index)

    def _measure(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """[n, L] areas of each counted object in each patch, and [gh, gw] what `objects` tells the oracle."""
        truth = self.source.truth(index, masks=True)
        masks = [rle_tools.decode(item.rle) for item in truth.objects if not item.crowd]
        edges = even_edges(truth.height, self._grid[0]), even_edges(truth.width, self._grid[1])
        areas = np.zeros((len(masks), self._grid[0] * self._grid[1]))
        union = np.zeros((truth.height, truth.width), np.uint8)
        for i, mask in enumerate(masks):
            areas[i] = patch_areas(mask, *edges).ravel()
            union |= mask
        return areas, self._worth(areas, covered_share(union, *edges))

    def _worth(self, areas: np.ndarray, covered: np.ndarray) -> np.ndarray:
        """The oracle's ranking: here `covered`, the share of each patch that any object covers."""
        return covered

    def grid(self, sample: Sample) -> tuple[int, int]:
        """The same for every image."""
        return self._grid

    def annotations_of(self, sample: Sample) -> ImageAnnotations:
        """Objects of an image, with masks."""
        return self.source.truth(sample.annotations, masks=True)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32: share of each patch that objects cover."""
        return self._areas[sample.annotations][1]

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row per object with an area, after one row (category "") of the image itself."""
        return [self._rows(s, r) for s, r in zip(samples, reductions, strict=True)]

    def _rows(self, sample: Sample, reduction: ReducedInput) -> list[Row]:
        if isinstance(reduction, Downsample):
            raise UsageError(f"{self.name} has no model to show a smaller image to: leave out 'downsample'")
        if reduction.mask.shape != self._grid:
            raise InputError(f"{self.name}: a selection of {reduction.mask.shape} patches, the grid is {self._grid}")
        areas, _ = self._areas[sample.annotations]
        truth = self.source.truth(sample.annotations, masks=True)
        counted = [item for item in truth.objects if not item.crowd]
        kept = areas @ reduction.mask.ravel().astype(np.float64)
        whole = areas.sum(axis=1)
        rows: list[Row] = [
            {
                "category": "",
                "size": "",
                "area": float(truth.height * truth.width),
                "kept": float(reduction.mask.mean()),
            }
        ]
        for item, part, total in zip(counted, kept, whole, strict=True):
            if total > 0:  # COCO has a few objects whose polygons hold no pixel
                rows.append(
                    {
                        "category": item.category,
                        "size": self.source.size(item.area),
                        "area": round(float(total), _DIGITS),
                        "kept": round(float(part / total), _DIGITS),
                    }
                )
        return rows

    def _kinds(self) -> dict[str, frozenset[str]]:
        """Kinds of categories that have metrics of their own, as sizes have."""
        return {}

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """Mean over objects of each group, size, kind and category; the gaps (seen less unseen); the share kept."""
        categories, kept, parts = self._columns(records)
        out: list[MetricRow] = []
        inside = {group: np.isin(categories, sorted(self._groups[group])) for group in GROUPS}
        for metric, among in parts.items():
            means = {group: _mean(kept[inside[group] & among]) for group in GROUPS}
            out += [MetricRow(metric, group, None, *means[group]) for group in GROUPS]
            gap = means["seen"][0] - means["unseen"][0]
            out.append(MetricRow(metric.replace("coverage", "coverage_gap"), "all", None, gap, means["all"][1]))
        out.append(MetricRow("image_kept", "all", None, *_mean(kept[categories == ""])))
        for category in self.source.categories:
            group = "seen" if category in self._groups["seen"] else "unseen"
            out.append(MetricRow("coverage", group, category, *_mean(kept[categories == category])))
        return out

    def _columns(self, records: Mapping[str, list[Row]]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Of all rows: category, share kept, and metric -> whether the row counts for it."""
        rows = [row for image in records.values() for row in image]
        categories = np.array([row["category"] for row in rows], dtype=object)
        sizes = np.array([row["size"] for row in rows], dtype=object)
        kept = np.array([row["kept"] for row in rows], dtype=np.float64)
        parts = {"coverage": kept == kept, **{f"coverage_{s}": sizes == s for s in SIZES}}
        for name, members in self._kinds().items():
            parts[f"coverage_{name}"] = np.isin(categories, sorted(members))
        return categories, kept, parts

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Means over objects of the share kept."""
        categories, kept, parts = self._columns(records)
        values = {metric: np.where(among, kept, np.nan) for metric, among in parts.items()}
        return means_summary(records, self.source.categories, self._groups, categories.tolist(), values)


def _mean(values: np.ndarray) -> tuple[float, int]:
    """Mean, NaN of nothing, and the number of values; summed exactly, so that the order does not matter."""
    return (math.fsum(values) / len(values) if len(values) else math.nan), len(values)


def shapes_coverage(
    images: int = 1000,
    seed: int = WORLD_SEEDS["test"],
    fold: int = 0,
    split: str | Path | None = None,
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
) -> CoverageTask:
    """Coverage of the built-in world's objects, 12 x 12 patches of 8 pixels.

    Args:
        images: how many images.
        seed: of the world.
        fold: which half of the categories is seen, 0 or 1.
        split: a CSV in the place of the fold's.
        limit: only the first so many images.
        narrow_as: group of the narrow categories of such a CSV; the folds have none.
    """
    grid = SIZE // PATCH
    states = shapes_split(fold) if split is None else load_split(split)
    dataset = ShapesDataset(images, seed=seed, limit=limit)
    return CoverageTask("shapes-coverage", dataset, states, (grid, grid), narrow_as)


def coco_coverage(
    data: str | Path | None = None,
    grid: int | Iterable[int] = 14,
    split: str | Path = "imagenet1k_coco80",
    subset: str = "val2017",
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
) -> CoverageTask:
    """Coverage of the objects of a data set in COCO's format.

    Args:
        data: its folder.
        grid: patches along each side, one number or (gh, gw), over the whole image as a classifier sees it.
        split: name or CSV of the seen and unseen categories.
        subset: which images of the 2017 layout.
        limit: only the first so many images.
        narrow_as: group of categories that are seen through one kind only.
    """
    source = CocoDataset(data, subset, limit=limit)
    return CoverageTask("coco-coverage", source, load_split(split), sides(grid), narrow_as)


def sides(grid: int | Iterable[int]) -> tuple[int, int]:
    """(gh, gw) of one number or two; else UsageError."""
    both = (grid, grid) if isinstance(grid, int) else tuple(grid)
    if len(both) != 2:
        raise UsageError(f"grid must be one number or two, got {grid}")
    return both[0], both[1]
