"""Base class of tasks that run a timm model on whole images.

Plain ViTs are given the kept patches alone (`drop`), or any model images whose dropped patches are filled with the mean
(`fill`).

Patches are those of the model's input: the image resized and cropped as the model's weights are evaluated. Selectors
are given the same crop, so that their patches and the model's cover the same pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep, PatchEdges, ReducedInput, ReductionMode, Row, Sample
from ltrp_bench.tasks.data.base import ImageDataset
from ltrp_bench.tasks.data.synsets import imagenet_classes
from ltrp_bench.tasks.dataset_task import D, DatasetTask
from ltrp_bench.tasks.imagenet_order import match_imagenet
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, patch_edges
from ltrp_bench.tasks.models.class_order import match_outputs, order_assumed
from ltrp_bench.tasks.models.reduction import downsampled_size, fill, patch_grid
from ltrp_bench.tasks.models.vit.loading import PlainViT, TimmModel
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept
from ltrp_bench.tasks.splits.split import CategorySplit, NarrowAs

DEFAULT_PATCH = 16
"""Patch size in pixels for models that do not use patches themselves."""


class TimmTask(DatasetTask[D]):
    """A timm model, evaluated on seen and unseen categories. Subclasses turn logits into rows and rows into metrics.

    Args:
        name: as in the registry.
        dataset: the images; its categories are the model's outputs, in order.
        split: which categories are seen.
        model: the model, in evaluation mode.
        reduction: "drop" (plain ViTs only, their default) or "fill".
        patch: patch size in pixels, for models that do not use patches themselves; default 16.
        narrow_as: group of the "narrow" categories.

    Raises:
        InputError: if the model's outputs are not the data set's categories. UsageError: if the model cannot be
            reduced in this way, or has patches of another size.
    """

    def __init__(
        self,
        name: str,
        dataset: D,
        split: CategorySplit,
        model: TimmModel,
        *,
        reduction: ReductionMode | None = None,
        patch: int | None = None,
        narrow_as: NarrowAs = "seen",
    ) -> None:
        super().__init__(name, dataset, split, narrow_as=narrow_as)
        self._order, named = output_order(name, dataset, model)
        self.model = model
        order = () if named else (order_assumed(dataset.categories),)
        self.assumptions = (*self.assumptions, *model.assumptions, *order)
        self.reduction = _reduction(model, reduction)
        self.patch = _patch(model, patch)
        self.supports_downsample = model.any_size
        self._device = next(model.net.parameters()).device
        self._grid = patch_grid(*model.inputs.size, self.patch)
        self._identity |= {"model": model.identity, "patch": self.patch}
        if self._order is not None:
            self._identity["outputs"] = self._order.tolist()

    @abstractmethod
    def _row(self, sample: Sample, logits: np.ndarray) -> Row:
        """The row of an image from its logits [C], which are finite."""

    def _object_mask(self, index: int) -> np.ndarray | None:
        """[h, w] bool mask of the objects of the image at `index`; None where objects are not localized."""
        return None

    def load(self, index: int) -> Sample:
        """The image at the model's size, cropped as the model is evaluated; its annotation is its position."""
        return Sample(self.image_id(index), self.model.inputs.crop(self.dataset.pixels(index)), index)

    def grid(self, sample: Sample) -> tuple[int, int]:
        """The model's grid, the same for every image."""
        return self._grid

    def patch_edges(self, sample: Sample) -> PatchEdges:
        """Edges of the patches; the last row and column may be cut off by the image's border."""
        height, width = sample.image.shape[:2]
        return patch_edges(height, height, self.patch), patch_edges(width, width, self.patch)

    def oracle_scores(self, sample: Sample) -> np.ndarray:
        """[gh, gw] float32: share of each patch that the labelled objects cover.

        Raises:
            UsageError: if the data set does not localize them.
        """
        mask = self._object_mask(sample.annotations)
        if mask is None:
            raise UsageError(f"{self.name}: the labelled objects are not localized: leave out 'oracle'")
        # Cropped like the image, so that the mask stays aligned with it.
        share = self.model.inputs.crop(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))[..., 0] / 255
        edges = [patch_edges(side, side, self.patch) for side in share.shape]
        return covered_share(share, edges[0], edges[1])

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """One row an image. Images that keep equally many patches go through the model as one batch."""
        batches: dict[Any, list[int]] = {}
        for i, reduction in enumerate(reductions):
            self._check_grid(reduction, self._grid)
            if isinstance(reduction, Downsample):
                kind: Any = reduction
            else:
                kind = int(reduction.mask.sum()) if self.reduction == "drop" else "fill"
            batches.setdefault(kind, []).append(i)
        rows: dict[int, list[Row]] = {}
        for kind, batch in batches.items():
            logits = self._logits(kind, [samples[i] for i in batch], [reductions[i] for i in batch])
            found = logits.float().cpu().numpy()
            for i, one in zip(batch, found if self._order is None else found[:, self._order], strict=True):
                if not np.isfinite(one).all():
                    raise InputError(
                        f"{self.name}: the model returned NaN or infinite values for image {samples[i].image_id!r}"
                    )
                rows[i] = [self._row(samples[i], one)]
        return [rows[i] for i in range(len(samples))]

    def model_runner(self, samples: Sequence[Sample]) -> Callable[[Sequence[ReducedInput]], object]:
        """See `Task.model_runner`. Where patches are dropped, images are normalized (and downsampled) beforehand."""
        if self.reduction != "drop" or not isinstance(self.model, PlainViT):
            return super().model_runner(samples)
        inputs, vit = self.model.inputs, self.model.vit
        contents = [sample.image for sample in samples]
        images = inputs.normalize(contents, self._device)
        smaller: dict[tuple[int, int], Tensor] = {}

        @torch.inference_mode()
        def run(reductions: Sequence[ReducedInput]) -> Tensor:
            first = reductions[0]
            if isinstance(first, Downsample):
                size = self._smaller(first.keep_ratio)
                if size not in smaller:
                    smaller[size] = inputs.normalize([inputs.shrink(one, size) for one in contents], self._device)
                return forward_kept(vit, smaller[size])
            if first.mask.all():
                return vit(images)
            kept = np.stack([np.flatnonzero(one.mask) for one in reductions if isinstance(one, Keep)])
            return forward_kept(vit, images, torch.from_numpy(kept).to(self._device))

        return run

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
        """(h, w) of the image downsampled to that share of its pixels; whole patches for a ViT."""
        if not isinstance(self.model, PlainViT):
            return downsampled_size(*self.model.inputs.size, keep_ratio)
        rows, columns = downsampled_size(*self._grid, keep_ratio)
        return rows * self.patch, columns * self.patch


