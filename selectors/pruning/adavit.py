"""AdaViT: each block decides per image which patches, heads and layers it uses (Meng et al., CVPR 2022).

In each block a decision network reads the incoming tokens (section 3 of the paper): a patch is kept if its probability
is above 0.6, a head or a layer if its probability is above 0.5. The selector ranks patches by the decisions of the last
blocks. Both published models can be loaded, Ada-T2T-ViT-19 and Ada-DeiT-S; parameter names follow their files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import load_into, mismatch, read_weights
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.ltrp.mae_checkpoints import count_blocks
from ltrp_bench.selectors.option_checks import check_value, check_whole
from ltrp_bench.selectors.vit.assumptions import three_channels
from ltrp_bench.selectors.vit.supervision import supervision_of
from ltrp_bench.selectors.vit.tokens_to_token import TokensToToken

TOKEN_THRESHOLD = 0.6
THRESHOLD = 0.5
T2T_PATCH = 16
Rule = Literal["decisions", "probability"]


class Decision(nn.Module):
    """Linear layer and sigmoid: the probability that a part is used."""

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.mlp_head = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., outputs] in (0, 1)."""
        return self.mlp_head(x).float().sigmoid()


class AdaAttention(nn.Module):
    """Self-attention of the kept tokens, in the heads that are used."""

    def __init__(self, dim: int, heads: int, bias: bool, selects_tokens: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=bias) for _ in range(3))
        self.proj = nn.Linear(dim, dim)
        self.token_select = Decision(dim, 1) if selects_tokens else None

    def forward(self, x: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1 + L, D] normalised tokens, [B, heads] of 0 and 1 -> ([B, 1 + L, D], [B, L] probability of each patch).

        A token that is not kept is no key for others, and its output is 0.
        """
        shape = x.shape[0], x.shape[1] - 1
        sure = torch.ones(shape, device=x.device)
        probability = sure if self.token_select is None else self.token_select(x[:, 1:])[..., 0]
        kept = kept_tokens(probability)
        hidden = torch.zeros_like(kept).masked_fill(kept == 0, -torch.inf)[:, None, None]
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=hidden.to(q.dtype)) * used[:, :, None, None]
        return self.proj(out.transpose(1, 2).flatten(2)) * kept.unsqueeze(-1), probability


def kept_tokens(probability: Tensor) -> Tensor:
    """[B, L] probabilities -> [B, 1 + L] of 0 and 1; the class token is always kept."""
    kept = (probability > TOKEN_THRESHOLD).to(probability)
    return torch.cat([torch.ones_like(kept[:, :1]), kept], dim=1)


class AdaMlp(nn.Module):
    """Linear, GELU, linear; input channels of unused heads are set to 0."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, used: Tensor) -> Tensor:
        """[B, N, D] and [B, heads] of 0 and 1 -> [B, N, D]."""
        channels = used.repeat_interleave(x.shape[-1] // used.shape[1], dim=1).unsqueeze(1)
        return self.fc2(F.gelu(self.fc1(x * channels)))


class AdaBlock(nn.Module):
    """Transformer block with decision networks for the parts of itself in `parts`."""

    def __init__(self, config: Mapping[str, Any], parts: frozenset[str]) -> None:
        super().__init__()
        dim, heads, eps = config["embed_dim"], config["heads"], config["layer_norm_eps"]
        self.heads = heads
        self.norm_policy = nn.LayerNorm(dim, eps=eps) if "norm_policy" in parts else None
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.attn = AdaAttention(dim, heads, config["qkv_bias"], "token_select" in parts)
        self.mlp = AdaMlp(dim, config["hidden"])
        self.head_select = Decision(dim, heads) if "head_select" in parts else None
        self.layer_select = Decision(dim, 2) if "layer_select" in parts else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1 + L, D] -> the same after the block, and [B, L]: the probability with which it keeps each patch."""
        class_token = x[:, 0] if self.norm_policy is None else self.norm_policy(x[:, 0])
        used = self._decide(self.head_select, class_token, self.heads)
        layers = self._decide(self.layer_select, class_token, 2)[..., None, None]
        gathered, probability = self.attn(self.norm1(x), used)
        x = x + layers[:, 0] * gathered
        return x + layers[:, 1] * self.mlp(self.norm2(x), used) * kept_tokens(probability).unsqueeze(-1), probability

    @staticmethod
    def _decide(by: Decision | None, class_token: Tensor, outputs: int) -> Tensor:
        if by is None:
            return class_token.new_ones(len(class_token), outputs)
        return (by(class_token) > THRESHOLD).to(class_token)


class AdaViT(nn.Module):
    """AdaViT, built from the configuration that `adavit_config` infers from a state dict."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim = config["embed_dim"]
        self.t2t = bool(config["t2t"])
        if self.t2t:
            self.tokens_to_token = TokensToToken(dim, config["token_dim"], config["features"])
        else:
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, config["patch_size"], config["patch_size"])})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config["side"] ** 2, dim))
        self.blocks = nn.ModuleList(AdaBlock(config, parts) for parts in config["parts"])
        self.norm = nn.LayerNorm(dim, eps=config["layer_norm_eps"])
        self.head = nn.Linear(dim, config["classes"])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> logits [B, classes] and each block's probabilities of keeping each patch [B, blocks, L]."""
        x = self.tokens_to_token(images) if self.t2t else self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        probabilities = []
        for block in self.blocks:
            x, probability = block(x)
            probabilities.append(probability)
        return self.head(self.norm(x)[:, 0]), torch.stack(probabilities, dim=1)


