"""Attention rollout: how much of each patch reaches the class token when attention is followed through all blocks.

Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.backbones import attention_of, load_backbone, tokens
from ltrp_bench.selectors.vit.blocks import check_plain

Fusion = Literal["mean", "min", "max"]


class AttentionRolloutSelector(Selector):
    """The class token's row of the product over all blocks of 0.5 A + 0.5 I, last block leftmost.

    Args:
        weights: ViT with a class token: timm's, an official file, ours, or a tag ("vit.shapes0").
        model, heads, label_set: as in `load_backbone`.
        fusion: how the heads become one A: "mean" (as published), "min" or "max".
        discard_ratio: share of each A's entries, the smallest (and all that equal the greatest of them), that are set
            to zero first, in [0, 1); those that point to the class token stay. 0 as published.
    """

    name = "attention-rollout"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        fusion: Fusion = "mean",
        discard_ratio: float = 0.0,
    ) -> None:
        if fusion not in get_args(Fusion):
            raise UsageError(f"selector {self.name!r}: no fusion {fusion!r}; there are {', '.join(get_args(Fusion))}")
        if not isinstance(discard_ratio, (int, float)) or not 0 <= discard_ratio < 1:
            raise UsageError(f"selector {self.name!r}: discard_ratio must be in [0, 1), got {discard_ratio!r}")
        backbone = load_backbone(weights, model, heads, label_set)
        check_plain(backbone.model, self.name)
        self.model, self.mean, self.std = backbone.model, backbone.mean, backbone.std
        self.patch_size, self.input_size = backbone.patch_size, backbone.image_size
        self.supervision = backbone.supervision
        self.fusion, self.discard_ratio = fusion, float(discard_ratio)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        x = tokens(self.model, images)
        maps = []
        for block in self.model.blocks:
            maps.append(self._mixing(attention_of(block, x).float()))
            x = block(x)
        # Only one row is asked for: from the last block down it stays a vector, never a product of matrices.
        row = maps.pop()[:, :1]
        with torch.autocast(images.device.type, enabled=False):
            for mixing in reversed(maps):
                row = row @ mixing
        return row[:, 0, self.model.num_prefix_tokens :].unflatten(1, grid)

    def _mixing(self, attention: Tensor) -> Tensor:
        """[B, heads, N, N] -> [B, N, N]: heads fused, small entries dropped, residual added, rows summing to 1."""
        fused = attention.mean(1) if self.fusion == "mean" else getattr(attention, f"a{self.fusion}")(1)
        count = int(self.discard_ratio * fused[0].numel())
        if count:
            keep = fused > fused.flatten(1).kthvalue(count).values[:, None, None]
            keep[..., 0] = True
            fused = fused * keep
        mixed = fused + torch.eye(fused.shape[-1], device=fused.device)
        return mixed / mixed.sum(-1, keepdim=True)
