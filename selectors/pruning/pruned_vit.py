"""What EViT, Top-K and ATS share: a plain ViT that drops tokens inside some of its blocks, without further weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.vit.backbones import qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward, token_layout
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import Stage, check_stages, staged_scores


class PrunedViT(nn.Module, ABC):
    """A ViT that drops tokens in some of its blocks, between attention and MLP, by the attention of the class token.

    Args:
        vit: timm ViT with a class token; not copied.
        stages: indices (from 0) of the blocks that drop tokens.

    Attributes:
        method: name of the method in messages.
    """

    method: str

    def __init__(self, vit: VisionTransformer, stages: Sequence[int]) -> None:
        super().__init__()
        check_plain(vit, self.method)
        self.vit = vit
        self.stages = check_stages(stages, len(vit.blocks))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, classes] logits, differentiable."""
        return self.trace(images)[0]

    def trace(self, images: Tensor) -> tuple[Tensor, list[Stage]]:
        """[B, 3, H, W] normalized images -> logits [B, classes] and the stages.

        A token that is no patch (EViT's fused token) is -1 in `entered` and `kept`.
        """
        x, stages = self._run(images, len(self.vit.blocks))
        return self.vit.forward_head(self.vit.norm(x)), stages

    def prune(self, images: Tensor) -> list[Stage]:
        """The stages alone: `trace` without the computation after the last stage."""
        return self._run(images, self.stages[-1] + 1)[1]

    @abstractmethod
    def select(self, stage: int, scores: Tensor) -> Tensor:
        """Places [B, m], among the incoming tokens, of the tokens that a stage (counted from 0) keeps, in their order.

        Args:
            stage: position in `stages`.
            scores: [B, n] scores of the incoming tokens.
        """

    def score(self, attention: Tensor, values: Tensor) -> Tensor:
        """Scores [B, n] of a stage's incoming tokens; the mean of the heads' class attention unless overridden.

        Args:
            attention: [B, heads, n] attention of the class token to them.
            values: [B, heads, n, d] their values.
        """
        return attention.mean(1)

    def extra_token(self, rest: Tensor, scores: Tensor, kept: Tensor) -> Tensor | None:
        """A token [B, 1, D] that stands for the dropped ones and is appended; none unless overridden."""
        return None

    def _run(self, images: Tensor, last: int) -> tuple[Tensor, list[Stage]]:
        x = tokens(self.vit, images)
        prefix, patches = token_layout(self.vit, len(x), x.device)
        found: list[Stage] = []
        for number, block in enumerate(self.vit.blocks[:last]):
            if number not in self.stages:
                x = block(x)
                continue
            x, stage = self._drop(len(found), block, x, patches, prefix)
            patches = stage.kept
            found.append(stage)
        return x, found

    def _drop(self, stage: int, block: Any, x: Tensor, patches: Tensor, prefix: int) -> tuple[Tensor, Stage]:
        """A block that drops tokens: [B, prefix + n, D] tokens and [B, n] patches -> fewer tokens, and the stage."""
        attn = block.attn
        q, k, v = qkv_of(attn, block.norm1(x))
        attention = ((q[:, :, :1] * attn.scale) @ k.transpose(-2, -1)).float().softmax(-1)[:, :, 0, prefix:]
        scores = self.score(attention, v[:, :, prefix:])
        x = close_attention(block, x, attend(q, k, v, attn))
        best, kept = self.select(stage, scores), patches
        if best.shape[1] < scores.shape[1]:
            rest = x[:, prefix:]
            parts, kept = [x[:, :prefix], take(rest, best)], patches.gather(1, best)
            extra = self.extra_token(rest, scores, best)
            if extra is not None:
                parts.append(extra)
                kept = torch.cat([kept, kept.new_full((len(kept), 1), -1)], dim=1)
            x = torch.cat(parts, dim=1)
        return feed_forward(block, x), Stage(patches, scores, kept)


def attention_ranking(stages: Sequence[Stage], patches: int) -> Tensor:
    """`staged_scores` [B, L] of stages whose scores are attention."""
    # The logarithm keeps the order, and keeps small attentions apart in float32.
    tiny = torch.finfo(torch.float32).tiny
    return staged_scores([replace(stage, scores=stage.scores.clamp_min(tiny).log()) for stage in stages], patches)


def strongest(scores: Tensor, count: int) -> Tensor:
    """Places [B, count] of the greatest of [B, n] scores, descending; of equal ones the earlier."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]
