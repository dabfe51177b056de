"""ToMe: token merging as selection (Bolya et al., "Token Merging: Your ViT but Faster", ICLR 2023, arXiv:2210.09461).

Implemented from the paper: bipartite soft matching of keys (section 3), proportional attention, and averages weighted
by the number of merged patches. The ranking of patches from the tree of merges is not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import normalize
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.option_checks import check_whole
from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward, token_layout
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import check_rate, level_scores
from ltrp_bench.selectors.vit.reading_options import ReadingOptions


@dataclass(frozen=True)
class Round:
    """The merges of one block. A group of patches is identified by one of them, its anchor.

    Attributes:
        groups: [B, L] anchor of each patch's group before the block.
        source, target: [B, r] anchors: each source group is merged into its target group, whose anchor stays.
        similarity: [B, r] cosine similarity of their keys, descending.
    """

    groups: Tensor
    source: Tensor
    target: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class MergeTree:
    """All merges of a batch.

    Attributes:
        rounds: one per block.
        groups: [B, L] anchor of each patch's group at the end.
        keys: [B, L, d] keys of the patches in the first block (mean of the heads), before any merge, of unit length.
    """

    rounds: list[Round]
    groups: Tensor
    keys: Tensor


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
    x = tokens(vit, images)
    prefix, anchors = token_layout(vit, len(x), x.device)
    groups, first_keys = anchors, x.new_zeros(0)
    size = x.new_ones(len(x), x.shape[1], 1)
    rounds: list[Round] = []
    for block, count in zip(vit.blocks, schedule, strict=True):
        b: Any = block
        q, k, v = qkv_of(b.attn, b.norm1(x))
        keys = k.mean(1)[:, prefix:]
        first_keys = keys if not rounds else first_keys
        # Proportional attention: a token of s merged patches counts as s tokens (equation 1).
        x = close_attention(b, x, attend(q, k, v, b.attn, size.log().transpose(1, 2)[:, None]))
        places, partners, similarity = bipartite_matching(keys, count)
        source, target = anchors[:, ::2].gather(1, places), anchors[:, 1::2].gather(1, partners)
        rounds.append(Round(groups, source, target, similarity))
        x, size, anchors = _merge(x, size, anchors, prefix, places, partners)
        # [B, L, r]: each patch belongs to at most one source.
        moved = groups.unsqueeze(-1) == source.unsqueeze(1)
        groups = torch.where(moved.any(-1), (moved * target.unsqueeze(1)).sum(-1), groups)
        x = feed_forward(b, x)
    return MergeTree(rounds, groups, normalize(first_keys.float(), dim=-1))


def _merge(
    x: Tensor, size: Tensor, anchors: Tensor, prefix: int, places: Tensor, partners: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, sizes and anchors after the merges of a block, in the order prefix, rest of A, B."""
    head, rest, weight = x[:, :prefix], x[:, prefix:], size[:, prefix:]
    total = torch.cat([rest * weight, weight], dim=-1)
    a, b = total[:, ::2], total[:, 1::2]
    left = torch.ones(a.shape[:2], dtype=torch.bool, device=x.device).scatter_(1, places, False)
    # A product instead of scatter_add, which is not deterministic on a GPU.
    into = torch.nn.functional.one_hot(partners, b.shape[1]).to(x.dtype).transpose(1, 2)
    b = b + into @ take(a, places)
    stay = left.nonzero()[:, 1].view(len(x), -1)
    total = torch.cat([take(a, stay), b], dim=1)
    size = torch.cat([size[:, :prefix], total[..., -1:]], dim=1)
    anchors = torch.cat([anchors[:, ::2].gather(1, stay), anchors[:, 1::2]], dim=1)
    return torch.cat([head, total[..., :-1] / total[..., -1:]], dim=1), size, anchors


def representative_scores(tree: MergeTree) -> Tensor:
    """[B, L] scores such that, whenever k groups exist, the best k patches are the most central patch of each group.

    The most central patch of a group is the one whose first-block key has the greatest cosine with the mean of the
    group's (unit) keys. The central patches of the final groups come first, larger groups before smaller ones. Then
    merges are undone, from the last block to the first, and within a block from the least similar pair on. Of the two
    halves, one contains a patch that is ranked already; the most central patch of the other comes next. So the ranking
    is nested, and a patch that was merged early into a very similar one ranks last.
    """
    alike = tree.keys @ tree.keys.transpose(1, 2)
    together = tree.groups.unsqueeze(2) == tree.groups.unsqueeze(1)
    central = (alike * together).sum(-1)
    # By anchor: the ranked patch of the anchor's group.
    standing = central.unsqueeze(1).masked_fill(~together, -torch.inf).argmax(-1)
    anchors = torch.arange(standing.shape[1], device=standing.device)
    final = torch.zeros_like(together[:, 0]).scatter_(1, standing, True)
    levels = torch.where(final, len(tree.rounds), 0)
    scores = torch.where(final, together.sum(-1).to(alike.dtype), 0.0)
    groups = tree.groups
    for level, merges in reversed(list(enumerate(tree.rounds))):
        for i in reversed(range(merges.source.shape[1])):
            source, target = merges.source[:, i : i + 1], merges.target[:, i : i + 1]
            in_source = merges.groups == source
            in_target = (groups == target) & ~in_source
            stands = standing.gather(1, target)
            source_is_ranked = in_source.gather(1, stands)
            without = torch.where(source_is_ranked, in_target, in_source)
            nearness = (alike @ without.to(alike.dtype).unsqueeze(-1)).squeeze(-1)
            new = nearness.masked_fill(~without, -torch.inf).argmax(-1, keepdim=True)
            levels.scatter_(1, new, level)
            scores.scatter_(1, new, -merges.similarity[:, i : i + 1].to(scores.dtype))
            standing = torch.where(anchors == source, torch.where(source_is_ranked, stands, new), standing)
            standing = torch.where(anchors == target, torch.where(source_is_ranked, new, stands), standing)
            groups = torch.where(in_source, source, groups)
    return level_scores(levels, scores)


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
