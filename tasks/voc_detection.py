"""Detection on VOC, evaluated by both VOC's own average precision of boxes and COCO's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.detections import DetectionsSummary
from ltrp_bench.tasks.base import MetricRow, ReducedInput, ReductionMode, Row, Sample
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.voc import VocDataset
from ltrp_bench.tasks.detection import DetectionTask
from ltrp_bench.tasks.metrics.detection_matches import Matches, voc_match_table
from ltrp_bench.tasks.metrics.voc import Rule, evaluate_voc, voc_matches
from ltrp_bench.tasks.models.detectors.loading import Detector
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs


class VocDetectionTask(DetectionTask):
    """An mmdet detector, evaluated by both VOC's average precision of boxes and COCO's.

    Args:
        name, split, detector, patch, score_threshold, narrow_as, reduction: see `DetectionTask`; classes of the
            detector are named as in VOC, or as in COCO.
        dataset: VOC's images and boxes.
        rule: how VOC's average precision is summed up.
    """

    def __init__(
        self,
        name: str,
        dataset: VocDataset,
        split: CategorySplit,
        detector: Detector,
        *,
        patch: int,
        score_threshold: float = 0.0,
        narrow_as: NarrowAs = "seen",
        reduction: ReductionMode = "fill",
        rule: Rule = "area",
    ) -> None:
        super().__init__(
            name,
            dataset,
            split,
            detector,
            patch=patch,
            score_threshold=score_threshold,
            narrow_as=narrow_as,
            also_called=VOC_NAMES,
            reduction=reduction,
        )
        self.kinds = ("bbox",)  # VOC has no masks of these objects
        self.rule = rule
        self.headline = "voc_AP50" if rule == "area" else "voc_AP50_11points"
        self._identity["rule"] = rule

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row per detection of a category of the data set, best first, without masks."""
        found = super().predict(samples, reductions)
        return [[{**row, "rle": ""} for row in rows] for rows in found]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """VOC's average precision of each group and category, then the metrics of `DetectionTask`."""
        run = evaluate_voc(self._truth(records), records, self.dataset.categories, self.rule)
        out = [
            MetricRow(self.headline, group, None, run.metric(self._groups[group]), run.count(self._groups[group]))
            for group in GROUPS
        ]
        for category in self.dataset.categories:
            value, n = run.precision[category], run.counts[category]
            out.append(MetricRow(self.headline, self._group_of(category), category, value, n))
        return out + super().compute_metrics(records)

    def _summary(self, records: Mapping[str, list[Row]], parts: Sequence[Matches]) -> DetectionsSummary:
        """VOC's matches before COCO's."""
        matches = voc_matches(self._truth(records), records, self.dataset.categories)
        own = voc_match_table(matches, self.dataset.categories, self.headline, self.rule)
        return super()._summary(records, [own, *parts])
