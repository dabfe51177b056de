"""`coco-`, `voc-`, `nuswide-` and `shapes-multilabel`: which categories an image shows, of kept patches.

Plain ViTs get the kept patches alone (`drop`), any timm model images whose dropped patches are the mean (`fill`),
both with a linear head or an ML-Decoder. Images are squashed to the model's input size, without a crop; selectors
are shown just that, so that their patches and the model's are of the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from pycocotools import mask as rle_tools

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import MetricRow, Row, Sample
from ltrp_bench.tasks.classification import ClassificationTask
from ltrp_bench.tasks.data.annotations import ImageAnnotations
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.data.image_labels import MultiLabelDataset, ObjectLabelDataset, as_multilabel, label_vector
from ltrp_bench.tasks.data.nuswide import NusWideDataset
from ltrp_bench.tasks.data.objects import ObjectDataset
from ltrp_bench.tasks.data.shapes.objects import ShapesDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD, WORLD_SEEDS
from ltrp_bench.tasks.data.single_label import SingleLabelDataset
from ltrp_bench.tasks.data.voc import VocDataset
from ltrp_bench.tasks.metrics.multilabel import SIZE_METRICS, SIZES, MultiLabel, pack
from ltrp_bench.tasks.metrics.summaries import ranking_summary
from ltrp_bench.tasks.models.bundled import shipped_model
from ltrp_bench.tasks.models.vit.loading import TimmModel
from ltrp_bench.tasks.models.vit.multilabel_models import Head, load_multilabel
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split

SHAPES_VIT: Mapping[str, Any] = {
    "image_size": SIZE,
    "patch_size": PATCH,
    "embed_dim": 128,
    "depth": 6,
    "heads": 4,
    "classes": list(CATEGORIES),
    "mean": list(MEAN),
    "std": list(STD),
    "decoder": {"dim": 128, "heads": 4, "hidden": 256},
}
"""The untrained ViT and ML-Decoder of `shapes-multilabel`, in `build_multilabel_vit`'s words."""


