"""Detection: any mmdet detector on images whose dropped patches are filled with the mean before any layer (`fill`), or
plain ViT detectors (`detectors/plain_vit.py`) on the kept patches alone (`drop`).

Patches are those of the image after the detector's own resize: ceil(h / P) x ceil(w / P); padding does not count.
Average precision and recall are COCO's, of boxes and, where the detector finds them, masks; `voc_detection.py` adds
VOC's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary, ordered_groups
from ltrp_bench.results.summaries.detections import DetectionsSummary
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import MetricRow, Omission, PatchEdges, ReducedInput, ReductionMode, Row, Sample
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.dataset_task import DatasetTask
from ltrp_bench.tasks.metrics.coco import METRICS, PER_CATEGORY, CocoEvaluation, Kind, evaluate
from ltrp_bench.tasks.metrics.detection_matches import Matches, coco_matches
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, patch_edges
from ltrp_bench.tasks.models.detectors.loading import Detector
from ltrp_bench.tasks.models.detectors.running import DetectorImage, DetectorRunner
from ltrp_bench.tasks.models.reduction import patch_grid
from ltrp_bench.tasks.object_omissions import crowds, tiny_boxes, without_objects
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs


@dataclass(frozen=True)
class DisplayImage:
    """Annotation of a sample: the position of the image, and the image as the detector resizes it."""

    index: int
    prepared: DetectorImage


class DetectionTask(DatasetTask[ObjectDataset]):
    """An mmdet detector, evaluated on seen and unseen categories by COCO's metrics.

    Args:
        name: as in the registry.
        dataset: images and objects.
        split: which categories are seen.
        detector: the model; its classes are matched to the data set's categories by name.
        patch: patch size in pixels of the resized image.
        score_threshold: detections with a lower score are removed, beside those that the config removes.
        narrow_as: group of the "narrow" categories.
        also_called: category -> another name that a detector may have for it.
        reduction: "fill", or "drop", which only plain ViT detectors can do.

    Raises:
        InputError: if the detector lacks a category. UsageError: if it cannot drop patches, or has other patches.
    """

    headline = "bbox_AP"
    supports_downsample = True
    row_schema: Mapping[str, str] = {
        "category": "string",
        "score": "float64",
        "x": "float64",
        "y": "float64",
        "w": "float64",
        "h": "float64",
        "rle": "string",  # COCO's compressed run-length code, "" without a mask
    }

    def __init__(
        self,
        name: str,
        dataset: ObjectDataset,
        split: CategorySplit,
        detector: Detector,
        *,
        patch: int,
        score_threshold: float = 0.0,
        narrow_as: NarrowAs = "seen",
        also_called: Mapping[str, str] | None = None,
        reduction: ReductionMode = "fill",
    ) -> None:
        _check_patch(detector, patch, reduction)
        self.reduction = reduction
        super().__init__(name, dataset, split, narrow_as=narrow_as)
        self.assumptions = (*self.assumptions, *detector.assumptions)
        self._identity |= {"detector": detector.identity, "patch": patch, "score_threshold": score_threshold}
        other = also_called or {}
        called = {c: c if c in detector.classes else other.get(c, c) for c in dataset.categories}
        self._category = {name: category for category, name in called.items()}
        unknown = sorted(category for category, name in called.items() if name not in detector.classes)
        if unknown:
            raise InputError(
                f"{name}: the detector has no class {', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}; its "
                f"classes are {', '.join(detector.classes[:3])}, …: wrong model for this data set"
            )
        self.patch = patch
        self.runner = DetectorRunner(detector, patch=patch, score_threshold=score_threshold, drop=reduction == "drop")
        self._evaluated: tuple[Mapping[str, list[Row]], dict[Kind, CocoEvaluation]] | None = None
        self.kinds: tuple[Kind, ...] = ("bbox", "segm") if detector.finds_masks else ("bbox",)

    def load(self, index: int) -> Sample:
        """The image, and the image as the detector resizes it."""
        pixels = self.dataset.pixels(index)
        return Sample(self.image_id(index), pixels, DisplayImage(index, self.runner.prepare(pixels)))

    def grid(self, sample: Sample) -> tuple[int, int]:
        """(gh, gw) of the resized image."""
        height, width = sample.annotations.prepared.content.shape[:2]
        return patch_grid(height, width, self.patch)

    def patch_edges(self, sample: Sample) -> PatchEdges:
        """Edges of the patches; the last row and column may be cut off by the resized image's border."""
        content = sample.annotations.prepared.content.shape
        rows, columns = (
            patch_edges(side, resized, self.patch)
            for side, resized in zip(sample.image.shape[:2], content[:2], strict=True)
        )
        return rows, columns

    def annotations_of(self, sample: Sample) -> ImageAnnotations:
        """Objects of an image, with masks."""
        return self.dataset.truth(sample.annotations.index, masks=True)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32: share of each patch that objects (without crowds) cover."""
        truth = self.dataset.truth(sample.annotations.index, masks=True)
        height, width = sample.annotations.prepared.content.shape[:2]
        rows = patch_edges(truth.height, height, self.patch)
        return covered_share(truth.union_mask(), rows, patch_edges(truth.width, width, self.patch))

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row per detection of a category of the data set, best first."""
        category = self._category
        found = self.runner.rows([sample.annotations.prepared for sample in samples], reductions)
        return [
            [{**row, "category": category[row["category"]]} for row in rows if row["category"] in category]
            for rows in found
        ]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """COCO's twelve numbers of each group, and three of each category."""
        out: list[MetricRow] = []
        self._evaluated = (records, {kind: self._evaluate(records, kind) for kind in self.kinds})
        for kind, run in self._evaluated[1].items():
            for metric in METRICS:
                for group in GROUPS:
                    chosen = self._groups[group]
                    value, n = run.metric(metric, chosen), run.count(chosen)
                    out.append(MetricRow(f"{kind}_{metric}", group, None, value, n))
            for category in self.dataset.categories:
                for metric in PER_CATEGORY:
                    value, n = run.metric(metric, [category]), run.count([category])
                    out.append(MetricRow(f"{kind}_{metric}", self._group_of(category), category, value, n))
        return out

    def omissions(self, records: Mapping[str, list[Row]]) -> list[Omission]:
        """What the data set changed and left out, crowds, boxes smaller than a pixel and images without objects."""
        listed = {image_id: self.dataset.listed(self.dataset.index(image_id)) for image_id in records}
        return [
            *super().omissions(records),
            *crowds(self.dataset, records),
            *tiny_boxes(self.dataset, records),
            *without_objects((image, sum(not item.crowd for item in items)) for image, items in listed.items()),
        ]

    def _evaluate(self, records: Mapping[str, list[Row]], kind: Kind) -> CocoEvaluation:
        return evaluate(self._truth(records, kind == "segm"), records, self.dataset.categories, kind)

    def _truth(self, records: Mapping[str, list[Row]], masks: bool = False) -> list[ImageAnnotations]:
        """Annotations of the images of `records`, in the data set's order."""
        return [self.dataset.truth(i, masks=masks) for i in sorted(map(self.dataset.index, records))]

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Matches of every detection, of boxes and, where there are any, masks."""
        held, self._evaluated = self._evaluated, None
        runs = held[1] if held is not None and held[0] is records else {}
        categories = self.dataset.categories
        parts = []
        for kind in self.kinds:
            run = runs.pop(kind, None) or self._evaluate(records, kind)
            images = self._truth(records, kind == "segm")
            parts.append(coco_matches(images, records, categories, kind, run.overlaps))
        return self._summary(records, parts)

    def _summary(self, records: Mapping[str, list[Row]], parts: Sequence[Matches]) -> DetectionsSummary:
        """One summary of the matches of several evaluations."""
        categories = self.dataset.categories
        curves = {name: curve for part in parts for name, curve in part.curves.items()}
        return DetectionsSummary(
            images=tuple(self.dataset.ids[i] for i in sorted(map(self.dataset.index, records))),
            categories=tuple(categories),
            groups=ordered_groups(categories, self._groups),
            metrics=tuple(curves),
            rankings={name: ranking for part in parts for name, ranking in part.rankings.items()},
            tables={name: table for part in parts for name, table in part.tables.items()},
            curves=curves,
        )


def _check_patch(detector: Detector, patch: int, reduction: ReductionMode) -> None:
    from ltrp_bench.tasks.models.detectors.kept_channel import dropping_backbone

    if patch < 1:
        raise UsageError(f"patch must be at least 1 pixel, got {patch}")
    backbone = dropping_backbone(detector.model)
    if reduction == "drop" and backbone is None:
        raise UsageError("only a plain ViT detector (PlainViTBackbone) can drop patches: use reduction=fill")
    if reduction == "drop" and backbone is not None and backbone.patch != patch:
        raise UsageError(f"patch={patch}: the detector's patches are of {backbone.patch} pixels")
