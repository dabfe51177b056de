"""DynamicViT: learnt keep decisions in stages (Rao et al., NeurIPS 2021, arXiv:2106.02034).

Before some of its blocks a small network scores every token that is left. In training its decisions are Gumbel-softmax
samples and dropped tokens are masked out of the attention (section 3.3); at inference the best-scored tokens go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import (
    load_into,
    load_metadata,
    load_state,
    mismatch,
    resolve,
    save_safetensors,
    strip_prefix,
)
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import count_blocks
from ltrp_bench.selectors.pruning_stages import Stage, check_rate, check_stages, quarter_stages, staged_scores
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import check_plain, close_attention, config_of, feed_forward, token_layout
from ltrp_bench.selectors.vit.layers import take

KEEP_RATE = 0.7
TOKEN_RATIO = (0.7, 0.49, 0.343)
HEADS = {256: 4}  # DynamicViT-DeiT-256, a width that no plain ViT was published with
PREDICTOR = "score_predictor."


class ScorePredictor(nn.Module):
    """Log-probabilities to keep and to drop each token, from itself and the mean of those left (section 3.2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(dim, dim // 2),
            nn.GELU(),
            nn.Linear(dim // 2, dim // 4),
            nn.GELU(),
            nn.Linear(dim // 4, 2),
            nn.LogSoftmax(dim=-1),
        )

    def forward(self, x: Tensor, left: Tensor | None = None) -> Tensor:
        """[B, n, D] tokens, [B, n, 1] which are left (None: all) -> [B, n, 2] log-probabilities to keep and to drop."""
        local, whole = self.in_conv(x).chunk(2, dim=-1)
        if left is None:
            mean = whole.mean(1, keepdim=True)
        else:
            mean = (whole * left).sum(1, keepdim=True) / left.sum(1, keepdim=True).clamp_min(1)
        return self.out_conv(torch.cat([local, mean.expand_as(local)], dim=-1))


class Training(NamedTuple):
    """What a step of training sees.

    Attributes:
        logits: [B, classes].
        tokens: [B, L, D] patch tokens after the last norm, dropped ones too.
        decisions: per stage [B, L], 1 kept and 0 dropped, falling from stage to stage; gradients pass straight through.
    """

    logits: Tensor
    tokens: Tensor
    decisions: list[Tensor]


class DynamicViT(nn.Module):
    """A ViT with a score predictor before some of its blocks.

    Args:
        vit: timm ViT with a class token; held, not copied.
        stages: blocks (from 0) before which tokens are dropped.
        token_ratio: share of *all* patches left after each stage, falling.
    """

    def __init__(
        self, vit: VisionTransformer, stages: Sequence[int] = (3, 6, 9), token_ratio: Sequence[float] = TOKEN_RATIO
    ) -> None:
        super().__init__()
        check_plain(vit, "DynamicViT")
        self.vit = vit
        self.stages = check_stages(stages, len(vit.blocks))
        self.token_ratio = check_token_ratio(token_ratio, len(self.stages))
        if int(vit.patch_embed.num_patches * self.token_ratio[-1]) < 1:
            raise UsageError(f"token_ratio {list(self.token_ratio)} leaves no patch of {vit.patch_embed.num_patches}")
        self.score_predictor = nn.ModuleList(ScorePredictor(vit.embed_dim) for _ in self.stages)

    @property
    def config(self) -> dict[str, Any]:
        """What a file's metadata must say to build this again."""
        return {**config_of(self.vit), "stages": list(self.stages), "token_ratio": list(self.token_ratio)}

    def published_state(self) -> dict[str, Tensor]:
        """The state dict under the official keys: the ViT's own, and `score_predictor.*` beside them."""
        own = {k: v for k, v in self.state_dict().items() if k.startswith(PREDICTOR)}
        return {**self.vit.state_dict(), **own}

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalised -> [B, classes] logits at inference: the best-scored tokens go on."""
        return self.trace(images)[0]

    def trace(self, images: Tensor) -> tuple[Tensor, list[Stage]]:
        """[B, 3, H, W] normalised -> logits [B, classes], and what each stage kept by its log keep probabilities."""
        x, stages = self._run(images, len(self.vit.blocks))
        return self.vit.forward_head(self.vit.norm(x)), stages

    def prune(self, images: Tensor) -> list[Stage]:
        """`trace` without what follows the last stage's decisions."""
        return self._run(images, self.stages[-1])[1]

    def _run(self, images: Tensor, last: int) -> tuple[Tensor, list[Stage]]:
        """Blocks 0 to `last` - 1 with the stages before them, and a stage before block `last`."""
        x = tokens(self.vit, images)
        prefix, patches = token_layout(self.vit, len(x), x.device)
        total, found = patches.shape[1], list[Stage]()
        for number in range(min(last + 1, len(self.vit.blocks))):
            if number in self.stages:
                stage = len(found)
                rest = x[:, prefix:]
                scores = self.score_predictor[stage](rest)[..., 0].float()
                best = scores.argsort(dim=1, descending=True, stable=True)[:, : int(total * self.token_ratio[stage])]
                kept = patches.gather(1, best)
                found.append(Stage(patches, scores, kept))
                x, patches = torch.cat([x[:, :prefix], take(rest, best)], dim=1), kept
            if number < last:
                x = self.vit.blocks[number](x)
        return x, found

    def training_forward(self, images: Tensor, generator: torch.Generator | None = None) -> Training:
        """One differentiable pass with sampled decisions; every token stays in place, dropped ones are masked.

        Args:
            images: [B, 3, H, W] normalised.
            generator: of the Gumbel noise; the same state gives the same decisions on one device. None: torch's own.
        """
        x = tokens(self.vit, images)
        prefix = int(self.vit.num_prefix_tokens)
        left = x.new_ones(len(x), x.shape[1] - prefix, 1)
        always = x.new_ones(len(x), prefix, 1)
        decisions: list[Tensor] = []
        for number, block in enumerate(self.vit.blocks):
            if number in self.stages:
                chances = self.score_predictor[len(decisions)](x[:, prefix:], left)
                left = gumbel_keep(chances.float(), generator) * left
                decisions.append(left.squeeze(-1))
            x = masked_block(block, x, torch.cat([always, left], dim=1).squeeze(-1)) if decisions else block(x)
        x = self.vit.norm(x)
        return Training(self.vit.forward_head(x), x[:, prefix:], decisions)


def check_token_ratio(token_ratio: Sequence[float], stages: int) -> tuple[float, ...]:
    """`token_ratio` as a tuple; `UsageError` unless there is one share in (0, 1] a stage, never rising."""
    found = tuple(check_rate("token_ratio", r) for r in token_ratio)
    if len(found) != stages or list(found) != sorted(found, reverse=True):
        raise UsageError(f"token_ratio needs {stages} shares that never rise, one a stage, got {list(found)}")
    return found


def gumbel_keep(chances: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """[B, n, 2] log-probabilities -> [B, n, 1] keep decisions 0 or 1, straight-through (section 3.3)."""
    device = chances.device if generator is None else generator.device
    noise = torch.empty(chances.shape, device=device).exponential_(generator=generator).log().neg().to(chances.device)
    soft = (chances + noise).softmax(-1)[..., :1]
    # Written so that the value is exactly 0 or 1: the gradient alone comes from the soft sample.
    return (soft >= 0.5).to(soft.dtype) + (soft - soft.detach())


def masked_block(block: Any, x: Tensor, left: Tensor, eps: float = 1e-6) -> Tensor:
    """A timm block on [B, N, D] tokens of which only those left ([B, N], 0 or 1) are looked at (section 3.3).

    Each token always looks at itself. `eps` as published: exp(a) counts plus eps / N, over their sum plus eps.
    """
    attn = block.attn
    q, k, v = qkv_of(attn, block.norm1(x))
    a = ((q * attn.scale) @ k.transpose(-2, -1)).float()
    count = a.shape[-1]
    seen = left[:, None, None, :].float()
    seen = seen + (1 - seen) * torch.eye(count, device=x.device)
    # A shift changes nothing (but for eps): no gradient is needed through it.
    a = (a - a.detach().amax(-1, keepdim=True)).exp() * seen
    a = (a + eps / count) / (a.sum(-1, keepdim=True) + eps)
    x = close_attention(block, x, attn.attn_drop(a.to(v.dtype)) @ v)
    return feed_forward(block, x)


def save_dynamicvit(
    path: str | Path, module: DynamicViT, config: Mapping[str, Any] | None = None, **metadata: Any
) -> None:
    """Write a trained DynamicViT as safetensors under the official keys.

    Args:
        config: what the module does not know: "label_set", "mean", "std", "classes" (names).
        metadata: further entries, e.g. curve= or command=.
    """
    full = {**module.config, **(config or {})}
    save_safetensors(path, module.published_state(), {"kind": "dynamicvit", "config": full, **metadata})


class DynamicViTSelector(Selector):
    """DynamicViT's ranking: by the stage a patch survived to, then by its keep score at the stage that dropped it.

    Args:
        weights: official DynamicViT-DeiT file (S, B, 256) or one of ours.
        heads: attention heads, where neither file nor width tells.
        label_set: what the weights were taught with, where neither file nor number of classes tells.
        keep_rate: ρ; the stages leave ρ, ρ², ρ³ of the patches. None: the file's own shares, else the published
            ρ = 0.7, which an official file does not hold.
        stages: blocks (from 0) before which tokens are dropped; None: the file's own, else a quarter, a half and
            three quarters of the depth (3, 6, 9 of 12).
    """

    name = "dynamicvit"
    weights_family = "dynamicvit"

    def __init__(
        self,
        weights: str | Path,
        heads: int | None = None,
        label_set: str | None = None,
        keep_rate: float | None = None,
        stages: Sequence[int] | None = None,
    ) -> None:
        weights = resolve(weights)
        known = json.loads(load_metadata(weights).get("config", "{}"))
        state = load_state(weights)
        what = f"the DynamicViT {Path(weights).name}"
        if f"{PREDICTOR}0.in_conv.1.weight" not in state:
            raise mismatch(what, state, [f"{PREDICTOR}0.in_conv.1.weight"])
        heads = heads or HEADS.get(int(state[f"{PREDICTOR}0.in_conv.1.weight"].shape[0]))
        backbone = load_backbone(weights, None, heads, label_set, drop=(PREDICTOR,))
        if stages is None:
            stages = known.get("stages") or quarter_stages(len(backbone.model.blocks))
        count = len(stages)
        found = count_blocks(state, PREDICTOR.removesuffix("."))
        if found != count:
            raise UsageError(f"{what} has {found} score predictors for {count} stages: give stages= as many")
        if keep_rate is not None:
            rate = check_rate("keep_rate", keep_rate)
            ratios = [rate ** (i + 1) for i in range(count)]
        else:
            ratios = known.get("token_ratio") or [KEEP_RATE ** (i + 1) for i in range(count)]
        self.net = DynamicViT(backbone.model, stages, ratios).eval().requires_grad_(False)
        load_into(self.net.score_predictor, strip_prefix(state, PREDICTOR), f"the score predictors of {what}")
        self.supervision, self.mean, self.std = backbone.supervision, backbone.mean, backbone.std
        self.input_size, self.patch_size, self.grid = backbone.image_size, backbone.patch_size, backbone.grid

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid
        return staged_scores(self.net.prune(images), gh * gw).view(-1, gh, gw)
