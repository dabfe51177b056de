"""`imagenet-cls` and `shapes-cls`: one label an image, by plain ViTs that get the kept patches alone (`drop`), or by
any classifier of timm on images whose dropped patches are the mean (`fill`).

Patches are those of the image as the model sees it: resized and cropped as timm evaluates these weights. Selectors
are shown that very crop, so that their patches and the model's are of the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.results.schema.rows import GROUPS
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, MetricRow, PatchEdges, ReducedInput, Row, Sample
from ltrp_bench.tasks.data.imagenet import find_labelled
from ltrp_bench.tasks.data.shapes.single_label import ShapesSingleLabelDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD, WORLD_SEEDS
from ltrp_bench.tasks.data.single_label import SingleLabelDataset
from ltrp_bench.tasks.data.synsets import imagenet_classes
from ltrp_bench.tasks.dataset_task import DatasetTask
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, patch_edges
from ltrp_bench.tasks.metrics.summaries import means_summary
from ltrp_bench.tasks.models.bundled import shipped_model
from ltrp_bench.tasks.models.reduction import downsampled_size, fill, patch_grid
from ltrp_bench.tasks.models.vit.loading import PlainViT, TimmModel, load_timm
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept
from ltrp_bench.tasks.splits.split import CategorySplit, load_split, shapes_split

DEFAULT_PATCH = 16
TOP = {"top1": 1, "top5": 5}
"""Metric -> how many of the best classes the true one may be among."""

SHAPES_VIT: Mapping[str, Any] = {
    "image_size": SIZE,
    "patch_size": PATCH,
    "embed_dim": 128,
    "depth": 6,
    "heads": 4,
    "classes": list(CATEGORIES),
    "fc_norm": True,
    "mean": list(MEAN),
    "std": list(STD),
    "crop_pct": 1.0,
}
"""The untrained ViT of `shapes-cls`, in `build_vit`'s words."""


