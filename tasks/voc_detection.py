"""`voc-det`: a detector judged as VOC judges, by its own average precision of boxes beside COCO's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.detections import DetectionsSummary
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.base import MetricRow, ReducedInput, Row, Sample
from ltrp_bench.tasks.data.class_lists import VOC_NAMES
from ltrp_bench.tasks.data.voc import VocDataset
from ltrp_bench.tasks.detection import DetectionTask, Way
from ltrp_bench.tasks.metrics.detection_matches import Matches, voc_match_table
from ltrp_bench.tasks.metrics.voc import Rule, evaluate_voc, voc_matches
from ltrp_bench.tasks.models.detectors.loading import Detector, load_detector
from ltrp_bench.tasks.splits.split import CategorySplit, load_split


class VocDetectionTask(DetectionTask):
    """A detector judged as VOC judges: its own average precision beside COCO's, of boxes alone.

    Args:
        name: as in the registry.
        source: VOC's images and boxes.
        split: which of its categories are seen.
        detector: the model; its classes are called as VOC calls them, or as COCO does.
        patch: pixels along a patch's side, on the resized image.
        rule: of VOC's average precision.
        score_threshold: detections below are dropped.
        narrow_as: group of the "narrow" categories.
    """

    def __init__(
        self,
        name: str,
        source: VocDataset,
        split: CategorySplit,
        detector: Detector,
        patch: int,
        rule: Rule = "area",
        score_threshold: float = 0.0,
        narrow_as: Literal["seen", "unseen"] = "seen",
        reduction: Way = "fill",
    ) -> None:
        if rule not in get_args(Rule):
            raise UsageError(f"rule must be {' or '.join(get_args(Rule))}, got {rule!r}")
        super().__init__(name, source, split, detector, patch, score_threshold, narrow_as, VOC_NAMES, reduction)
        self.kinds = ("bbox",)  # VOC has no masks of these objects
        self.rule = rule
        self.headline = "voc_AP50" if rule == "area" else "voc_AP50_11points"
        self._identity["rule"] = rule

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row per detection of a category of the data set, best first, without masks."""
        found = super().predict(samples, reductions)
        return [[{**row, "rle": ""} for row in rows] for rows in found]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """VOC's average precision of each group and category, then COCO's numbers as of `DetectionTask`."""
        run = evaluate_voc(self._truth(records), records, self.source.categories, self.rule)
        out = [
            MetricRow(self.headline, group, None, run.metric(self._groups[group]), run.count(self._groups[group]))
            for group in GROUPS
        ]
        for category in self.source.categories:
            group = "seen" if category in self._groups["seen"] else "unseen"
            out.append(MetricRow(self.headline, group, category, run.precision[category], run.counts[category]))
        return out + super().compute_metrics(records)

    def _summary(self, records: Mapping[str, list[Row]], parts: Sequence[Matches]) -> DetectionsSummary:
        """VOC's matches before COCO's."""
        matches = voc_matches(self._truth(records), records, self.source.categories)
        own = voc_match_table(matches, self.source.categories, self.headline, self.rule)
        return super()._summary(records, [own, *parts])


def voc_det(
    data: str | Path | None = None,
    model: str | Path | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Way = "fill",
    patch: int = 16,
    rule: Rule = "area",
    score_threshold: float = 0.0,
    split: str | Path = "imagenet1k_voc20",
    subset: str = "val",
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> VocDetectionTask:
    """Detection on VOC2007 or VOC2012 by any mmdet detector of its twenty classes or of COCO's eighty.

    Args:
        data: the devkit's folder, see `VocDataset`.
        model: name of a config that mmdet brings, or a file.
        model_weights: its checkpoint.
        random_weights: seed of an untrained one, for trials.
        reduction: "fill", or "drop" for configs with a `PlainViTBackbone`.
        patch: pixels along a patch's side, on the resized image.
        rule: of VOC's average precision, "area" (2010 and later) or "11points" (2007).
        score_threshold: detections below are dropped.
        split: name or CSV of the seen and unseen categories.
        subset: a list of ImageSets/Main/; without that folder all annotated images are taken.
        limit: only the first so many images.
        narrow_as: group of categories that are seen through one kind only.
        device: of torch; changes speed alone.
    """
    if model is None:
        raise UsageError(
            "voc-det needs a detector: --model an mmdet config's name or file, and --model-weights its checkpoint"
        )
    source = VocDataset(data, subset, limit=limit)
    detector = load_detector(model, model_weights, random_weights=random_weights, device=device)
    states = load_split(split)
    return VocDetectionTask(
        "voc-det", source, states, detector, patch, rule, score_threshold, narrow_as, reduction=reduction
    )
