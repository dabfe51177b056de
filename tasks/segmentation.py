"""`shapes-`, `voc-`, `ade20k-`, `context-` and `cocostuff-seg`: a class for every pixel, of kept patches.

Plain ViTs (linear head or Segmenter's) get the kept patches alone (`drop`); any segmentor of mmseg gets images
whose dropped patches are the mean (`fill`). Patches are those of the image as the model's own resize leaves it;
predictions are judged at the image's own size. Every pixel counts, of kept patches as of dropped ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, MetricRow, PatchEdges, ReducedInput, Row, Sample
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.data.mask_folders import find_ade20k, find_context, find_stuff, find_voc
from ltrp_bench.tasks.data.semantic import BACKGROUND, MaskSemanticDataset, SemanticDataset
from ltrp_bench.tasks.data.shapes.semantic import ShapesSemanticDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD, WORLD_SEEDS
from ltrp_bench.tasks.dataset_task import DatasetTask
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, patch_areas, patch_edges, segment_worth
from ltrp_bench.tasks.metrics.segmentation import Confusion, confusion_rows
from ltrp_bench.tasks.metrics.summaries import confusion_summary
from ltrp_bench.tasks.models.bundled import shipped_model
from ltrp_bench.tasks.models.segmentors.classes import matched
from ltrp_bench.tasks.models.segmentors.loading import load_mmseg, load_plain
from ltrp_bench.tasks.models.segmentors.running import MMSegRunner, PlainRunner, SegmentorImage, SegmentorRunner
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split

DEFAULT_PATCH = 16
CALLED_SEEN = "unseen_called_seen"

Narrow = Literal["seen", "unseen"]
Way = Literal["drop", "fill"]

SHAPES_VIT: Mapping[str, Any] = {
    "image_size": SIZE,
    "patch_size": PATCH,
    "embed_dim": 128,
    "depth": 4,
    "heads": 4,
    "classes": [BACKGROUND, *CATEGORIES],
    "mean": list(MEAN),
    "std": list(STD),
    "segmentor": {"head": "linear", "cells": 4},
}
"""The untrained segmentor of `shapes-seg`, in `build_segmentor`'s words."""

PHOTO_VIT: Mapping[str, Any] = {
    "image_size": 224,
    "patch_size": 16,
    "embed_dim": 192,
    "depth": 12,
    "heads": 3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "segmentor": {"head": "linear", "cells": 1},
}
"""The untrained plain ViT of the others, a ViT-Tiny/16, but for its classes."""


@dataclass(frozen=True)
class DisplayImage:
    """What a sample of a segmentation task carries: its position and the image as the segmentor resizes it."""

    index: int
    prepared: SegmentorImage


