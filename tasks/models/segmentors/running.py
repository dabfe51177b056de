"""Segmentors on reduced images: plain ViTs on the kept patches or on filled ones, mmseg's on filled ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Downsample, ReducedInput
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import fill_value, pipeline_steps
from ltrp_bench.tasks.models.reduction import downsampled_size, fill, patch_grid
from ltrp_bench.tasks.models.segmentors.loading import MMSegmentor, Segmentor
from ltrp_bench.tasks.models.segmentors.plain_vit import upsampled
from ltrp_bench.tasks.models.vit.token_dropping import patch_sides


@dataclass(frozen=True)
class Prepared:
    """An image as a segmentor's own resize leaves it.

    Attributes:
        shown: [H, W, 3] uint8 RGB: what selectors are shown.
        content: [h, w, 3] uint8, of which patches are kept; RGB for plain ViTs, BGR for mmseg.
        size: (H, W) of the data set's image: predictions are of this size.
        results: mmseg's record of the resize.
    """

    shown: np.ndarray
    content: np.ndarray
    size: tuple[int, int]
    results: dict[str, Any]


class SegmentorRunner(ABC):
    """What the task asks of a segmentor.

    Attributes:
        reduction: "drop" or "fill".
        patch: pixels along a patch's side, on the resized image.
        classes: names of the outputs in their order; None where the file does not say.
        outputs: how many.
        identity: what makes the predictions, JSON-able.
    """

    reduction: Literal["drop", "fill"]
    patch: int
    classes: tuple[str, ...] | None
    outputs: int
    identity: dict[str, Any]

    @abstractmethod
    def prepare(self, pixels: np.ndarray) -> Prepared:
        """[H, W, 3] uint8 RGB -> the image as the segmentor's resize leaves it."""

    def grid(self, image: Prepared) -> tuple[int, int]:
        """(gh, gw) of its patches."""
        return patch_grid(image.content.shape[0], image.content.shape[1], self.patch)

    @abstractmethod
    def predict(self, images: Sequence[Prepared], reductions: Sequence[ReducedInput]) -> list[np.ndarray]:
        """[H, W] integer output indices of each image; InputError where the model fails or gives NaN."""


class PlainRunner(SegmentorRunner):
    """A plain ViT. Images are squashed to its input size, logits stretched back (both bilinear).

    Args:
        model: the segmentor.
        reduction: "drop" or "fill".
        device: where it is.
    """

    def __init__(self, model: Segmentor, reduction: Literal["drop", "fill"] = "drop", device: str = "cpu") -> None:
        self.model, self.reduction, self._device = model, reduction, device
        self.patch = patch_sides(model.net.encoder)[0]
        self.classes, self.outputs, self.identity = model.classes, model.outputs, model.identity

    def prepare(self, pixels: np.ndarray) -> Prepared:
        """As the base class."""
        content = self.model.inputs.crop(pixels)
        return Prepared(content, content, (pixels.shape[0], pixels.shape[1]), {})

    @torch.inference_mode()
    def predict(self, images: Sequence[Prepared], reductions: Sequence[ReducedInput]) -> list[np.ndarray]:
        """As the base class; images that keep as many patches go through the model together."""
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

    def _logits(self, kind: Any, images: Sequence[Prepared], reductions: Sequence[Any]) -> Tensor:
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
        return self.model.net(inputs.normalise(contents, self._device), indices)


class MMSegRunner(SegmentorRunner):
    """Any segmentor of mmseg, with its own test pipeline, windows and resize back.

    Args:
        model: the segmentor.
        patch: pixels along a patch's side, on the resized image.
    """

    reduction = "fill"

    def __init__(self, model: MMSegmentor, patch: int) -> None:
        from mmseg.registry import TRANSFORMS

        self.model, self.patch = model, patch
        self.classes, self.outputs, self.identity = model.classes, len(model.classes), model.identity
        steps = [step for step in pipeline_steps(model.config) if not str(step["type"]).endswith("PackSegInputs")]
        with openmmlab.scope("mmseg"):
            self._steps = [TRANSFORMS.build(step) for step in steps]
        self._mean = fill_value(model.model)

    def prepare(self, pixels: np.ndarray) -> Prepared:
        """As the base class."""
        original = np.ascontiguousarray(pixels[..., ::-1])
        size = (pixels.shape[0], pixels.shape[1])
        results: dict[str, Any] = {"img": original, "img_shape": size, "ori_shape": size, "seg_fields": []}
        for step in self._steps:
            results = step(results)
        return Prepared(pixels, results.pop("img"), size, results)

    @torch.inference_mode()
    def predict(self, images: Sequence[Prepared], reductions: Sequence[ReducedInput]) -> list[np.ndarray]:
        """As the base class, one image at a time."""
        pairs = zip(images, reductions, strict=True)
        return [self._one(image, self._reduced(image, reduction)) for image, reduction in pairs]

    def _reduced(self, image: Prepared, reduction: ReducedInput) -> np.ndarray:
        if not isinstance(reduction, Downsample):
            return fill(image.content, reduction.mask, self.patch, self._mean)
        import cv2

        height, width = downsampled_size(image.content.shape[0], image.content.shape[1], reduction.keep_ratio)
        return np.asarray(cv2.resize(image.content, (width, height), interpolation=cv2.INTER_AREA), np.float32)

    def _one(self, image: Prepared, content: np.ndarray) -> np.ndarray:
        from mmseg.structures import SegDataSample

        model: Any = self.model.model
        meta = {"ori_shape": image.size, "img_shape": content.shape[:2], "pad_shape": content.shape[:2]}
        planes = torch.from_numpy(np.ascontiguousarray(content.transpose(2, 0, 1))).float()
        batch = {"inputs": [planes], "data_samples": [SegDataSample(metainfo=meta)]}
        try:
            with openmmlab.scope("mmseg"):
                done = model.test_step(batch)[0]
        except InputError:
            raise
        except Exception as error:  # of any module of any segmentor
            raise InputError(
                f"the segmentor fails on an image: {type(error).__name__}: {openmmlab.first_line(error)}"
            ) from error
        if not bool(torch.isfinite(done.seg_logits.data).all()):
            raise InputError("the segmentor gave NaN or infinities")
        return np.asarray(done.pred_sem_seg.data[0].cpu().numpy().astype(np.int64))


def _classes(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """[1, C, h, w] -> [H, W]: the best class of each pixel."""
    if not bool(torch.isfinite(logits).all()):
        raise InputError("the segmentor gave NaN or infinities")
    return np.asarray(upsampled(logits.float(), size)[0].argmax(0).cpu().numpy())
