"""Baselines from statistics of a patch: edge energy, entropy, and norm of pixels or features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector, Supervision
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.normalization import denormalize
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.families import ViT
from ltrp_bench.selectors.vit.layers import patchify
from ltrp_bench.selectors.vit.reading import ViTReader

# Luma of ITU-R BT.601, and the same in 16-bit fixed point as in Pillow's mode "L".
LUMA = (0.299, 0.587, 0.114)
LUMA_16BIT = (19595, 38470, 7471)
MAE_ONLY = ("decoder", "mask_token")
"""Prefixes of the keys of a MAE that do not belong to its encoder."""


class PlainSelector(Selector):
    """Base class of baselines on the task's own patch grid, without weights or labels.

    Args:
        patch_size: side of a patch in pixels.
    """

    supervision = Supervision.none()
    task_patch = True

    def __init__(self, patch_size: int = 16) -> None:
        check_whole(f"selector {self.name!r}", "patch_size", patch_size, 1)
        self.patch_size = patch_size

    def read_backbone(self, weights: str | Path | None, **options: Any) -> ViT | None:
        """The ViT of some weights, whose properties this selector takes over; None without weights.

        Args:
            weights, options: arguments of `load_backbone`.

        Raises:
            UsageError: options without weights.
        """
        if weights is None:
            given = [key for key, value in options.items() if value is not None]
            if given:
                raise UsageError(f"selector {self.name!r}: {', '.join(given)} only with weights, and none are given")
            return None
        backbone = load_backbone(weights, drop=MAE_ONLY, **options)
        backbone.configure(self)
        return backbone.model

    def rgb(self, images: Tensor) -> Tensor:
        """Normalized images -> RGB in [0, 1], float32."""
        return denormalize(images.float(), self.mean, self.std)

    def cut(self, plane: Tensor) -> Tensor:
        """[B, H, W] -> [B, gh, gw, P*P], the values in each patch."""
        p = self.patch_size
        return plane.unfold(1, p, p).unfold(2, p, p).flatten(3)


class EdgeEnergySelector(PlainSelector):
    """Mean Sobel gradient magnitude of a patch's luminance (BT.601, in [0, 1]).

    Kernels 1-2-1 by 1-0-(-1) without a factor; the image is padded by its border pixels.
    """

    name = "edge-energy"

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        return self.cut(sobel_magnitude(luminance(self.rgb(images)))).mean(-1)


class EntropySelector(PlainSelector):
    """Shannon entropy, in bits, of the histogram of a patch's 8-bit luminance (Shannon 1948, section 6).

    Args:
        patch_size: side of a patch in pixels.
        bins: number of equal bins over 0..255, from 2 to 256. A patch of n pixels has at most log2(n) bits.
    """

    name = "entropy"

    def __init__(self, patch_size: int = 16, *, bins: int = 256) -> None:
        super().__init__(patch_size)
        check_whole(f"selector {self.name!r}", "bins", bins, 2, 256)
        self.bins = bins

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        values = self.cut(luminance_8bit(self.rgb(images))) * self.bins // 256
        counts = torch.zeros(*values.shape[:3], self.bins, device=images.device)
        counts.scatter_add_(-1, values, torch.ones_like(values, dtype=torch.float32))
        share = counts / values.shape[-1]
        return -torch.xlogy(share, share).sum(-1) / torch.log(share.new_tensor(2.0))


class PatchNormSelector(PlainSelector):
    """L2 norm of patches: of their pixels minus the mean color of the image or, with weights, of a ViT's output tokens.

    Args:
        weights: ViT whose patch tokens after the last block are measured, before the final norm (which would make all
            norms nearly equal); None measures pixels, in RGB units of [0, 1].
        patch_size: side of a patch in pixels; ignored with weights, which have their own.
        model, heads, label_set: as in `load_backbone`; only with weights, whose supervision the selector has.
        mean, std: normalization of the images per channel, if the file does not say it; only with weights.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "patch-norm"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        patch_size: int = 16,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        super().__init__(patch_size)
        self.model = self.read_backbone(
            weights, model=model, heads=heads, label_set=label_set, mean=mean, std=std, ema=ema
        )

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        if self.model is not None:
            reader = ViTReader(self.model)
            return reader.features(images)[:, reader.prefix :].float().norm(dim=-1).unflatten(1, self.grid_of(images))
        rgb = self.rgb(images)
        centered = rgb - rgb.mean(dim=(-1, -2), keepdim=True)
        return patchify(centered, self.patch_size).norm(dim=-1).unflatten(1, self.grid_of(images))


def luminance(rgb: Tensor) -> Tensor:
    """[B, 3, H, W] RGB in [0, 1] -> BT.601 luma [B, H, W]."""
    red, green, blue = rgb.unbind(1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def luminance_8bit(rgb: Tensor) -> Tensor:
    """[B, 3, H, W] RGB in [0, 1] -> luma 0..255, int64 [B, H, W]: channels rounded to 8 bits, then as Pillow's "L"."""
    red, green, blue = (rgb * 255).round().clamp(0, 255).long().unbind(1)
    return (LUMA_16BIT[0] * red + LUMA_16BIT[1] * green + LUMA_16BIT[2] * blue + 0x8000) >> 16


def sobel_magnitude(plane: Tensor) -> Tensor:
    """[B, H, W] -> [B, H, W], magnitude of the Sobel gradient; padded by the border pixels."""
    # Sums of slices, not a convolution: autocast must not round the differences.
    x = F.pad(plane[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]
    columns = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    return torch.hypot(rows[..., 2:] - rows[..., :-2], columns[:, 2:] - columns[:, :-2])