class SegmentationTask(DatasetTask[SemanticDataset]):
    """A segmentor judged on seen and unseen classes.

    Args:
        name: as in the registry.
        source: images and class maps.
        split: which of its categories are seen; background, where it is a class, is none of them.
        runner: the model.
        narrow_as: group of the "narrow" categories.
    """

    headline = "mIoU"
    supports_downsample = True
    row_schema: Mapping[str, str] = {"true": "string", "predicted": "string", "pixels": "int64"}

    def __init__(
        self,
        name: str,
        source: SemanticDataset,
        split: CategorySplit,
        runner: SegmentorRunner,
        narrow_as: Narrow = "seen",
    ) -> None:
        if runner.patch < 1:
            raise UsageError(f"patch must be at least 1 pixel, got {runner.patch}")
        categories = tuple(c for c in source.classes if c != BACKGROUND)
        model: dict[str, Any] = {"model": runner.identity, "patch": runner.patch}
        super().__init__(name, source, split, categories, narrow_as, **model)
        self.runner = runner
        groups = {group: chosen & set(categories) for group, chosen in self._groups.items()}
        # As the benchmarks measure it: background is a class like others, but neither seen nor unseen.
        self._groups = {**groups, "all": frozenset(source.classes)}
        self._outputs = matched(name, runner, source.classes)
        self.reduction = runner.reduction

    def load(self, index: int) -> Sample:
        """The image, and as the segmentor resizes it."""
        prepared = self.runner.prepare(self.source.pixels(index))
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
        return self.source.objects.truth(sample.annotations.index, masks=True)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32: share of each patch that objects cover; where everything is labelled, `segment_worth`."""
        image: DisplayImage = sample.annotations
        truth = self.source.objects.truth(image.index, masks=True)
        masks = [rle_tools.decode(item.rle) for item in truth.objects if not item.crowd]
        sides = zip((truth.height, truth.width), image.prepared.content.shape[:2], strict=True)
        rows, columns = (patch_edges(own, content, self.runner.patch) for own, content in sides)
        if BACKGROUND in self.source.classes:
            union = np.zeros((truth.height, truth.width), np.uint8)
            for mask in masks:
                union |= mask
            return covered_share(union, rows, columns)
        areas = [patch_areas(mask, rows, columns) for mask in masks]
        return segment_worth(np.array(areas).reshape(-1, len(rows) - 1, len(columns) - 1))

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """Each image's confusion matrix, a row an entry."""
        for sample, reduction in zip(samples, reductions, strict=True):
            if not isinstance(reduction, Downsample) and reduction.mask.shape != self.grid(sample):
                raise InputError(
                    f"{self.name}: a selection of {reduction.mask.shape} patches, the grid is {self.grid(sample)}"
                )
        found = self.runner.predict([sample.annotations.prepared for sample in samples], reductions)
        return [self._rows(sample.annotations.index, one) for sample, one in zip(samples, found, strict=True)]

    def _rows(self, index: int, outputs: np.ndarray) -> list[Row]:
        truth = self.source.semantic(index)
        return list(confusion_rows(truth, self._outputs[outputs], self.source.classes))

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """mIoU, mAcc and aAcc of each group, IoU and accuracy of each class, unseen pixels that are called seen."""
        run = Confusion.of(records.values(), self.source.classes)
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
        return confusion_summary(records, self.source.classes, self._groups, metrics)


def shapes_seg(
    images: int = 1000,
    seed: int = WORLD_SEEDS["test"],
    fold: int = 0,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Way = "drop",
    split: str | Path | None = None,
    limit: int | None = None,
    narrow_as: Narrow = "seen",
    device: str = "cpu",
) -> SegmentationTask:
    """Segmentation of the built-in world into background and sixteen categories, by a small plain ViT.

    Args:
        images: how many images.
        seed: of the world.
        fold: which half of the categories is seen, 0 or 1.
        model_weights: another segmentor; by default one that ships, see `shipped_model`.
        random_weights: seed of an untrained one.
        reduction: "drop" or "fill".
        split: a CSV in the place of the fold's.
        limit: only the first so many images.
        narrow_as: group of the narrow categories of such a CSV; the folds have none.
        device: of torch; changes speed alone.
    """
    if model_weights is None and random_weights is None:
        model_weights = shipped_model("segmentor", reduction)
    runner = _plain(model_weights, SHAPES_VIT, random_weights, reduction, device)
    states = shapes_split(fold) if split is None else load_split(split)
    dataset = ShapesSemanticDataset(images, seed=seed, limit=limit)
    return SegmentationTask("shapes-seg", dataset, states, runner, narrow_as)


def voc_seg(
    data: str | Path | None = None,
    model: str | Path | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Way | None = None,
    patch: int | None = None,
    split: str | Path = "imagenet1k_voc20",
    subset: str = "val",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
    device: str = "cpu",
) -> SegmentationTask:
    """Segmentation of VOC into background and twenty categories.

    Args:
        data: the devkit's folder, see `find_voc`.
        model: name of a config that mmseg brings, or a file; without it `model_weights` are a plain ViT's.
        model_weights: the checkpoint, see `load_plain` and `load_mmseg`.
        random_weights: seed of an untrained one, for trials; without `model` a ViT-Tiny with a linear head.
        reduction: "drop" (plain ViTs only, their default) or "fill".
        patch: pixels along a patch's side on the resized image, for models of mmseg; 16 if not given.
        split: name or CSV of the seen and unseen categories.
        subset: a list of ImageSets/Segmentation/; without that folder all masks are taken.
        limit: only the first so many images.
        narrow_as: group of categories that are seen through one kind only.
        device: of torch; changes speed alone.
    """
    source = MaskSemanticDataset(find_voc(data, subset), limit=limit, background=0)
    runner = _runner(source, model, model_weights, random_weights, reduction, patch, device)
    return SegmentationTask("voc-seg", source, load_split(split), runner, narrow_as)


