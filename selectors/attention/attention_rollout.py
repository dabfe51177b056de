"""Attention rollout: the share of each patch in the class token, by following the attention through all blocks.

Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ltrp_bench.selectors.attention.class_attention import check_layout
from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import check_value
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.reading import ViTReader

Fusion = Literal["mean", "min", "max"]
FUSIONS: Mapping[Fusion, Callable[[Tensor], Tensor]] = {
    "mean": lambda attention: attention.mean(1),
    "min": lambda attention: attention.amin(1),
    "max": lambda attention: attention.amax(1),
}


class AttentionRolloutSelector(Selector):
    """Ranks patches by the class token's row in the product of 0.5 A + 0.5 I over all blocks, last block leftmost.

    Args:
        weights: a ViT with a class token: a file of timm, official or of ours, or a tag ("vit.shapes0").
        model, heads, label_set: as in `load_backbone`.
        fusion: reduction of the heads to one A: "mean" (as published), "min" or "max".
        discard_ratio: share of the smallest entries of each A (and of entries equal to the greatest of them) that are
            set to 0 first, in [0, 1); attention to the class token stays. 0 as published.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "attention-rollout"
    weights_family = "vit"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        fusion: Fusion = "mean",
        discard_ratio: float = 0.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        check_value(f"selector {self.name!r}", "fusion", fusion, Fusion)
        if not 0 <= discard_ratio < 1:
            raise UsageError(f"selector {self.name!r}: discard_ratio must be in [0, 1), got {discard_ratio!r}")
        backbone = load_backbone(weights, model, heads=heads, label_set=label_set, mean=mean, std=std, ema=ema)
        check_layout(backbone.model, self.name)
        self.model = backbone.model
        backbone.configure(self)
        self.fusion, self.discard_ratio = fusion, float(discard_ratio)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        reader = ViTReader(self.model)
        maps = [self._mixing(attention.float()) for attention in reader.attentions(images)]
        # Only one row is needed: a product of vector and matrix per block.
        row = maps.pop()[:, :1]
        with torch.autocast(images.device.type, enabled=False):
            for mixing in reversed(maps):
                row = row @ mixing
        return row[:, 0, reader.prefix :].unflatten(1, self.grid_of(images))

    def _mixing(self, attention: Tensor) -> Tensor:
        """[B, heads, N, N] -> [B, N, N]: heads fused, small entries dropped, residual added, rows summing to 1."""
        fused = FUSIONS[self.fusion](attention)
        count = int(self.discard_ratio * fused[0].numel())
        if count:
            keep = fused > fused.flatten(1).kthvalue(count).values[:, None, None]
            keep[..., 0] = True
            fused = fused * keep
        mixed = fused + torch.eye(fused.shape[-1], device=fused.device)
        return mixed / mixed.sum(-1, keepdim=True)
