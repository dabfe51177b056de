"""Runs segmentors on reduced images: plain ViTs on kept or filled patches, models of mmseg on filled patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.embedding import patch_sides
from ltrp_bench.tasks.base import Downsample, ReducedInput
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import fill_value, pipeline_steps, run_test_step
from ltrp_bench.tasks.models.reduction import downsampled_size, fill, patch_grid
from ltrp_bench.tasks.models.segmentors.loading import MMSegmentor, Segmentor
from ltrp_bench.tasks.models.segmentors.plain_vit import upsampled


@dataclass(frozen=True, kw_only=True)
class SegmentorImage:
    """An image after the segmentor's resize.

    Attributes:
        shown: [H, W, 3] uint8 RGB, the image that selectors score.
        content: [h, w, 3] uint8, the image whose patches are kept; RGB for plain ViTs, BGR for mmseg.
        size: (H, W) of the data set's image and of predictions.
        results: mmseg's record of the resize; empty for plain ViTs.
    """

    shown: np.ndarray
    content: np.ndarray
    size: tuple[int, int]
    results: dict[str, Any]


class SegmentorRunner(ABC):
    """Interface of segmentors to the task.

    Attributes:
        reduction: "drop" or "fill".
        patch: side of a patch in pixels of the resized image.
        classes: names of the outputs in their order; None if the file does not have them.
        outputs: number of outputs.
        identity: everything that determines the predictions, as JSON values.
        assumptions: one line for each thing that was assumed of the weights.
    """

    reduction: Literal["drop", "fill"]
    patch: int
    classes: tuple[str, ...] | None
    outputs: int
    identity: dict[str, Any]
    assumptions: tuple[str, ...] = ()

    @abstractmethod
    def prepare(self, pixels: np.ndarray) -> SegmentorImage:
        """Applies the segmentor's resize to [H, W, 3] uint8 RGB pixels."""

    def grid(self, image: SegmentorImage) -> tuple[int, int]:
        """(gh, gw) of the resized image."""
        return patch_grid(image.content.shape[0], image.content.shape[1], self.patch)

    @abstractmethod
    def predict(self, images: Sequence[SegmentorImage], reductions: Sequence[ReducedInput]) -> list[np.ndarray]:
        """[H, W] integer output indices for each image; InputError if the model fails or returns NaN."""


class PlainRunner(SegmentorRunner):
    """Runs a plain ViT: squashes images to its input size and resizes logits back, both bilinear.

    Args:
        model: the segmentor.
        reduction: "drop" or "fill".
        device: torch device of the model.
    """

    def __init__(self, model: Segmentor, *, reduction: Literal["drop", "fill"] = "drop", device: str = "cpu") -> None:
        self.model, self.reduction, self._device = model, reduction, device
        self.patch = patch_sides(model.net.encoder)[0]
        self.classes, self.outputs, self.identity = model.classes, model.outputs, model.identity
        self.assumptions = model.assumptions

    def prepare(self, pixels: np.ndarray) -> SegmentorImage:
        """Squashes [H, W, 3] uint8 RGB pixels to the model's input size."""
        content = self.model.inputs.crop(pixels)
        return SegmentorImage(shown=content, content=content, size=(pixels.shape[0], pixels.shape[1]), results={})

    @torch.inference_mode()
    def predict(self, images: Sequence[SegmentorImage], reductions: Sequence[ReducedInput]) -> list[np.ndarray]:
        """[H, W] integer output indices for each image; images that keep the same number of patches form a batch."""
        together: dict[Any, list[int]] = {}
        for i, reduction in enumerate(reductions):
            if isinstance(reduction, Downsample):
                kind: Any = reduction
            else:
                kind = int(reduction.mask.sum()) if self.reduction == "drop" else "fill"
            together.setdefault(kind, []).append(i)
        out: dict[int, np.ndarray] = {}
        for kind, batch in together.items():
            logits = self._logits(kind, [images[i] for i in batch], [reductions[i] for i in batch])
            for i, one in zip(batch, logits, strict=True):
                out[i] = _classes(one[None], images[i].size)
        return [out[i] for i in range(len(images))]

    def _logits(self, kind: Any, images: Sequence[SegmentorImage], reductions: Sequence[Any]) -> Tensor:
        inputs, indices = self.model.inputs, None
        contents = [image.content for image in images]
        if isinstance(kind, Downsample):
            rows, columns = downsampled_size(*self.grid(images[0]), kind.keep_ratio)
            contents = [inputs.shrink(content, (rows * self.patch, columns * self.patch)) for content in contents]
        elif kind == "fill":
            pairs = zip(contents, reductions, strict=True)
            contents = [fill(content, reduction.mask, self.patch, inputs.mean_pixel) for content, reduction in pairs]
        elif kind < reductions[0].mask.size:
            kept = np.stack([np.flatnonzero(reduction.mask) for reduction in reductions])
            indices = torch.from_numpy(kept).to(self._device)
        return self.model.net(inputs.normalize(contents, self._device), indices)


