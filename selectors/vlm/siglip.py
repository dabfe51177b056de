"""Attention in SigLIP's image tower: that which patches receive from each other, or from the probe of the pooling head.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023. The paper ranks no patches; the block is that of
VisionZip, which ranks by attention received where there is no class token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from timm.layers import AttentionPoolLatent
from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.option_checks import check_value
from ltrp_bench.selectors.vit.reading_options import ReadingOptions
from ltrp_bench.selectors.vlm.tower import Activation, TowerSelector

Rule = Literal["received", "pool"]


class SiglipSelector(TowerSelector):
    """Ranks patches by the attention that they receive in the last block but one: the mean over heads and patches.

    In a ViT with a class token, by the attention of the class token.

    Args:
        weights, model, heads, label_set, supervised, block, activation, mean, std, ema: as for the base class.
        rule: "received", or "pool" for the attention of the pooling head after the last block.
    """

    name = "siglip"

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        supervised: bool = True,
        rule: Rule = "received",
        block: int = -2,
        activation: Activation | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        super().__init__(weights, model=model, supervised=supervised, block=block, activation=activation, **reading)
        check_value("selector 'siglip'", "rule", rule, Rule)
        if rule == "pool" and not isinstance(getattr(self.model, "attn_pool", None), AttentionPoolLatent):
            raise InputError(
                "selector 'siglip': rule=pool reads a head with attention pooling, which is not in the file"
            )
        self.rule = rule

    def attention(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, heads, L] attention to the patches."""
        if self.rule == "received":
            return self.read(images).attention()
        return pool_attention(self.model.attn_pool, self.reader.features(images, normalized=True))

    def patch_scores(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L] attention, mean over the heads."""
        return self.attention(images).mean(1)


def pool_attention(pool: Any, x: Tensor) -> Tensor:
    """[B, N, D] tokens after the final norm -> [B, heads, N] attention of the probe of timm's pooling head."""
    queries = pool.q(pool.latent).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
    keys = pool.kv(x).unflatten(-1, (2, pool.num_heads, -1))[:, :, 0].transpose(1, 2)
    weights = (pool.q_norm(queries) * pool.scale @ pool.k_norm(keys).transpose(-2, -1)).softmax(dim=-1)
    return weights.mean(2)
