"""ML-Decoder: a classification head in which queries, each for a group of categories, look at an image's tokens.

Ridnik et al., "ML-Decoder: Scalable and Versatile Classification Head", WACV 2023, section "ML-Decoder": a transformer
decoder of one layer whose queries do not attend to each other (that would only mix what is the same for every
image), with group decoding (at most 100 queries, fixed or learnt, each answering for ceil(C / K) categories through
a fully connected layer of its own).

Parameters have the names of the published checkpoints, so these load without renaming. It takes any number of tokens
in any order: where patches are dropped it simply gets fewer.
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
"""Most queries, their width, attention heads, width of the feed-forward layer, and dropout, as published."""

_MARK = "decoder.duplicate_pooling"


class DecoderLayer(nn.Module):
    """Queries gather from tokens, then each thinks alone; norms follow the sums, as in the first transformers."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """[B, K, D] and [B, N, D] -> [B, K, D]."""
        # What self-attention among the queries would stand for is the queries themselves.
        x = self.norm1(queries + self.dropout(queries))
        x = self.norm2(x + self.dropout(self.multihead_attn(x, tokens, tokens, need_weights=False)[0]))
        return cast(Tensor, self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))))


class _Decoder(nn.Module):
    """Holds what published checkpoints call "decoder."."""

    def __init__(
        self, features: int, classes: int, groups: int, dim: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(dim, heads, hidden, dropout)])
        self.embed_standart = nn.Linear(features, dim)  # sic
        self.query_embed = nn.Embedding(groups, dim)
        self.duplicate_pooling = nn.Parameter(torch.empty(groups, dim, math.ceil(classes / groups)))
        self.duplicate_pooling_bias = nn.Parameter(torch.zeros(classes))


class MLDecoder(nn.Module):
    """The head.

    Args:
        features: width of the tokens.
        classes: categories, C.
        groups: most queries; there are K = min(groups, classes).
        dim: width of queries, a multiple of `heads`.
        heads: of the attention.
        hidden: width of the feed-forward layer.
        learnable: whether training changes the queries; the paper finds fixed ones as good.
        dropout: in training.

    Raises:
        UsageError: a number below 1, or heads that do not divide the width.
    """

    def __init__(
        self,
        features: int,
        classes: int,
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
        self.decoder = _Decoder(features, classes, min(groups, classes), dim, heads, hidden, dropout)
        self.decoder.query_embed.requires_grad_(learnable)
        # Of each group's own matrix: Xavier of all of them at once would take their number for a width.
        with torch.no_grad():
            for weight in self.decoder.duplicate_pooling:
                nn.init.xavier_normal_(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every category.

        Args:
            tokens: [B, N, features] in any order, N >= 1; or a map [B, features, h, w], whose places are tokens.

        Returns:
            [B, C]; query i answers for the categories from i * ceil(C / K) on.
        """
        if tokens.ndim == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        decoder = self.decoder
        seen = F.relu(decoder.embed_standart(tokens))
        x = decoder.query_embed.weight.expand(len(seen), -1, -1)
        for layer in decoder.layers:
            x = layer(x, seen)
        logits = torch.einsum("bkd,kdg->bkg", x, decoder.duplicate_pooling).flatten(1)[:, : self.classes]
        return logits + decoder.duplicate_pooling_bias

    def config(self) -> dict[str, Any]:
        """The arguments that its tensors do not tell, and those they do, JSON-able: see `decoder_config`."""
        heads = cast(nn.MultiheadAttention, self.decoder.layers[0].multihead_attn).num_heads
        return {**decoder_config(self.state_dict()), "heads": heads}


def decoder_prefix(state: Mapping[str, Tensor]) -> str | None:
    """What stands before an ML-Decoder's keys in a checkpoint ("head.", "fc.", ""); None where there is none."""
    return next((key.removesuffix(_MARK) for key in state if key.endswith(_MARK)), None)


def decoder_config(state: Mapping[str, Tensor], what: str = "ML-Decoder") -> dict[str, Any]:
    """Arguments of the `MLDecoder` that a state dict (without prefix) belongs to; all but its attention heads.

    Raises:
        InputError: keys are missing, or it is of another kind (zero-shot, several layers).
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
    """The ViT with an ML-Decoder in place of pooling and classifier; changes and returns it.

    The head gets every token behind the last norm: those of the (kept) patches, and class and register tokens.
    """
    vit.reset_classifier(0, "")
    vit.num_classes, vit.head = head.classes, head
    return vit
