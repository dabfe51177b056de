"""ToMe: token merging as selection (Bolya et al., "Token Merging: Your ViT but Faster", ICLR 2023, arXiv:2210.09461).

Implemented from the paper: bipartite soft matching of keys (section 3), proportional attention, and averages weighted
by the number of merged patches. The ranking of patches from the tree of merges is not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import normalize
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.merging.merge_tree import MergedTokens, MergeTree, Pairing, Round, representative_scores
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward
from ltrp_bench.selectors.vit.pruning_stages import check_rate
from ltrp_bench.selectors.vit.reading_options import ReadingOptions


def merge_schedule(patches: int, depth: int, merges: int) -> tuple[int, ...]:
    """Number of tokens that each of `depth` blocks merges: `merges` spread evenly, one more in earlier blocks.

    A block merges at most half of its tokens, so the total may be smaller.
    """
    out = []
    for block in range(depth):
        count = min(merges // depth + (block < merges % depth), patches // 2)
        out.append(count)
        patches -= count
    return tuple(out)


def bipartite_matching(keys: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bipartite soft matching (section 3): the `count` most similar pairs of one token of A and one of B.

    Args:
        keys: [B, n, d]; tokens at even positions are A, at odd positions B.
        count: number of pairs, at most n // 2.

    Returns:
        [B, count] indices in A of the tokens to merge, [B, count] indices in B of their partners, and the cosine
        similarities, descending.
    """
    unit = normalize(keys, dim=-1)
    best, partner = (unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)).max(dim=-1)
    order = best.argsort(dim=1, descending=True, stable=True)[:, :count]
    return order, partner.gather(1, order), best.gather(1, order)


def merge_tokens(vit: VisionTransformer, images: Tensor, schedule: Sequence[int]) -> MergeTree:
    """Run a ViT with token merging and record the merges.

    Args:
        vit: timm ViT of plain blocks.
        images: [B, 3, H, W] normalized.
        schedule: number of tokens that each block merges.
    """
    now = MergedTokens.before_blocks(vit, images)
    first_keys, rounds = now.x.new_zeros(0), list[Round]()
    for block, count in zip(vit.blocks, schedule, strict=True):
        b: Any = block
        q, k, v = qkv_of(b.attn, b.norm1(now.x))
        keys = k.mean(1)[:, now.prefix :]
        first_keys = keys if not rounds else first_keys
        # Proportional attention: a token of s merged patches counts as s tokens (equation 1).
        x = close_attention(b, now.x, attend(q, k, v, b.attn, now.size.log().transpose(1, 2)[:, None]))
        now, merges = now.merge(x, even_and_odd(keys, count))
        rounds.append(merges)
        now = replace(now, x=feed_forward(b, now.x))
    return MergeTree(rounds, now.groups, normalize(first_keys.float(), dim=-1))


def even_and_odd(keys: Tensor, count: int) -> Pairing:
    """`bipartite_matching` of [B, n, d] keys; the rest of A stays, in its order."""
    places, partners, similarity = bipartite_matching(keys, count)
    everything = torch.arange(keys.shape[1], device=keys.device).expand(len(keys), -1)
    left = torch.ones_like(everything[:, ::2], dtype=torch.bool).scatter_(1, places, False)
    stay = everything[:, ::2][left].view(len(keys), -1)
    return Pairing(everything[:, ::2].gather(1, places), partners, similarity, stay, everything[:, 1::2])


class ToMeSelector(Selector):
    """Ranks patches by token merging: each group of merged patches is represented by its most central patch.

    Needs no training, only the keys of a plain ViT. Always in float32, since merges are sensitive to rounding.

    Args:
        weights: a file of any timm ViT.
        model, heads, label_set, supervised: as in `load_backbone`.
        r: number of tokens merged in each block; None merges down to one patch, spread evenly over the blocks.
        target_keep_ratio: merge down to this share of the patches, spread evenly; instead of `r`.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "tome"
    weights_family = "vit"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        supervised: bool = True,
        r: int | None = None,
        target_keep_ratio: float | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        if r is not None and target_keep_ratio is not None:
            raise UsageError("give r or target_keep_ratio, not both")
        if r is not None:
            check_whole("selector 'tome'", "r", r, 1)
        backbone = load_backbone(weights, model, supervised=supervised, **reading)
        check_plain(backbone.model, "ToMe", class_token=False)
        self.net, self.grid = backbone.model, backbone.grid
        patches, depth = self.grid[0] * self.grid[1], len(self.net.blocks)
        if target_keep_ratio is not None:
            merges = patches - count_kept(check_rate("target_keep_ratio", target_keep_ratio), patches)
        else:
            merges = patches - 1 if r is None else r * depth
        self.schedule = merge_schedule(patches, depth, merges)
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            # One image at a time: the different rounding in a batch can flip a merge and all that follow.
            trees = [merge_tokens(self.net, image, self.schedule) for image in images.float().split(1)]
            return torch.cat([representative_scores(tree) for tree in trees]).view(-1, *self.grid)