class MultiLabelTask(ClassificationTask):
    """A model of several labels, judged on seen and unseen categories.

    How images are prepared, reduced and run is `ClassificationTask`'s.

    Args:
        name: as in the registry.
        source: images and which categories each shows; the categories are the model's outputs, in order.
        split: which of them are seen.
        model: gives a logit for each category.
        reduction: "drop" (plain ViTs only, their default) or "fill".
        patch: pixels along a patch's side, for models that have none of their own; 16 if not given.
        threshold: scores (sigmoids) from here on say "present", for F1; in (0, 1).
        narrow_as: group of the "narrow" categories.
        device: where the model is.
    """

    headline = "mAP"
    row_schema: Mapping[str, str] = {
        "scores": "binary",  # one row an image, in the order of the categories: `multilabel_evaluation.unpack`
        "labels": "binary",
        "sizes": "binary",
    }

    def __init__(
        self,
        name: str,
        source: MultiLabelDataset | ObjectDataset,
        split: CategorySplit,
        model: TimmModel,
        reduction: Literal["drop", "fill"] | None = None,
        patch: int | None = None,
        threshold: float = 0.5,
        narrow_as: Literal["seen", "unseen"] = "seen",
        device: str = "cpu",
    ) -> None:
        if not 0 < threshold < 1:
            raise UsageError(f"{name}: threshold must be in (0, 1), got {threshold}")
        self.labelled = as_multilabel(source)
        boxes = self.labelled.objects
        # Of a labelled source, its single labels alone have no counterpart here, and nothing that is inherited asks
        # for them but `_row`, which is not.
        images = cast(SingleLabelDataset, self.labelled)
        super().__init__(
            name, images, split, model, reduction, patch, narrow_as, device, None if boxes is None else self._region
        )
        self.threshold = threshold
        self._identity["threshold"] = threshold
        self._sizes: dict[int, np.ndarray] = {}

    def annotations_of(self, sample: Sample) -> ImageAnnotations | None:
        """Objects of the whole image, with masks; None where the data set has labels alone."""
        boxes = self.labelled.objects
        return None if boxes is None else boxes.truth(sample.annotations, masks=True)

    def object_masks(self, sample: Sample) -> list[tuple[str, np.ndarray]]:
        """Masks of the objects, cropped like the image."""
        crop = self.model.inputs.crop
        return [
            (category, crop(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))[..., 0] > 127)
            for category, mask in super().object_masks(sample)
        ]

    def image_labels(self, sample: Sample) -> tuple[str, ...]:
        """The image's categories in alphabetical order, where the data set has labels alone."""
        return tuple(sorted(self.labelled.labels(sample.annotations))) if self.labelled.objects is None else ()

    def _region(self, index: int) -> np.ndarray:
        """[h, w] bool: the image's objects, without crowds."""
        truth = cast(ObjectDataset, self.labelled.objects).truth(index, masks=True)
        union = np.zeros((truth.height, truth.width), bool)
        for item in truth.objects:
            if not item.crowd:
                union |= rle_tools.decode(item.rle).astype(bool)
        return union

    def _row(self, sample: Sample, scores: np.ndarray) -> Row:
        """Sigmoids of the logits `scores`, beside what is true."""
        if not np.isfinite(scores).all():
            raise InputError(f"{self.name}: the model gave NaN or infinities on image {sample.image_id!r}")
        index = sample.annotations
        # Two branches of one function: neither overflows.
        small = np.exp(-np.abs(scores.astype(np.float64)))
        sigmoids = np.where(scores >= 0, 1 / (1 + small), small / (1 + small))
        return dict(pack(sigmoids, label_vector(self.labelled, index), self._sizes_of(index)))

    def _sizes_of(self, index: int) -> np.ndarray:
        """[C] uint8, see `MultiLabel.sizes`; crowds count where they make a label, as in the published code."""
        if index not in self._sizes:
            boxes, bits = self.labelled.objects, dict.fromkeys(self.labelled.categories, 0)
            for item in boxes.truth(index).objects if boxes is not None else ():
                if not item.crowd or isinstance(self.labelled, ObjectLabelDataset):
                    bits[item.category] |= 1 << SIZES.index(boxes.size(item.area))  # type: ignore[union-attr]
            self._sizes[index] = np.array(list(bits.values()), np.uint8)
        return self._sizes[index]

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """mAP, precision, recall and F1 of each group, mAP of sizes where objects are known, AP of each category."""
        run = self._run(records)
        out = []
        for group in GROUPS:
            found = run.summary(self._groups[group], with_sizes=self.labelled.objects is not None)
            out += [MetricRow(metric, group, None, value, n) for metric, (value, n) in found.items()]
        for category, value in zip(run.categories, run.average_precisions(), strict=True):
            group = "seen" if category in self._groups["seen"] else "unseen"
            out.append(MetricRow("AP", group, category, float(value), run.count((category,))))
        return out

    def _run(self, records: Mapping[str, list[Row]]) -> MultiLabel:
        """In the order of the data set, so that sums end alike whoever hands the records in."""
        rows: Sequence[Row] = [row for i in sorted(records, key=self.labelled.index) for row in records[i]]
        return MultiLabel.of(rows, self.labelled.categories, self.threshold)

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Scores and labels of every image, for mAP and, where objects are known, mAP of sizes."""
        metrics = ("mAP", *(SIZE_METRICS if self.labelled.objects is not None else ()))
        order = sorted(records, key=self.labelled.index)
        return ranking_summary(order, self._run(records), self._groups, metrics)


def shapes_multilabel(
    images: int = 1000,
    seed: int = WORLD_SEEDS["test"],
    fold: int = 0,
    model: str | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    head: Head | None = None,
    reduction: Literal["drop", "fill"] | None = None,
    patch: int | None = None,
    image_size: Any = None,
    threshold: float = 0.5,
    split: str | Path | None = None,
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> MultiLabelTask:
    """The categories of each image of the built-in world, sixteen in all, half of them seen.

    Args:
        images: how many images.
        seed: of the world.
        fold: which half of the categories is seen, 0 or 1.
        model: a timm name, where the file does not tell.
        model_weights: a model of the sixteen categories; by default one that ships, see `shipped_model`.
        random_weights: seed of an untrained one (a small ViT 96/8 with an ML-Decoder, or `model`).
        head, reduction, patch, image_size, threshold: as in `coco_multilabel`.
        split: a CSV in the place of the fold's.
        limit: only the first so many images.
        narrow_as: group of the narrow categories of such a CSV; the folds have none.
        device: of torch; changes speed alone.
    """
    if model_weights is None and random_weights is None:
        model_weights = shipped_model("multilabel", reduction)
    found = load_multilabel(
        model_weights,
        model,
        random_weights=random_weights,
        classes=len(CATEGORIES),
        head=head,
        image_size=image_size,
        config=SHAPES_VIT,
        device=device,
    )
    source = ShapesDataset(images, seed=seed, limit=limit)
    states = shapes_split(fold) if split is None else load_split(split)
    return MultiLabelTask("shapes-multilabel", source, states, found, reduction, patch, threshold, narrow_as, device)


def coco_multilabel(
    data: str | Path | None = None,
    model: str | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    head: Head | None = None,
    reduction: Literal["drop", "fill"] | None = None,
    patch: int | None = None,
    image_size: Any = None,
    threshold: float = 0.5,
    split: str | Path = "imagenet1k_coco80",
    subset: str = "val2017",
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> MultiLabelTask:
    """The categories of a data set in COCO's format.

    Args:
        data: its folder.
        model: a timm name, where the file does not tell.
        model_weights: a model of the data set's categories, in their order.
        random_weights: seed of an untrained one, for trials; needs `model`.
        head: "ml-decoder" or "linear": of an untrained model, or what the checkpoint must have.
        reduction: "drop" or "fill"; a plain ViT drops by default, other models can only be filled.
        patch: pixels along a patch's side, for models that have none; 16 by default.
        image_size: another input size, one number or [H, W].
        threshold: scores from here on say "present", for precision, recall and F1.
        split: name or CSV of the seen and unseen categories.
        subset: which images of the 2017 layout.
        limit: only the first so many images.
        narrow_as: group of categories that are seen through one kind only.
        device: of torch; changes speed alone.
    """
    source = CocoDataset(data, subset, limit=limit)
    found = _model("coco", source, model, model_weights, random_weights, head, image_size, device)
    states = load_split(split)
    return MultiLabelTask("coco-multilabel", source, states, found, reduction, patch, threshold, narrow_as, device)


def voc_multilabel(
    data: str | Path | None = None,
    model: str | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    head: Head | None = None,
    reduction: Literal["drop", "fill"] | None = None,
    patch: int | None = None,
    image_size: Any = None,
    threshold: float = 0.5,
    split: str | Path = "imagenet1k_voc20",
    subset: str = "val",
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> MultiLabelTask:
    """The twenty classes of a VOC devkit's annotations; of classes with difficult objects only nothing is asked.

    Args:
        data: the devkit's folder, see `VocDataset`.
        subset: a list of ImageSets/Main/ ("test" for VOC2007); without that folder all images are taken.
        model, model_weights, random_weights, head, reduction, patch, image_size: as in `coco_multilabel`.
        threshold, split, limit, narrow_as, device: as there.
    """
    source = VocDataset(data, subset, limit=limit)
    found = _model("voc", source, model, model_weights, random_weights, head, image_size, device)
    states = load_split(split)
    return MultiLabelTask("voc-multilabel", source, states, found, reduction, patch, threshold, narrow_as, device)


def nuswide_multilabel(
    data: str | Path | None = None,
    model: str | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    head: Head | None = None,
    reduction: Literal["drop", "fill"] | None = None,
    patch: int | None = None,
    image_size: Any = None,
    threshold: float = 0.5,
    split: str | Path | None = None,
    subset: str = "test",
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> MultiLabelTask:
    """The 81 concepts of NUS-WIDE. Nobody knows where they are in an image: no sizes, no `oracle`.

    Args:
        data: its folder, see `NusWideDataset`.
        split: name or CSV of the seen and unseen concepts; none ships.
        subset: "test" or "train".
        model, model_weights, random_weights, head, reduction, patch, image_size: as in `coco_multilabel`.
        threshold, limit, narrow_as, device: as there.
    """
    if split is None:
        raise UsageError(
            "nuswide-multilabel: no split of NUS-WIDE's 81 concepts ships: give a CSV of category, state and reason "
            "with --split FILE"
        )
    source = NusWideDataset(data, subset, limit=limit)
    found = _model("nuswide", source, model, model_weights, random_weights, head, image_size, device)
    states = load_split(split)
    return MultiLabelTask("nuswide-multilabel", source, states, found, reduction, patch, threshold, narrow_as, device)


def _model(
    data: str,
    source: MultiLabelDataset | ObjectDataset,
    model: str | None,
    weights: str | Path | None,
    seed: int | None,
    head: Head | None,
    image_size: Any,
    device: str,
) -> TimmModel:
    if weights is None and seed is None:
        raise UsageError(
            f"{data}-multilabel needs a model of the data set's {len(source.categories)} categories: give its "
            "checkpoint with --model-weights (and --model a timm name where the file does not tell), or --task-option "
            "random_weights=SEED for an untrained one"
        )
    return load_multilabel(
        weights,
        model,
        random_weights=seed,
        classes=len(source.categories),
        head=head,
        image_size=image_size,
        device=device,
    )