class MMSegRunner(SegmentorRunner):
    """Runs a segmentor of mmseg with its own test pipeline, sliding windows and resize of the logits.

    Args:
        model: the segmentor.
        patch: side of a patch in pixels of the resized image.
    """

    reduction = "fill"

    def __init__(self, model: MMSegmentor, patch: int) -> None:
        from mmseg.registry import TRANSFORMS

        self.model, self.patch = model, patch
        self.classes, self.outputs, self.identity = model.classes, len(model.classes), model.identity
        self.assumptions = model.assumptions
        steps = [step for step in pipeline_steps(model.config) if not str(step["type"]).endswith("PackSegInputs")]
        with openmmlab.scope("mmseg"):
            self._steps = [TRANSFORMS.build(step) for step in steps]
        self._mean = fill_value(model.model)

    def prepare(self, pixels: np.ndarray) -> SegmentorImage:
        """Applies the config's test pipeline to [H, W, 3] uint8 RGB pixels."""
        original = np.ascontiguousarray(pixels[..., ::-1])
        size = (pixels.shape[0], pixels.shape[1])
        results: dict[str, Any] = {"img": original, "img_shape": size, "ori_shape": size, "seg_fields": []}
        for step in self._steps:
            results = step(results)
        content = results.pop("img")
        return SegmentorImage(shown=pixels, content=content, size=size, results=results)

    def predict(self, images: Sequence[SegmentorImage], reductions: Sequence[ReducedInput]) -> list[np.ndarray]:
        """[H, W] integer output indices for each image, computed one image at a time."""
        pairs = zip(images, reductions, strict=True)
        return [self._one(image, self._reduced(image, reduction)) for image, reduction in pairs]

    def _reduced(self, image: SegmentorImage, reduction: ReducedInput) -> np.ndarray:
        if not isinstance(reduction, Downsample):
            return fill(image.content, reduction.mask, self.patch, self._mean)
        import cv2

        height, width = downsampled_size(image.content.shape[0], image.content.shape[1], reduction.keep_ratio)
        return np.asarray(cv2.resize(image.content, (width, height), interpolation=cv2.INTER_AREA), np.float32)

    def _one(self, image: SegmentorImage, content: np.ndarray) -> np.ndarray:
        from mmseg.structures import SegDataSample

        meta = {"ori_shape": image.size, "img_shape": content.shape[:2], "pad_shape": content.shape[:2]}
        planes = torch.from_numpy(np.ascontiguousarray(content.transpose(2, 0, 1))).float()
        batch = {"inputs": [planes], "data_samples": [SegDataSample(metainfo=meta)]}
        done = run_test_step(self.model.model, batch, "mmseg", "segmentor")[0]
        if not bool(torch.isfinite(done.seg_logits.data).all()):
            raise InputError("the segmentor returned NaN or infinite logits")
        return np.asarray(done.pred_sem_seg.data[0].cpu().numpy().astype(np.int64))


def _classes(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """[1, C, h, w] logits -> [H, W] index of the highest logit of each pixel."""
    if not bool(torch.isfinite(logits).all()):
        raise InputError("the segmentor returned NaN or infinite logits")
    return np.asarray(upsampled(logits.float(), size)[0].argmax(0).cpu().numpy())
