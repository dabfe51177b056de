"""Coverage: the share of each object that a selector keeps, without any model.

The coverage of an object is the share of its mask's area that lies in kept patches, with areas cut exactly at patch
borders. Crowds are left out: their masks hold many objects at once. The baseline of every number is the share of the
image that is kept, which a random selector reaches on average. For masks of classes, see `segment_coverage`. CorLoc,
which is an option, asks instead whether the box around the kept patches finds an object.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import Downsample, MetricRow, Omission, ReducedInput, Row, Sample
from ltrp_bench.tasks.data.annotations import SIZES, ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.dataset_task import DatasetTask
from ltrp_bench.tasks.metrics.averages import mean_and_count
from ltrp_bench.tasks.metrics.corloc import MIN_IOU, box_overlaps, component_box, found_share
from ltrp_bench.tasks.metrics.patch_coverage import coverage_scores, even_edges, patch_areas
from ltrp_bench.tasks.metrics.summaries import means_summary
from ltrp_bench.tasks.object_omissions import crowds, without_objects, without_pixels
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs

_DIGITS = 9  # matrix products differ between machines in later digits


class CoverageTask(DatasetTask[ObjectDataset]):
    """Share of each object that is kept, on one grid over the whole image; no model is run.

    Args:
        name: as in the registry.
        dataset: images and objects.
        split: which categories are seen.
        grid: (gh, gw) patches.
        narrow_as: group of the "narrow" categories.
        corloc: measure CorLoc too. At its default it is no part of the identity, since other metrics stay as they are.
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
        dataset: ObjectDataset,
        split: CategorySplit,
        *,
        grid: tuple[int, int],
        narrow_as: NarrowAs = "seen",
        corloc: bool = False,
    ) -> None:
        if min(grid) < 1:
            raise UsageError(f"grid must be at least 1, got {grid}")
        super().__init__(name, dataset, split, narrow_as=narrow_as)
        self._identity["grid"] = list(grid)
        self._grid, self._corloc = grid, corloc
        if corloc:
            self._identity["corloc"] = True
            self.row_schema = {**self.row_schema, "iou": "float64"}
        self._areas: dict[int, np.ndarray] = {}

    def load(self, index: int) -> Sample:
        """The image; its annotations are the objects' areas in each patch."""
        pixels = self.dataset.pixels(index)
        if index not in self._areas:
            self._areas[index] = self._measure(index)
        return Sample(self.image_id(index), pixels, index)

    def _measure(self, index: int) -> np.ndarray:
        """[n, L] areas of each counted object in each patch."""
        truth = self.dataset.truth(index, masks=True)
        edges = even_edges(truth.height, self._grid[0]), even_edges(truth.width, self._grid[1])
        masks = truth.masks()
        areas = np.array([patch_areas(mask, *edges).ravel() for mask in masks])
        return areas.reshape(len(masks), self._grid[0] * self._grid[1])

    def grid(self, sample: Sample) -> tuple[int, int]:
        """(gh, gw), the same for every image."""
        return self._grid

    def annotations_of(self, sample: Sample) -> ImageAnnotations:
        """Objects of an image, with masks."""
        return self.dataset.truth(sample.annotations, masks=True)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32 `coverage_scores` of all objects: no other ranking covers more of them."""
        return coverage_scores(self._areas[sample.annotations].reshape(-1, *self._grid))

    @property
    def oracle_groups(self) -> Collection[str]:
        """The groups, sizes, subsets and categories that have a metric of their own."""
        return (*GROUPS, *SIZES, *self._subsets(), *self.dataset.categories)

    def group_oracle_scores(self, sample: Sample, groups: Collection[str]) -> np.ndarray:
        """[gh, gw] float32 `coverage_scores` of the objects in all of `groups`."""
        chosen = np.array(
            [all(self._belongs(item, group) for group in groups) for item in self._counted(sample)], dtype=bool
        )
        return coverage_scores(self._areas[sample.annotations][chosen].reshape(-1, *self._grid))

    def _belongs(self, item: ObjectAnnotation, group: str) -> bool:
        """True if an object counts for the metric of a group, a size, a subset or a category."""
        if group in GROUPS:
            return item.category in self._groups[group]
        if group in SIZES:
            return self.dataset.size(item.area) == group
        return item.category in self._subsets().get(group, {group})

    def _counted(self, sample: Sample) -> list[ObjectAnnotation]:
        """The objects of an image except crowds, in the order of their areas."""
        truth = self.dataset.truth(sample.annotations, masks=True)
        return [item for item in truth.objects if not item.crowd]

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row per object with an area, after one row (category "") of the image itself."""
        return [self._rows(s, r) for s, r in zip(samples, reductions, strict=True)]

    def _rows(self, sample: Sample, reduction: ReducedInput) -> list[Row]:
        if isinstance(reduction, Downsample):
            raise UsageError(f"{self.name} has no model, so images cannot be downsampled: leave out 'downsample'")
        self._check_grid(reduction, self._grid)
        areas = self._areas[sample.annotations]
        truth = self.dataset.truth(sample.annotations, masks=True)
        kept = areas @ reduction.mask.ravel().astype(np.float64)
        whole = areas.sum(axis=1)
        rows: list[Row] = [
            {
                "category": "",
                "size": "",
                "area": float(truth.height * truth.width),
                "kept": float(reduction.mask.mean()),
                **self._overlap(0.0),
            }
        ]
        objects = self._counted(sample)
        box = component_box(reduction.mask, *self.patch_edges(sample)) if self._corloc else None
        overlaps = box_overlaps(box, [item.box for item in objects])
        for item, part, total, overlap in zip(objects, kept, whole, overlaps, strict=True):
            if total > 0:  # COCO has a few objects whose polygons cover no pixel
                rows.append(
                    {
                        "category": item.category,
                        "size": self.dataset.size(item.area),
                        "area": round(float(total), _DIGITS),
                        "kept": round(float(part / total), _DIGITS),
                        **self._overlap(overlap),
                    }
                )
        return rows

    def _overlap(self, value: float) -> Row:
        """The column of CorLoc, if it is measured."""
        return {"iou": round(float(value), _DIGITS)} if self._corloc else {}

    def omissions(self, records: Mapping[str, list[Row]]) -> list[Omission]:
        """What the data set changed and left out, crowds, objects without pixels and images without objects."""
        measured = [(image_id, sum(row["category"] != "" for row in rows)) for image_id, rows in records.items()]
        return [
            *super().omissions(records),
            *crowds(self.dataset, records),
            *without_pixels(self.dataset, measured),
            *without_objects(measured),
        ]

    def _subsets(self) -> dict[str, frozenset[str]]:
        """Name -> categories of subsets that have a metric `coverage_NAME`, as object sizes have."""
        return {}

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """Mean over objects of each group, size, subset and category; the gaps (seen less unseen); the share kept."""
        categories, kept, parts = self._columns(records)
        out: list[MetricRow] = []
        inside = {group: np.isin(categories, sorted(self._groups[group])) for group in GROUPS}
        for metric, among in parts.items():
            means = {group: mean_and_count(kept[inside[group] & among]) for group in GROUPS}
            out += [MetricRow(metric, group, None, *means[group]) for group in GROUPS]
            gap = means["seen"][0] - means["unseen"][0]
            out.append(MetricRow(metric.replace("coverage", "coverage_gap"), "all", None, gap, means["all"][1]))
        out.append(MetricRow("image_kept", "all", None, *mean_and_count(kept[categories == ""])))
        if self._corloc:
            out += self._corloc_rows(records, categories, inside)
        for category in self.dataset.categories:
            values = mean_and_count(kept[categories == category])
            out.append(MetricRow("coverage", self._group_of(category), category, *values))
        return out

    def _corloc_rows(
        self, records: Mapping[str, list[Row]], categories: np.ndarray, inside: Mapping[str, np.ndarray]
    ) -> list[MetricRow]:
        """Share of the images with an object of each group and category in which one of these is found, and the gap."""
        image = np.array([i for i, rows in enumerate(records.values()) for _ in rows], dtype=np.intp)
        found, located = self._found(records), self._is_located(categories)
        shares = {group: found_share(image[part & located], found[part & located]) for group, part in inside.items()}
        out = [MetricRow("corloc", group, None, *share) for group, share in shares.items()]
        out.append(MetricRow("corloc_gap", "all", None, shares["seen"][0] - shares["unseen"][0], shares["all"][1]))
        for category in self.dataset.categories:
            own = (categories == category) & located
            out.append(MetricRow("corloc", self._group_of(category), category, *found_share(image[own], found[own])))
        return out

    def _found(self, records: Mapping[str, list[Row]]) -> np.ndarray:
        """[M] bool: rows of objects that the box of the kept patches finds."""
        return np.array([row["iou"] >= MIN_IOU for rows in records.values() for row in rows], dtype=bool)

    def _is_located(self, categories: np.ndarray) -> np.ndarray:
        """[M] bool: rows whose category CorLoc counts, all objects unless overridden."""
        return categories != ""

    def _columns(self, records: Mapping[str, list[Row]]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Category and share kept of each row, and metric -> bool mask of the rows that count for it."""
        rows = [row for image in records.values() for row in image]
        categories = np.array([row["category"] for row in rows], dtype=object)
        sizes = np.array([row["size"] for row in rows], dtype=object)
        kept = np.array([row["kept"] for row in rows], dtype=np.float64)
        parts = {"coverage": kept == kept, **{f"coverage_{s}": sizes == s for s in SIZES}}
        for name, members in self._subsets().items():
            parts[f"coverage_{name}"] = np.isin(categories, sorted(members))
        return categories, kept, parts

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Means over objects of the share kept, and over images of what is found."""
        categories, kept, parts = self._columns(records)
        values = {metric: np.where(among, kept, np.nan) for metric, among in parts.items()}
        if self._corloc:
            values["corloc"] = np.where(self._is_located(categories), self._found(records), np.nan)
        per_image = ("corloc",) if self._corloc else ()
        return means_summary(records, self.dataset.categories, self._groups, categories.tolist(), values, per_image)