class ClassificationTask(DatasetTask[SingleLabelDataset]):
    """A classifier judged on seen and unseen classes.

    Args:
        name: as in the registry.
        source: images and labels; its categories are the classifier's outputs, in order.
        split: which of them are seen.
        model: the classifier, in evaluation mode.
        reduction: "drop" (plain ViTs only, their default) or "fill".
        patch: pixels along a patch's side, for models that have none of their own; 16 if not given.
        narrow_as: group of the "narrow" categories.
        device: where the model is.
        regions: position of an image -> [h, w] bool, its labelled object, for the oracle; None where nobody knows.
    """

    headline = "top1"
    row_schema: Mapping[str, str] = {
        "label": "int64",  # into the data set's categories
        "predicted": "int64",
        "rank": "int64",  # of the true class: how many others stand before it
    }

    def __init__(
        self,
        name: str,
        source: SingleLabelDataset,
        split: CategorySplit,
        model: TimmModel,
        reduction: Literal["drop", "fill"] | None = None,
        patch: int | None = None,
        narrow_as: Literal["seen", "unseen"] = "seen",
        device: str = "cpu",
        regions: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        super().__init__(name, source, split, source.categories, narrow_as)
        _check_outputs(name, source, model)
        self.model = model
        self.reduction = _reduction(model, reduction)
        self.patch = _patch(model, patch)
        self.supports_downsample = model.any_size
        self._device, self._regions = device, regions
        self._grid = patch_grid(*model.inputs.size, self.patch)
        self._identity |= {"model": model.identity, "patch": self.patch}

    def load(self, index: int) -> Sample:
        """The image at the model's size, cropped as the model is evaluated; its annotation is its position."""
        return Sample(self.image_id(index), self.model.inputs.crop(self.source.pixels(index)), index)

    def grid(self, sample: Sample) -> tuple[int, int]:
        """The model's, the same for every image."""
        return self._grid

    def patch_edges(self, sample: Sample) -> PatchEdges:
        """Edges of the patches; the last row and column may be cut off by the image's border."""
        height, width = sample.image.shape[:2]
        return patch_edges(height, height, self.patch), patch_edges(width, width, self.patch)

    def image_labels(self, sample: Sample) -> tuple[str, ...]:
        """The image's class."""
        return (self.source.categories[self.source.label(sample.annotations)],)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32: share of each patch that the labelled object covers."""
        if self._regions is None:
            raise UsageError(f"{self.name}: nobody has marked where the labelled objects are: leave out 'oracle'")
        mask = self._regions(sample.annotations).astype(np.uint8) * 255
        # The same way as the image, so that they stay on each other.
        share = self.model.inputs.crop(np.repeat(mask[..., None], 3, axis=2))[..., 0] / 255
        edges = [patch_edges(side, side, self.patch) for side in share.shape]
        return covered_share(share, edges[0], edges[1])

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row an image. Images that keep as many patches go through the model together."""
        together: dict[Any, list[int]] = {}
        for i, reduction in enumerate(reductions):
            if isinstance(reduction, Downsample):
                kind: Any = reduction
            elif reduction.mask.shape != self._grid:
                raise InputError(
                    f"{self.name}: a selection of {reduction.mask.shape} patches, the grid is {self._grid}"
                )
            else:
                kind = int(reduction.mask.sum()) if self.reduction == "drop" else "fill"
            together.setdefault(kind, []).append(i)
        rows: dict[int, list[Row]] = {}
        for kind, batch in together.items():
            logits = self._logits(kind, [samples[i] for i in batch], [reductions[i] for i in batch])
            for i, scores in zip(batch, logits.float().cpu().numpy(), strict=True):
                rows[i] = [self._row(samples[i], scores)]
        return [rows[i] for i in range(len(samples))]

    @torch.inference_mode()
    def _logits(self, kind: Any, samples: Sequence[Sample], reductions: Sequence[Any]) -> Tensor:
        """[B, classes] of images that are reduced to the same size."""
        inputs, indices = self.model.inputs, None
        contents = [sample.image for sample in samples]
        if isinstance(kind, Downsample):
            size = self._smaller(kind.keep_ratio)
            contents = [inputs.shrink(content, size) for content in contents]
        elif kind == "fill":
            masks = [reduction.mask for reduction in reductions]
            pairs = zip(contents, masks, strict=True)
            contents = [fill(content, mask, self.patch, inputs.mean_pixel) for content, mask in pairs]
        else:
            kept = np.stack([np.flatnonzero(reduction.mask) for reduction in reductions])
            indices = torch.from_numpy(kept).to(self._device)
        images = inputs.normalize(contents, self._device)
        if isinstance(self.model, PlainViT):
            return forward_kept(self.model.vit, images, indices)
        return cast(Tensor, self.model.net(images))

    def _smaller(self, keep_ratio: float) -> tuple[int, int]:
        """(h, w) of the image with that share of its pixels: whole patches for a ViT."""
        if not isinstance(self.model, PlainViT):
            return downsampled_size(*self.model.inputs.size, keep_ratio)
        rows, columns = downsampled_size(*self._grid, keep_ratio)
        return rows * self.patch, columns * self.patch

    def _row(self, sample: Sample, scores: np.ndarray) -> Row:
        if not np.isfinite(scores).all():
            raise InputError(f"{self.name}: the classifier gave NaN or infinities on image {sample.image_id!r}")
        label = self.source.label(sample.annotations)
        # Equal scores: the class that comes first stands first, so that rank 0 is just what is predicted.
        before = (scores > scores[label]).sum() + (scores[:label] == scores[label]).sum()
        return {"label": label, "predicted": int(scores.argmax()), "rank": int(before)}

    def compute_metrics(self, records: Mapping[str, list[Row]]) -> list[MetricRow]:
        """Top-1 and top-5 accuracy over the images of each group, and of each class that has any."""
        rows = [row for image in records.values() for row in image]
        labels = np.array([row["label"] for row in rows], dtype=np.int64)
        ranks = np.array([row["rank"] for row in rows], dtype=np.int64)
        names = self.source.categories
        inside = {
            group: np.isin(labels, [i for i, c in enumerate(names) if c in self._groups[group]]) for group in GROUPS
        }
        out = []
        for metric, most in TOP.items():
            right = ranks < most
            out += [MetricRow(metric, group, None, *_mean(right[inside[group]])) for group in GROUPS]
            for i in np.unique(labels):
                group = "seen" if names[i] in self._groups["seen"] else "unseen"
                out.append(MetricRow(metric, group, names[i], *_mean(right[labels == i])))
        return out

    def resampling_summary(self, records: Mapping[str, list[Row]]) -> ResamplingSummary:
        """Means over images of whether the class is among the best one and the best five."""
        rows = [row for image in records.values() for row in image]
        names = self.source.categories
        ranks = np.array([row["rank"] for row in rows], dtype=np.int64)
        values = {metric: (ranks < most).astype(np.float64) for metric, most in TOP.items()}
        return means_summary(records, names, self._groups, [names[row["label"]] for row in rows], values)


def _mean(values: np.ndarray) -> tuple[float, int]:
    """(mean, count); NaN of nothing."""
    return (float(values.mean()) if len(values) else float("nan")), len(values)


def _check_outputs(name: str, source: SingleLabelDataset, model: TimmModel) -> None:
    classes = len(source.categories)
    if len(set(source.categories)) != classes:
        raise InputError(f"{name}: two categories of the data set have one name")
    if model.classes != classes:
        what = f"has {model.classes} outputs" if model.classes else "has no classifier"
        raise InputError(f"{name}: the model {what}, the data set {classes} classes: wrong model for this data set")
    if model.class_names is not None and model.class_names != source.categories:
        raise InputError(
            f"{name}: the model's classes are {', '.join(model.class_names[:3])}, …; the data set's are "
            f"{', '.join(source.categories[:3])}, …, and both must be in the same order"
        )


def _reduction(model: TimmModel, wanted: str | None) -> Literal["drop", "fill"]:
    plain = isinstance(model, PlainViT)
    if wanted not in (None, "drop", "fill"):
        raise UsageError(f"reduction must be drop or fill, got {wanted!r}")
    if wanted == "drop" and not plain:
        raise UsageError(f"only a plain ViT can drop patches, and this is a {type(model.net).__name__}: reduction=fill")
    return cast(Literal["drop", "fill"], wanted or ("drop" if plain else "fill"))


def _patch(model: TimmModel, wanted: int | None) -> int:
    own = model.patch if isinstance(model, PlainViT) else None
    if wanted is not None and (wanted < 1 or own not in (None, wanted)):
        raise UsageError(f"patch={wanted}: " + (f"the model's patches are of {own} pixels" if own else "at least 1"))
    return own or wanted or DEFAULT_PATCH


def shapes_cls(
    images: int = 1000,
    seed: int = WORLD_SEEDS["test"],
    fold: int = 0,
    model: str | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Literal["drop", "fill"] | None = None,
    patch: int | None = None,
    image_size: Any = None,
    crop_pct: float = 1.0,
    split: str | Path | None = None,
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> ClassificationTask:
    """The one object of each image of the built-in world, out of sixteen categories, half of them seen.

    Args:
        images: how many images.
        seed: of the world.
        fold: which half of the categories is seen, 0 or 1.
        model: a timm name, where the file does not tell.
        model_weights: a classifier of the sixteen categories; by default one that ships, see `shipped_model`.
        random_weights: seed of an untrained one (a small ViT 96/8, or `model`).
        reduction: "drop" or "fill"; a plain ViT drops by default.
        patch, image_size, crop_pct: as in `imagenet_cls`.
        split: a CSV in the place of the fold's.
        limit: only the first so many images.
        narrow_as: group of the narrow categories of such a CSV; the folds have none.
        device: of torch; changes speed alone.
    """
    if model_weights is None and random_weights is None:
        model_weights = shipped_model("classifier", reduction)
    classes = len(CATEGORIES)
    given = {"image_size": image_size, "crop_pct": crop_pct, "classes": classes, "device": device}
    found = load_timm(model_weights, model, random_weights=random_weights, config=SHAPES_VIT, **given)
    source = ShapesSingleLabelDataset(images, seed=seed, limit=limit)
    states = shapes_split(fold) if split is None else load_split(split)
    return ClassificationTask("shapes-cls", source, states, found, reduction, patch, narrow_as, device, source.mask)


def imagenet_cls(
    data: str | Path | None = None,
    model: str | None = None,
    model_weights: str | Path | None = None,
    random_weights: int | None = None,
    reduction: Literal["drop", "fill"] | None = None,
    patch: int | None = None,
    image_size: Any = None,
    crop_pct: float | None = None,
    split: str | Path | None = None,
    subset: str = "val",
    labels: str | Path | None = None,
    limit: int | None = None,
    narrow_as: Literal["seen", "unseen"] = "seen",
    device: str = "cpu",
) -> ClassificationTask:
    """Classification of ImageNet-1K, or of a folder of class folders, by any classifier of timm.

    Args:
        data: the data set's folder, see `tasks.data.imagenet`.
        model: a timm name, where the file does not tell (its metadata, its name, or the shapes of a plain ViT).
        model_weights: its checkpoint.
        random_weights: seed of an untrained one, for trials; needs `model`.
        reduction: "drop" or "fill"; a plain ViT drops by default, other models can only be filled.
        patch: pixels along a patch's side, for models that have none; 16 by default.
        image_size: another input size, one number or [H, W].
        crop_pct: another share of the resized image's side that is cropped.
        split: name or CSV of the seen and unseen classes; by default every class of ImageNet-1K is seen.
        subset: the folder of the images.
        labels: the map of a flat folder.
        limit: only the first so many images.
        narrow_as: group of classes that are seen through one kind only.
        device: of torch; changes speed alone.
    """
    source = find_labelled(data, subset, labels, limit=limit)
    given = {"image_size": image_size, "crop_pct": crop_pct, "classes": len(source.categories), "device": device}
    found = load_timm(model_weights, model, random_weights=random_weights, **given)
    states = _imagenet_split(source) if split is None else load_split(split)
    return ClassificationTask("imagenet-cls", source, states, found, reduction, patch, narrow_as, device)


def _imagenet_split(source: SingleLabelDataset) -> CategorySplit:
    """Selectors taught with ImageNet-1K have seen all of its classes."""
    if source.categories != tuple(imagenet_classes().values()):
        raise UsageError(
            "these are not ImageNet-1K's classes, so which of them are seen is not known: give --split FILE"
        )
    return CategorySplit("imagenet1k", dict.fromkeys(source.categories, "seen"))
