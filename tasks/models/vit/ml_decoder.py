"""ML-Decoder: a classification head in which queries, each for a group of categories, attend to an image's tokens.

Ridnik et al., "ML-Decoder: Scalable and Versatile Classification Head", WACV 2023: a transformer decoder of one layer
without self-attention among the queries (which are the same for every image), and with group decoding: at most 100
queries, fixed or learned, each of which predicts ceil(C / K) categories through its own fully connected layer.

Parameters have the names of the published checkpoints. The head takes any number of tokens in any order, so that
dropped patches are simply tokens that it does not get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError, UsageError

GROUPS, DIM, HEADS, HIDDEN, DROPOUT = 100, 768, 8, 2048, 0.1
"""Maximum number of queries, their width, attention heads, feed-forward width and dropout, as published."""

_MARK = "decoder.duplicate_pooling"


class DecoderLayer(nn.Module):
    """Cross-attention from queries to tokens and a feed-forward layer, with norms after the residual sums."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """[B, K, D] and [B, N, D] -> [B, K, D]."""
        # Self-attention among the queries is replaced by the queries themselves, as published.
        x = self.norm1(queries + self.dropout(queries))
        x = self.norm2(x + self.dropout(self.multihead_attn(x, tokens, tokens, need_weights=False)[0]))
        return cast(Tensor, self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))))


class _Decoder(nn.Module):
    """The parameters under "decoder." in published checkpoints."""

    def __init__(
        self, features: int, classes: int, *, groups: int, dim: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(dim, heads, hidden, dropout)])
        self.embed_standart = nn.Linear(features, dim)  # sic
        self.query_embed = nn.Embedding(groups, dim)
        self.duplicate_pooling = nn.Parameter(torch.empty(groups, dim, math.ceil(classes / groups)))
        self.duplicate_pooling_bias = nn.Parameter(torch.zeros(classes))


class MLDecoder(nn.Module):
    """The classification head.

    Args:
        features: width of the tokens.
        classes: number of categories, C.
        groups: maximum number of queries; there are K = min(groups, classes).
        dim: width of the queries, a multiple of `heads`.
        heads: attention heads.
        hidden: width of the feed-forward layer.
        learnable: True to train the queries; the paper finds fixed ones as good.
        dropout: dropout rate during training.

    Raises:
        UsageError: a number below 1, or heads that do not divide the width.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        groups: int = GROUPS,
        dim: int = DIM,
        heads: int = HEADS,
        hidden: int = HIDDEN,
        learnable: bool = False,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        if min(features, classes, groups, dim, heads, hidden) < 1 or dim % heads:
            raise UsageError(
                f"ML-Decoder: features={features}, classes={classes}, groups={groups}, dim={dim}, heads={heads} and "
                f"hidden={hidden} must be at least 1, and heads divide dim"
            )
        self.classes = classes
        self.decoder = _Decoder(
            features, classes, groups=min(groups, classes), dim=dim, heads=heads, hidden=hidden, dropout=dropout
        )
        self.decoder.query_embed.requires_grad_(learnable)
        # Per group: Xavier on the whole tensor would take the number of groups for a width.
        with torch.no_grad():
            for weight in self.decoder.duplicate_pooling:
                nn.init.xavier_normal_(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Predicts all categories.

        Args:
            tokens: [B, N, features] in any order, N >= 1, or a feature map [B, features, h, w].

        Returns:
            [B, C] logits; query i predicts ceil(C / K) categories from i * ceil(C / K) on.
        """
        if tokens.ndim == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        decoder = self.decoder
        memory = F.relu(decoder.embed_standart(tokens))
        x = decoder.query_embed.weight.expand(len(memory), -1, -1)
        for layer in decoder.layers:
            x = layer(x, memory)
        logits = torch.einsum("bkd,kdg->bkg", x, decoder.duplicate_pooling).flatten(1)[:, : self.classes]
        return logits + decoder.duplicate_pooling_bias

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON values: those of `decoder_config`, and the heads."""
        heads = cast(nn.MultiheadAttention, self.decoder.layers[0].multihead_attn).num_heads
        return {**decoder_config(self.state_dict()), "heads": heads}


def decoder_prefix(state: Mapping[str, Tensor]) -> str | None:
    """Prefix of the keys of an ML-Decoder in a checkpoint ("head.", "fc.", ""); None if it has no ML-Decoder."""
    return next((key.removesuffix(_MARK) for key in state if key.endswith(_MARK)), None)


def decoder_config(state: Mapping[str, Tensor], what: str = "ML-Decoder") -> dict[str, Any]:
    """Reads the arguments of an `MLDecoder`, except its attention heads, from a state dict without prefix.

    Args:
        state: the state dict.
        what: name of the head, for error messages.

    Raises:
        InputError: keys are missing, or the head is of another kind (zero-shot, several layers).
    """
    needed = [_MARK, f"{_MARK}_bias", "decoder.embed_standart.weight", "decoder.layers.0.linear1.weight"]
    missing = [key for key in needed if key not in state]
    if missing:
        raise InputError(f"{what} has no {', '.join(missing)}")
    pooling = state[_MARK]
    if pooling.ndim != 3 or "decoder.layers.1.norm1.weight" in state:
        raise InputError(f"{what} is a zero-shot one, or has several layers: neither can be used here")
    return {
        "features": int(state["decoder.embed_standart.weight"].shape[1]),
        "classes": len(state["decoder.duplicate_pooling_bias"]),
        "groups": int(pooling.shape[0]),
        "dim": int(pooling.shape[1]),
        "hidden": int(state["decoder.layers.0.linear1.weight"].shape[0]),
    }


def attach(vit: VisionTransformer, head: MLDecoder) -> VisionTransformer:
    """Replaces pooling and classifier of a ViT by an ML-Decoder, in place, and returns the ViT.

    The head gets all tokens after the last norm: those of the (kept) patches, and class and register tokens.
    """
    vit.reset_classifier(0, "")
    vit.num_classes, vit.head = head.classes, head
    return vit
