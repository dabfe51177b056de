"""PiToMe: token merging that protects informative tokens (Tran et al., NeurIPS 2024, arXiv:2405.16148).

The energy of a token tells how many others are like it (equation 4 of the paper): high energy is redundant. In the
second half of the blocks the tokens of highest energy are merged and all others protected. In the first half any token
may be merged, and the energy only splits them into two sets. The ranking of patches from the tree of merges is not in
the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.merging.merge_tree import MergedTokens, MergeTree, Pairing, Round, representative_scores
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward
from ltrp_bench.selectors.vit.pruning_stages import check_rate
from ltrp_bench.selectors.vit.reading_options import ReadingOptions

RATIO: Final = 0.925
"""Published ratio for ViTs of 12 blocks, which leaves 81 of 196 patches."""
FIRST_MARGIN: Final = 0.75
"""Margin of the first block; it falls linearly, to 0 after the last."""


@dataclass(frozen=True)
class EnergyMerging:
    """What PiToMe did with a batch.

    Attributes:
        tree: the merges.
        energy: per block, [B, n] energy of the patches' tokens that entered it, in their order.
        last_energy: [B, L] energy in the last block, at the anchors of the tokens that entered it.
        tokens: the tokens after the last block, in their order.
    """

    tree: MergeTree
    energy: list[Tensor]
    last_energy: Tensor
    tokens: MergedTokens


def merge_by_energy(vit: VisionTransformer, images: Tensor, ratio: float) -> EnergyMerging:
    """Run a ViT with PiToMe and record energies and merges.

    Args:
        vit: timm ViT of plain blocks.
        images: [B, 3, H, W] normalized.
        ratio: share of the patches' tokens that each block keeps.
    """
    now = MergedTokens.before_blocks(vit, images)
    first_keys, rounds, energies, depth = now.x.new_zeros(0), list[Round](), list[Tensor](), len(vit.blocks)
    last_energy = torch.zeros_like(now.groups, dtype=torch.float32)
    for number, block in enumerate(vit.blocks):
        b: Any = block
        q, k, v = qkv_of(b.attn, b.norm1(now.x))
        keys = F.normalize(k.mean(1)[:, now.prefix :].float(), dim=-1)
        first_keys = first_keys if number else keys
        x = close_attention(b, now.x, attend(q, k, v, b.attn))
        alike = keys @ keys.transpose(1, 2)
        energy = F.elu(alike - FIRST_MARGIN * (1 - number / depth)).mean(-1)
        energies.append(energy)
        if number == depth - 1:
            last_energy = last_energy.scatter(1, now.anchors, energy)
        count = energy.shape[1] - kept_count(energy.shape[1], ratio)
        if count:
            now, merges = now.merge(x, pair_by_energy(alike, energy, count, protect=number >= math.ceil(depth / 2)))
            rounds.append(merges)
            x = now.x
        now = replace(now, x=feed_forward(b, x))
    return EnergyMerging(MergeTree(rounds, now.groups, first_keys), energies, last_energy, now)


def kept_count(count: int, ratio: float) -> int:
    """Number of `count` tokens that a block keeps; rounding favors keeping, as published."""
    return count - math.floor(count - count * ratio)


def pair_by_energy(alike: Tensor, energy: Tensor, count: int, protect: bool) -> Pairing:
    """Choose the merges of a block.

    Args:
        alike: [B, n, n] cosine similarity of the tokens' keys.
        energy: [B, n] their energy.
        count: number of tokens to merge, at most n // 2.
        protect: only the 2 * `count` tokens of highest energy take part, and each second of them is merged into one of
            the others; otherwise all tokens take part, and the `count` most similar pairs are merged.
    """
    order = energy.argsort(dim=1, descending=True, stable=True)
    part = 2 * count if protect else order.shape[1]
    a, b = order[:, :part:2], order[:, 1:part:2]
    between = alike.gather(1, a.unsqueeze(-1).expand(-1, -1, alike.shape[2]))
    best, partner = between.gather(2, b.unsqueeze(1).expand(-1, a.shape[1], -1)).max(dim=-1)
    by_similarity = best.argsort(dim=1, descending=True, stable=True)
    merged, left = by_similarity[:, :count], by_similarity[:, count:]
    stay = torch.cat([a.gather(1, left), order[:, part:]], dim=1)
    return Pairing(a.gather(1, merged), partner.gather(1, merged), best.gather(1, merged), stay, b)


class PiToMeSelector(Selector):
    """Ranks patches by energy-based merging: each group of merged patches is represented by its most central patch.

    The representatives of the groups that remain come first, those of low energy in the last block before others, since
    that is what the method protects. Then merges are undone, as for `tome`. Needs no training, only the keys of a plain
    ViT. Always in float32, since merges are sensitive to rounding.

    Args:
        weights: a file of any timm ViT.
        model, heads, label_set, supervised: as in `load_backbone`.
        ratio: share of its tokens that each block keeps, at least a half; None takes the published 0.925 for 12 blocks,
            and for other depths the ratio that leaves as many tokens after the last block.
        target_keep_ratio: the ratio that leaves this share of the patches after the last block; instead of `ratio`.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "pitome"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        supervised: bool = True,
        ratio: float | None = None,
        target_keep_ratio: float | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        if ratio is not None and target_keep_ratio is not None:
            raise UsageError("give ratio or target_keep_ratio, not both")
        backbone = load_backbone(weights, model, supervised=supervised, **reading)
        check_plain(backbone.model, "PiToMe", class_token=False)
        self.net, self.grid, depth = backbone.model, backbone.grid, len(backbone.model.blocks)
        if target_keep_ratio is not None:
            ratio = check_rate("target_keep_ratio", target_keep_ratio) ** (1 / depth)
        self.ratio = check_rate("ratio", RATIO ** (12 / depth) if ratio is None else ratio)
        if self.ratio < 0.5:
            raise UsageError(f"ratio {self.ratio:.3g}: a block merges at most half of its tokens")
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            # One image at a time: the different rounding in a batch can flip a merge and all that follow.
            found = [merge_by_energy(self.net, image, self.ratio) for image in images.float().split(1)]
            scores = [representative_scores(one.tree, -one.last_energy) for one in found]
            return torch.cat(scores).view(-1, *self.grid)
