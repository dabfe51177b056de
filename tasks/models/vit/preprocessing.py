"""How an image becomes a model's input: timm's own resize and crop on 8-bit pixels, then mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import str_to_pil_interp
from torch import Tensor

from ltrp_bench.selectors.normalization import normalize


@dataclass(frozen=True)
class Inputs:
    """What a model's weights ask of images.

    Attributes:
        size: (H, W) of the input in pixels.
        mean, std: per channel of RGB in [0, 1].
        crop_pct: side of the crop over that of the resized image, in (0, 1].
        crop_mode: timm's "center" (short side resized, centre cut), "squash" or "border".
        interpolation: "bicubic", "bilinear", … of PIL, which antialiases.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str = "center"
    interpolation: str = "bicubic"

    def identity(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """[h, w, 3] uint8 of any size -> [H, W, 3] uint8: timm's evaluation transform up to its normalisation."""
        transform = create_transform(
            (3, *self.size),
            is_training=False,
            use_prefetcher=True,  # leaves conversion and normalisation to us
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
        )
        planes = np.asarray(transform(Image.fromarray(pixels)))
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def shrink(self, content: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A cropped [H, W, 3] uint8 image at another (h, w), by the same interpolation."""
        if content.shape[:2] == tuple(size):
            return content
        filter_ = str_to_pil_interp(self.interpolation)
        return np.asarray(Image.fromarray(content).resize((size[1], size[0]), filter_))

    @property
    def mean_pixel(self) -> tuple[float, ...]:
        """The mean in [0, 255]: what `normalise` maps to exactly zero."""
        return tuple(255 * value for value in self.mean)

    def normalise(self, contents: Sequence[np.ndarray], device: str | torch.device = "cpu") -> Tensor:
        """[H, W, 3] pixels in [0, 255], uint8 or float32, all of one size -> [B, 3, H, W] float32."""
        stacked = torch.from_numpy(np.stack(contents)).to(device).permute(0, 3, 1, 2).float()
        return normalize(stacked, self.mean_pixel, [255 * value for value in self.std]).contiguous()