class AdaViTSelector(Selector):
    """Ranks patches by AdaViT's decisions in the last blocks.

    Args:
        weights: a published file.
        rule: "decisions" (how many blocks keep the patch, then its mean probability) or "probability" (the mean alone).
        last_blocks: number of blocks, counted from the end, that are taken into account; 6 in the LTRP paper.
        heads: number of attention heads; only needed if the file has no decisions about heads.
        label_set: label set of the training; only needed if the number of classes does not identify it.
        mean, std: normalization of the images per channel, if it is not that of the published files.
        ema: False for the weights of a file beside their moving average, which is taken by default as published.
    """

    name = "adavit"
    weights_family = "adavit"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        rule: Rule = "decisions",
        last_blocks: int = 6,
        heads: int | None = None,
        label_set: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        # As published: the average, if there is one.
        found = replace(read_weights(weights, True if ema is None else ema), ema=ema)
        found = found.under(r"blocks\.0\.attn\.query\.weight", "pos_embed")
        state = {k: v.float() for k, v in found.state.items()}
        config = adavit_config(state, heads)
        check_value("selector 'adavit'", "rule", rule, Rule)
        check_whole("selector 'adavit'", "last_blocks", last_blocks, 1, len(config["parts"]))
        if not all("token_select" in parts for parts in config["parts"][-last_blocks:]):
            raise InputError(f"AdaViT: not all of the last {last_blocks} blocks of {weights} decide about patches")
        self.model = AdaViT(config)
        load_into(self.model, state, "AdaViT")
        self.model.eval().requires_grad_(False)
        self.supervision = supervision_of(None, {}, config["classes"], label_set)
        self.mean = self.mean if mean is None else three_channels("mean", mean)
        self.std = self.std if std is None else three_channels("std", std)
        self.assumptions = found.notes
        self.patch_size = int(config["patch_size"])
        self.input_size = (config["side"] * self.patch_size,) * 2
        self.rule, self.last_blocks = rule, last_blocks

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        probabilities = self.model(images)[1][:, -self.last_blocks :]
        scores = probabilities.mean(1)
        if self.rule == "decisions":
            # A mean probability that rounds to 1 must not count as one more block.
            scores = (probabilities > TOKEN_THRESHOLD).sum(1) + scores * 0.999
        return scores.unflatten(1, self.grid_of(images))


def adavit_config(state: Mapping[str, Tensor], heads: int | None = None) -> dict[str, Any]:
    """Infer the configuration of an AdaViT from its state dict; `InputError` for another model's state dict."""
    t2t = "tokens_to_token.project.weight" in state
    first = "tokens_to_token.attention1.w" if t2t else "patch_embed.proj.weight"
    needed = (first, "cls_token", "pos_embed", "blocks.0.attn.query.weight", "blocks.0.mlp.fc1.weight", "head.weight")
    missing = [key for key in needed if key not in state]
    depth = count_blocks(state, "blocks")
    if not any(f"blocks.{i}.attn.token_select.mlp_head.weight" in state for i in range(depth)):
        missing.append("blocks.0.attn.token_select.mlp_head.weight")
    if missing:
        raise mismatch("AdaViT", state, missing)
    width = int(state["pos_embed"].shape[-1])
    decided = [state[k] for i in range(depth) if (k := f"blocks.{i}.head_select.mlp_head.weight") in state]
    # Without decisions about heads: 64 channels per head, as in T2T-ViT-19 and DeiT.
    heads = heads or (len(decided[0]) if decided else width // 64)
    if heads < 1 or width % heads:
        raise InputError(f"AdaViT: {heads} attention heads do not divide its {width} channels; give heads=N")
    return {
        "t2t": t2t,
        "embed_dim": width,
        "heads": heads,
        "hidden": int(state["blocks.0.mlp.fc1.weight"].shape[0]),
        "qkv_bias": "blocks.0.attn.query.bias" in state,
        "layer_norm_eps": 1e-5 if t2t else 1e-6,
        "side": math.isqrt(int(state["pos_embed"].shape[1]) - 1),
        "patch_size": T2T_PATCH if t2t else int(state[first].shape[-1]),
        "token_dim": int(state[first].shape[1]),
        "features": int(state[first].shape[0]),
        "classes": int(state["head.weight"].shape[0]),
        "parts": [_parts(state, i) for i in range(depth)],
    }


def _parts(state: Mapping[str, Tensor], block: int) -> frozenset[str]:
    keys = {
        "norm_policy": "norm_policy.weight",
        "token_select": "attn.token_select.mlp_head.weight",
        "head_select": "head_select.mlp_head.weight",
        "layer_select": "layer_select.mlp_head.weight",
    }
    return frozenset(part for part, key in keys.items() if f"blocks.{block}.{key}" in state)
