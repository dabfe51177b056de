"""Runs a detector on reduced images: its own resize, then the reduction, then its own normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle_tools

from ltrp_bench.tasks.base import Downsample, ReducedInput, Row
from ltrp_bench.tasks.metrics.coco import MAX_DETECTIONS
from ltrp_bench.tasks.models.detectors.loading import Detector
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import fill_value, pipeline_steps, run_test_step
from ltrp_bench.tasks.models.reduction import downsampled_size, fill


@dataclass(frozen=True, kw_only=True)
class DetectorImage:
    """An image after the detector's resize.

    Attributes:
        original: [H, W, 3] uint8 BGR, as mmdet reads files.
        content: [h, w, 3] uint8 BGR, resized, without padding.
        results: mmdet's record of the resize.
    """

    original: np.ndarray
    content: np.ndarray
    results: dict[str, Any]


class DetectorRunner:
    """Runs one detector on reduced images.

    Args:
        detector: the model and its config.
        patch: side of a patch in pixels of the resized image.
        score_threshold: detections with a lower score are left out.
        drop: True for a backbone that processes kept patches alone; False fills dropped patches.
    """

    def __init__(self, detector: Detector, *, patch: int, score_threshold: float, drop: bool = False) -> None:
        from mmdet.registry import TRANSFORMS

        self.detector, self.patch, self.score_threshold, self.drop = detector, patch, score_threshold, drop
        steps = pipeline_steps(detector.config)
        resizes = [i for i, step in enumerate(steps) if "Resize" in str(step["type"])]
        split = resizes[-1] + 1 if resizes else 0  # without a resize, as in CenterNet, the image keeps its size
        with openmmlab.scope():
            self._resize = [TRANSFORMS.build(step) for step in steps[:split]]
            self._finish = [TRANSFORMS.build(step) for step in steps[split:]]
        self.mean = fill_value(detector.model)
        self._batched = next(detector.model.parameters()).device.type != "cpu"

    def prepare(self, pixels: np.ndarray) -> DetectorImage:
        """Applies the detector's resize to [H, W, 3] uint8 RGB pixels."""
        original = np.ascontiguousarray(pixels[..., ::-1])
        results: dict[str, Any] = {
            "img": original,
            "img_shape": original.shape[:2],
            "ori_shape": original.shape[:2],
            "scale_factor": (1.0, 1.0),
        }
        for transform in self._resize:
            results = transform(results)
        content = results.pop("img")
        return DetectorImage(original=original, content=content, results=results)

    def rows(self, images: Sequence[DetectorImage], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        """Detections of each image, at most 100, best first."""
        inputs = [self.reduce(p, r) for p, r in zip(images, reductions, strict=True)]
        # On a CPU one image at a time is as fast and makes results independent of the batch.
        size = len(inputs) if self._batched and len({i["inputs"].shape for i in inputs}) == 1 else 1
        out: list[list[Row]] = []
        for first in range(0, len(inputs), size):
            out += self._predict(inputs[first : first + size])
        return out

    def reduce(self, image: DetectorImage, reduction: ReducedInput) -> dict[str, Any]:
        """The model's input: {"inputs": [3, h, w] float pixels before normalization, "data_samples": record}."""
        results, kept = dict(image.results), None
        if isinstance(reduction, Downsample):
            content, results["scale_factor"] = self._shrink(image, reduction.keep_ratio)
        elif self.drop:
            content, kept = image.content.astype(np.float32), reduction.mask
        else:
            content = fill(image.content, reduction.mask, self.patch, self.mean)
        results["img"], results["img_shape"] = content, content.shape[:2]
        for transform in self._finish:
            results = transform(results)
        return _pack(results, kept)

    def _shrink(self, image: DetectorImage, keep_ratio: float) -> tuple[np.ndarray, tuple[float, float]]:
        """The image with `keep_ratio` of the resized image's pixels, and its scale relative to the original."""
        import cv2

        height, width = downsampled_size(image.content.shape[0], image.content.shape[1], keep_ratio)
        full = image.content if keep_ratio == 1 else image.original
        smaller = height <= full.shape[0] and width <= full.shape[1]
        interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR  # area averages do not alias
        content = cv2.resize(full, (width, height), interpolation=interpolation).astype(np.float32)
        return content, (width / image.original.shape[1], height / image.original.shape[0])

    def _predict(self, inputs: list[dict[str, Any]]) -> list[list[Row]]:
        batch = {key: [item[key] for item in inputs] for key in inputs[0]}
        done = run_test_step(self.detector.model, batch, "mmdet", "detector")
        return [self._rows(sample.pred_instances) for sample in done]

    def _rows(self, found: Any) -> list[Row]:
        scores = found.scores.float().cpu().numpy()
        labels = found.labels.cpu().numpy()
        boxes = found.bboxes.float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
        order = order[scores[order] >= self.score_threshold]
        codes = [""] * len(scores)
        if "masks" in found:
            masks = found.masks[torch.from_numpy(order).to(found.masks.device)].cpu().numpy()
            for i, mask in zip(order, masks, strict=True):
                codes[i] = rle_tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        return [
            {
                "category": self.detector.classes[labels[i]],
                "score": round(float(scores[i]), 6),
                "x": round(float(boxes[i, 0]), 3),
                "y": round(float(boxes[i, 1]), 3),
                "w": round(float(boxes[i, 2] - boxes[i, 0]), 3),
                "h": round(float(boxes[i, 3] - boxes[i, 1]), 3),
                "rle": codes[i],
            }
            for i in order
        ]


def _pack(results: dict[str, Any], kept: np.ndarray | None) -> dict[str, Any]:
    from mmdet.structures import DetDataSample

    image = results.pop("img")
    meta = {key: value for key, value in results.items() if not isinstance(value, np.ndarray) or value.size < 64}
    if kept is not None:
        meta["kept_patches"] = kept  # for `kept_channel.KeptPatchesPreprocessor`
    return {
        "inputs": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float(),
        "data_samples": DetDataSample(metainfo=meta),
    }