def output_order(name: str, dataset: ImageDataset, model: TimmModel) -> tuple[np.ndarray | None, bool]:
    """Output of each category, None for the same order; and whether it is known rather than assumed."""
    categories = dataset.categories
    if len(set(categories)) != len(categories):
        raise InputError(f"{name}: two categories of the data set have one name")
    if model.classes != len(categories):
        what = f"has {model.classes} outputs" if model.classes else "has no classifier"
        raise InputError(
            f"{name}: the model {what}, the data set {len(categories)} classes: wrong model for this data set"
        )
    # Models of ImageNet-1K have its classes in one order, under names that differ, unless these say otherwise.
    imagenet = categories == tuple(imagenet_classes().values())
    if model.class_names is None:
        return None, imagenet
    match = match_imagenet if imagenet else partial(match_outputs, classes=categories)
    matched = match(name, model.class_names)
    if matched is None:
        return None, False
    order = np.argsort(matched)
    return (None if (order == np.arange(len(order))).all() else order), True


def _reduction(model: TimmModel, wanted: ReductionMode | None) -> ReductionMode:
    plain = isinstance(model, PlainViT)
    if wanted == "drop" and not plain:
        raise UsageError(f"a {type(model.net).__name__} cannot drop patches, only a plain ViT can: use reduction=fill")
    return wanted or ("drop" if plain else "fill")


def _patch(model: TimmModel, wanted: int | None) -> int:
    own = model.patch if isinstance(model, PlainViT) else None
    if wanted is not None and (wanted < 1 or own not in (None, wanted)):
        raise UsageError(f"patch={wanted}: " + (f"the model's patches are of {own} pixels" if own else "at least 1"))
    return own or wanted or DEFAULT_PATCH
