"""Preprocessing of images for a model: timm's resize and crop on 8-bit pixels, then normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import str_to_pil_interp
from torch import Tensor

from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.vit.assumptions import three_channels


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Preprocessing that a model's weights were trained or evaluated with.

    Attributes:
        size: (H, W) of the input in pixels.
        mean, std: of each RGB channel, for pixels in [0, 1].
        crop_pct: side of the crop divided by that of the resized image, in (0, 1].
        crop_mode: timm's "center" (resize the short side, crop the center), "squash" or "border".
        interpolation: PIL's "bicubic", "bilinear", …, with antialiasing.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str = "center"
    interpolation: str = "bicubic"

    def identity(self) -> dict[str, Any]:
        """All attributes as JSON values, for the task's identity."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def renormalized(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> Preprocessing:
        """The same with another mean or standard deviation, where given; `UsageError` unless they are three numbers."""
        return replace(
            self,
            mean=self.mean if mean is None else three_channels("mean", mean),
            std=self.std if std is None else three_channels("std", std),
        )

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """[h, w, 3] uint8 of any size -> [H, W, 3] uint8: timm's evaluation transform without its normalization."""
        transform = create_transform(
            (3, *self.size),
            is_training=False,
            use_prefetcher=True,  # omits conversion and normalization
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
        )
        planes = np.asarray(transform(Image.fromarray(pixels)))
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def shrink(self, content: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Resizes a cropped [H, W, 3] uint8 image to another (h, w) with the same interpolation."""
        if content.shape[:2] == tuple(size):
            return content
        filter_ = str_to_pil_interp(self.interpolation)
        return np.asarray(Image.fromarray(content).resize((size[1], size[0]), filter_))

    @property
    def mean_pixel(self) -> tuple[float, ...]:
        """Mean of each channel in [0, 255], which `normalize` maps to exactly zero."""
        return tuple(255 * value for value in self.mean)

    def normalize(self, contents: Sequence[np.ndarray], device: str | torch.device = "cpu") -> Tensor:
        """B images [H, W, 3] of one size, uint8 or float32 in [0, 255] -> [B, 3, H, W] float32, normalized."""
        stacked = torch.from_numpy(np.stack(contents)).to(device).permute(0, 3, 1, 2).float()
        return normalize(stacked, self.mean_pixel, [255 * value for value in self.std]).contiguous()
