"""DynamicViT: learned keep decisions in stages (Rao et al., NeurIPS 2021, arXiv:2106.02034).

Before some of its blocks a small network scores all remaining tokens. In training its decisions are Gumbel-softmax
samples, and dropped tokens are masked out of the attention (section 3.3); at inference the best-scored tokens are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import save_safetensors
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.backbones import qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import check_plain, close_attention, config_of, feed_forward, token_layout
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import Stage, check_rate, check_stages

TOKEN_RATIO = (0.7, 0.49, 0.343)
PREDICTOR = "score_predictor."
"""Prefix of the keys of the score predictors in official files."""


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
        """[B, n, D] tokens, [B, n, 1] 1 for remaining ones (None: all) -> [B, n, 2] log-probabilities: keep, drop."""
        local, whole = self.in_conv(x).chunk(2, dim=-1)
        if left is None:
            mean = whole.mean(1, keepdim=True)
        else:
            mean = (whole * left).sum(1, keepdim=True) / left.sum(1, keepdim=True).clamp_min(1)
        return self.out_conv(torch.cat([local, mean.expand_as(local)], dim=-1))


class TrainingOutput(NamedTuple):
    """Output of a training step.

    Attributes:
        logits: [B, classes].
        tokens: [B, L, D] patch tokens after the last norm, including dropped ones.
        decisions: [B, L] per stage, 1 for kept and 0 for dropped patches, decreasing; with straight-through gradients.
    """

    logits: Tensor
    tokens: Tensor
    decisions: list[Tensor]


class DynamicViT(nn.Module):
    """A ViT with a score predictor before some of its blocks.

    Args:
        vit: timm ViT with a class token; not copied.
        stages: indices (from 0) of the blocks before which tokens are dropped.
        token_ratio: share of *all* patches that remain after each stage, decreasing.
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
        """Configuration for the metadata of a file, from which the model can be built again."""
        return {**config_of(self.vit), "stages": list(self.stages), "token_ratio": list(self.token_ratio)}

    def published_state(self) -> dict[str, Tensor]:
        """State dict under the official keys: those of the ViT, and `score_predictor.*`."""
        own = {k: v for k, v in self.state_dict().items() if k.startswith(PREDICTOR)}
        return {**self.vit.state_dict(), **own}

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, classes] logits at inference, where the best-scored tokens are kept."""
        return self.trace(images)[0]

    def trace(self, images: Tensor) -> tuple[Tensor, list[Stage]]:
        """[B, 3, H, W] normalized images -> logits [B, classes] and the stages, scored by log keep probabilities."""
        x, stages = self._run(images, len(self.vit.blocks))
        return self.vit.forward_head(self.vit.norm(x)), stages

    def prune(self, images: Tensor) -> list[Stage]:
        """The stages alone: `trace` without the computation after the last decisions."""
        return self._run(images, self.stages[-1])[1]

    def _run(self, images: Tensor, last: int) -> tuple[Tensor, list[Stage]]:
        """Run blocks 0 to `last` - 1 with the stages before them, and a stage before block `last`."""
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

    def training_forward(self, images: Tensor, generator: torch.Generator | None = None) -> TrainingOutput:
        """Forward pass with sampled decisions, differentiable; dropped tokens stay in place and are masked.

        Args:
            images: [B, 3, H, W] normalized.
            generator: generator of the Gumbel noise; the same state gives the same decisions on one device.
        """
        x = tokens(self.vit, images)
        prefix = int(self.vit.num_prefix_tokens)
        left = x.new_ones(len(x), x.shape[1] - prefix, 1)
        always = x.new_ones(len(x), prefix, 1)
        decisions: list[Tensor] = []
        for number, block in enumerate(self.vit.blocks):
            if number in self.stages:
                log_probs = self.score_predictor[len(decisions)](x[:, prefix:], left)
                left = gumbel_keep(log_probs.float(), generator) * left
                decisions.append(left.squeeze(-1))
            x = masked_block(block, x, torch.cat([always, left], dim=1).squeeze(-1)) if decisions else block(x)
        x = self.vit.norm(x)
        return TrainingOutput(self.vit.forward_head(x), x[:, prefix:], decisions)


def check_token_ratio(token_ratio: Sequence[float], stages: int) -> tuple[float, ...]:
    """`token_ratio` as a tuple; `UsageError` unless it has one share in (0, 1] per stage, none greater than before."""
    found = tuple(check_rate("token_ratio", r) for r in token_ratio)
    if len(found) != stages or list(found) != sorted(found, reverse=True):
        raise UsageError(f"token_ratio needs {stages} shares that never rise, one per stage, got {list(found)}")
    return found


def gumbel_keep(log_probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """[B, n, 2] log-probabilities -> [B, n, 1] keep decisions 0 or 1, straight-through (section 3.3)."""
    device = log_probs.device if generator is None else generator.device
    noise = (
        torch.empty(log_probs.shape, device=device).exponential_(generator=generator).log().neg().to(log_probs.device)
    )
    soft = (log_probs + noise).softmax(-1)[..., :1]
    # The value is exactly 0 or 1; only the gradient comes from the soft sample.
    return (soft >= 0.5).to(soft.dtype) + (soft - soft.detach())


def masked_block(block: Any, x: Tensor, left: Tensor, eps: float = 1e-6) -> Tensor:
    """Run a timm block on [B, N, D] tokens with attention to the remaining ones only ([B, N], 0 or 1; section 3.3).

    Every token attends to itself. `eps` as published: (exp(a) + eps / N) / (sum + eps).
    """
    attn = block.attn
    q, k, v = qkv_of(attn, block.norm1(x))
    a = ((q * attn.scale) @ k.transpose(-2, -1)).float()
    count = a.shape[-1]
    seen = left[:, None, None, :].float()
    seen = seen + (1 - seen) * torch.eye(count, device=x.device)
    # The softmax does not depend on the shift (but for eps): it needs no gradient.
    a = (a - a.detach().amax(-1, keepdim=True)).exp() * seen
    a = (a + eps / count) / (a.sum(-1, keepdim=True) + eps)
    x = close_attention(block, x, attn.attn_drop(a.to(v.dtype)) @ v)
    return feed_forward(block, x)


def save_dynamicvit(
    path: str | Path, module: DynamicViT, config: Mapping[str, Any] | None = None, **metadata: Any
) -> None:
    """Write a trained DynamicViT as safetensors under the official keys.

    Args:
        path: file to write.
        module: the trained model.
        config: entries that the module does not know: "label_set", "mean", "std", "classes" (names).
        metadata: further entries, e.g. curve= or command=.
    """
    full = {**module.config, **(config or {})}
    save_safetensors(path, module.published_state(), {"kind": "dynamicvit", "config": full, **metadata})