def context_seg(
    data: str | Path | None = None,
    model: str | Path | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Way | None = None,
    patch: int | None = None,
    split: str | Path = "imagenet1k_context59",
    subset: str = "val",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
    device: str = "cpu",
) -> SegmentationTask:
    """Segmentation of Pascal-Context's 59 categories; background is nobody's.

    Args:
        data: the devkit's folder, see `find_context`.
        subset: a list of ImageSets/SegmentationContext/; without that folder all masks are taken.
        model, model_weights, random_weights, reduction, patch, split, limit, narrow_as, device: as in `voc_seg`.
    """
    source = MaskSemanticDataset(find_context(data, subset), limit=limit)
    runner = _runner(source, model, model_weights, random_weights, reduction, patch, device)
    return SegmentationTask("context-seg", source, load_split(split), runner, narrow_as)


def ade20k_seg(
    data: str | Path | None = None,
    model: str | Path | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Way | None = None,
    patch: int | None = None,
    split: str | Path = "imagenet1k_ade20k",
    subset: str = "validation",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
    device: str = "cpu",
) -> SegmentationTask:
    """Segmentation of ADE20K's 150 categories.

    Args:
        data: its folder, see `find_ade20k`.
        subset: "validation" or "training".
        model, model_weights, random_weights, reduction, patch, split, limit, narrow_as, device: as in `voc_seg`.
    """
    source = MaskSemanticDataset(find_ade20k(data, subset), limit=limit)
    runner = _runner(source, model, model_weights, random_weights, reduction, patch, device)
    return SegmentationTask("ade20k-seg", source, load_split(split), runner, narrow_as)


def cocostuff_seg(
    data: str | Path | None = None,
    model: str | Path | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Way | None = None,
    patch: int | None = None,
    split: str | Path | None = None,
    subset: str = "val2017",
    limit: int | None = None,
    narrow_as: Narrow = "seen",
    device: str = "cpu",
) -> SegmentationTask:
    """Segmentation of COCO's things and stuff.

    Args:
        data: its folder, in one of the layouts of `find_stuff`.
        split: name or CSV; by default ImageNet-1K against the layout's own classes.
        subset: which images of the COCO-Stuff layout.
        model, model_weights, random_weights, reduction, patch, limit, narrow_as, device: as in `voc_seg`.
    """
    folder = find_stuff(data, subset)
    source = MaskSemanticDataset(folder, limit=limit)
    runner = _runner(source, model, model_weights, random_weights, reduction, patch, device)
    return SegmentationTask("cocostuff-seg", source, load_split(split or folder.split), runner, narrow_as)


def _runner(
    source: SemanticDataset,
    model: str | Path | None,
    weights: str | Path | None,
    random_weights: int | None,
    reduction: Way | None,
    patch: int | None,
    device: str,
) -> SegmentorRunner:
    if model is None:
        if patch is not None:
            raise UsageError(f"patch={patch}: a plain ViT has patches of its own")
        untrained = {**PHOTO_VIT, "classes": list(source.classes)}
        return _plain(weights, untrained, random_weights, reduction or "drop", device)
    if reduction == "drop":
        raise UsageError("only a plain ViT can drop patches, and mmseg's models cannot: reduction=fill")
    found = load_mmseg(model, weights, random_weights=random_weights, device=device)
    return MMSegRunner(found, DEFAULT_PATCH if patch is None else patch)


def _plain(
    weights: str | Path | None, untrained: Mapping[str, Any], seed: int | None, reduction: Way, device: str
) -> PlainRunner:
    if reduction not in ("drop", "fill"):
        raise UsageError(f"reduction must be drop or fill, got {reduction!r}")
    return PlainRunner(
        load_plain(weights, config=untrained, random_weights=seed, device=device), reduction=reduction, device=device
    )
