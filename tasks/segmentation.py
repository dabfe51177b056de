"""Semantic segmentation: plain ViTs (linear head or Segmenter's) on the kept patches alone (`drop`), or any mmseg model
on images whose dropped patches are filled with the mean (`fill`).

Patches are those of the image after the model's own resize; predictions are evaluated at the size of the original
image. Every pixel counts, those of dropped patches too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import MetricRow, Omission, PatchEdges, ReducedInput, Row, Sample
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.data.semantic import BACKGROUND, SemanticDataset
from ltrp_bench.tasks.dataset_task import DatasetTask
from ltrp_bench.tasks.metrics.patch_coverage import coverage_scores, covered_share, patch_areas, patch_edges
from ltrp_bench.tasks.metrics.segmentation import Confusion, confusion_rows
from ltrp_bench.tasks.metrics.summaries import confusion_summary
from ltrp_bench.tasks.models.class_order import order_assumed
from ltrp_bench.tasks.models.segmentors.classes import matched
from ltrp_bench.tasks.models.segmentors.running import SegmentorImage, SegmentorRunner
from ltrp_bench.tasks.object_omissions import without_labels
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs

CALLED_SEEN = "unseen_called_seen"


@dataclass(frozen=True)
class DisplayImage:
    """Annotation of a sample: the position of the image, and the image as the segmentor resizes it."""

    index: int
    prepared: SegmentorImage


class SegmentationTask(DatasetTask[SemanticDataset]):
    """A segmentor, evaluated on seen and unseen classes.

    Args:
        name: as in the registry.
        dataset: images and class maps.
        split: which categories are seen; background, where it is a class, is not a category.
        runner: the model.
        narrow_as: group of the "narrow" categories.
    """

    headline = "mIoU"
    supports_downsample = True
    row_schema: Mapping[str, str] = {"true": "string", "predicted": "string", "pixels": "int64"}

    def __init__(
        self,
        name: str,
        dataset: SemanticDataset,
        split: CategorySplit,
        runner: SegmentorRunner,
        *,
        narrow_as: NarrowAs = "seen",
    ) -> None:
        if runner.patch < 1:
            raise UsageError(f"patch must be at least 1 pixel, got {runner.patch}")
        categories = tuple(c for c in dataset.classes if c != BACKGROUND)
        super().__init__(name, dataset, split, categories=categories, narrow_as=narrow_as)
        self._identity |= {"model": runner.identity, "patch": runner.patch}
        self.runner = runner
        groups = {group: chosen & set(categories) for group, chosen in self._groups.items()}
        # As in the benchmarks, background counts as a class; it is neither seen nor unseen.
        self._groups = {**groups, "all": frozenset(dataset.classes)}
        self._outputs = matched(name, runner, dataset.classes)
        self.reduction = runner.reduction
        order = (order_assumed(dataset.classes),) if runner.classes is None else ()
        self.assumptions = (*self.assumptions, *runner.assumptions, *order)

    def load(self, index: int) -> Sample:
        """The image, and the image as the segmentor resizes it."""
        prepared = self.runner.prepare(self.dataset.pixels(index))
        return Sample(self.image_id(index), prepared.shown, DisplayImage(index, prepared))

    def grid(self, sample: Sample) -> tuple[int, int]:
        """(gh, gw) of the resized image."""
        return self.runner.grid(sample.annotations.prepared)

    def patch_edges(self, sample: Sample) -> PatchEdges:
        """Edges of the patches; the last row and column may be cut off by the resized image's border."""
        content = sample.annotations.prepared.content.shape[:2]
        rows, columns = (
            patch_edges(side, resized, self.runner.patch)
            for side, resized in zip(sample.image.shape[:2], content, strict=True)
        )
        return rows, columns

    def annotations_of(self, sample: Sample) -> ImageAnnotations:
        """Objects of an image, with masks."""
        return self.dataset.objects.truth(sample.annotations.index, masks=True)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32: share of each patch that objects cover; `coverage_scores` where every pixel is labelled."""
        image: DisplayImage = sample.annotations
        truth = self.dataset.objects.truth(image.index, masks=True)
        height, width = image.prepared.content.shape[:2]
        rows = patch_edges(truth.height, height, self.runner.patch)
        columns = patch_edges(truth.width, width, self.runner.patch)
        if BACKGROUND in self.dataset.classes:
            return covered_share(truth.union_mask(), rows, columns)
        areas = [patch_areas(mask, rows, columns) for mask in truth.masks()]
        return coverage_scores(np.array(areas).reshape(-1, len(rows) - 1, len(columns) - 1))

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """Confusion matrix of each image, one row an entry."""
        for sample, reduction in zip(samples, reductions, strict=True):
            self._check_grid(reduction, self.grid(sample))
        found = self.runner.predict([sample.annotations.prepared for sample in samples], reductions)
        return [self._rows(sample.annotations.index, one) for sample, one in zip(samples, found, strict=True)]

    def _rows(self, index: int, outputs: np.ndarray) -> list[Row]:
        truth = self.dataset.semantic(index)
        return list(confusion_rows(truth, self._outputs[outputs], self.dataset.classes))

    def omissions(self, records: Mapping[str, list[Row]]) -> list[Omission]:
        """What the data set changed and left out, and images without a labeled pixel."""
        pixels = ((image_id, sum(row["pixels"] for row in rows)) for image_id, rows in records.items())
        return [*super().omissions(records), *without_labels(pixels)]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """mIoU, mAcc and aAcc of each group, IoU and accuracy of each class, unseen pixels predicted as seen."""
        run = Confusion.of(records.values(), self.dataset.classes)
        out = []
        for group in GROUPS:
            chosen = self._groups[group]
            n = run.pixels(chosen)
            out += [
                MetricRow("mIoU", group, None, run.mean_iou(chosen), n),
                MetricRow("mAcc", group, None, run.mean_accuracy(chosen), n),
                MetricRow("aAcc", group, None, run.pixel_accuracy(chosen), n),
            ]
        unseen, seen = self._groups["unseen"], self._groups["seen"]
        out.append(MetricRow(CALLED_SEEN, "unseen", None, run.share_called(unseen, seen), run.pixels(unseen)))
        for i, name in enumerate(run.classes):
            group = next((g for g in ("seen", "unseen") if name in self._groups[g]), "all")
            pixels = run.pixels((name,))
            out.append(MetricRow("IoU", group, name, float(run.iou[i]), pixels))
            out.append(MetricRow("Acc", group, name, float(run.accuracy[i]), pixels))
        return out

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Confusion matrix of every image."""
        metrics = ("mIoU", "mAcc", "aAcc", CALLED_SEEN)
        return confusion_summary(records, self.dataset.classes, self._groups, metrics)
