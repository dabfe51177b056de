"""Token merging as selection (Bolya et al., "Token Merging: Your ViT but Faster", ICLR 2023, arXiv:2210.09461).

Written from the paper: bipartite soft matching of keys (section 3), proportional attention, merged tokens weighted by
how many patches they stand for. What follows it, a ranking of patches from the tree of merges, is of this project.
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

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.pruning_stages import check_rate, level_scores
from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.selectors.vit.backbones import load_backbone, qkv_of, tokens
from ltrp_bench.selectors.vit.blocks import attend, check_plain, close_attention, feed_forward, token_layout
from ltrp_bench.selectors.vit.layers import take


@dataclass(frozen=True)
class Round:
    """The merges of one block. Groups of patches are named by one of their patches (their anchor).

    Attributes:
        groups: [B, L] anchor of each patch's group before the block.
        source, target: [B, r] anchors: each source group went into its target group, whose anchor stays.
        similarity: [B, r] cosine of their keys, falling.
    """

    groups: Tensor
    source: Tensor
    target: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class MergeTree:
    """All merges of a batch.

    Attributes:
        rounds: one a block.
        groups: [B, L] anchor of each patch's group at the end.
        keys: [B, L, d] unit length, the patches' keys in the first block (mean of heads), before any merge.
    """

    rounds: list[Round]
    groups: Tensor
    keys: Tensor


def merge_schedule(patches: int, depth: int, merges: int) -> tuple[int, ...]:
    """How many tokens each of `depth` blocks merges: `merges` spread evenly, the earlier blocks one more.

    A block merges at most half of the tokens that it gets, so that fewer may be merged in all.
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
        keys: [B, n, d]; tokens at even places are A, at odd places B.
        count: at most n // 2.

    Returns:
        [B, count] places in A of the tokens to merge, [B, count] places in B of where each goes, and their cosine
        similarity, falling.
    """
    unit = normalize(keys, dim=-1)
    best, partner = (unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)).max(dim=-1)
    order = best.argsort(dim=1, descending=True, stable=True)[:, :count]
    return order, partner.gather(1, order), best.gather(1, order)


def merge_tokens(vit: VisionTransformer, images: Tensor, schedule: Sequence[int]) -> MergeTree:
    """Run a ViT with token merging and keep the books.

    Args:
        vit: timm ViT of plain blocks.
        images: [B, 3, H, W] normalised.
        schedule: tokens that each block merges.
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
        # Proportional attention: a token that stands for s patches is looked at as s tokens would be (equation 1).
        x = close_attention(b, x, attend(q, k, v, b.attn, size.log().transpose(1, 2)[:, None]))
        places, partners, similarity = bipartite_matching(keys, count)
        source, target = anchors[:, ::2].gather(1, places), anchors[:, 1::2].gather(1, partners)
        rounds.append(Round(groups, source, target, similarity))
        x, size, anchors = _merge(x, size, anchors, prefix, places, partners)
        # [B, L, r]: at most one source is a patch's group.
        moved = groups.unsqueeze(-1) == source.unsqueeze(1)
        groups = torch.where(moved.any(-1), (moved * target.unsqueeze(1)).sum(-1), groups)
        x = feed_forward(b, x)
    return MergeTree(rounds, groups, normalize(first_keys.float(), dim=-1))


def _merge(
    x: Tensor, size: Tensor, anchors: Tensor, prefix: int, places: Tensor, partners: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, sizes and anchors after a block's merges: prefix, what is left of A in order, B."""
    head, rest, weight = x[:, :prefix], x[:, prefix:], size[:, prefix:]
    total = torch.cat([rest * weight, weight], dim=-1)
    a, b = total[:, ::2], total[:, 1::2]
    left = torch.ones(a.shape[:2], dtype=torch.bool, device=x.device).scatter_(1, places, False)
    # As a product, not by scattered additions: those come in any order on a GPU.
    into = torch.nn.functional.one_hot(partners, b.shape[1]).to(x.dtype).transpose(1, 2)
    b = b + into @ take(a, places)
    stay = left.nonzero()[:, 1].view(len(x), -1)
    total = torch.cat([take(a, stay), b], dim=1)
    size = torch.cat([size[:, :prefix], total[..., -1:]], dim=1)
    anchors = torch.cat([anchors[:, ::2].gather(1, stay), anchors[:, 1::2]], dim=1)
    return torch.cat([head, total[..., :-1] / total[..., -1:]], dim=1), size, anchors


def representative_scores(tree: MergeTree) -> Tensor:
    """[B, L] scores: for every k at which k groups stand, the best k patches are one from each, its most central.

    The most central member of a group is the patch whose first-block key has the greatest cosine with the mean of its
    members' (unit) keys. First come the central members of the groups left at the end, greater groups first. Then
    merges are undone, the last block's first and in a block the least similar first: of the two halves one holds a
    patch that stands for it already, the other's most central member comes next. So the ranking is nested, and a
    patch that was absorbed early, by a very similar one, ranks last.
    """
    alike = tree.keys @ tree.keys.transpose(1, 2)
    together = tree.groups.unsqueeze(2) == tree.groups.unsqueeze(1)
    central = (alike * together).sum(-1)
    # By anchor: the patch that stands for the anchor's group.
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
            held_by_dataset = in_source.gather(1, stands)
            without = torch.where(held_by_dataset, in_target, in_source)
            nearness = (alike @ without.to(alike.dtype).unsqueeze(-1)).squeeze(-1)
            new = nearness.masked_fill(~without, -torch.inf).argmax(-1, keepdim=True)
            levels.scatter_(1, new, level)
            scores.scatter_(1, new, -merges.similarity[:, i : i + 1].to(scores.dtype))
            standing = torch.where(anchors == source, torch.where(held_by_dataset, stands, new), standing)
            standing = torch.where(anchors == target, torch.where(held_by_dataset, new, stands), standing)
            groups = torch.where(in_source, source, groups)
    return level_scores(levels, scores)


class ToMeSelector(Selector):
    """Token merging as selection: each group of merged patches is represented by its most central member.

    Needs no training: it reads the keys of any plain ViT. Always in float32: a merge flips on little.

    Args:
        weights: any timm ViT's.
        model: timm model name, where the file does not tell.
        heads: attention heads, where neither file nor width tells.
        label_set: what the weights were taught with, where neither file nor number of classes tells.
        supervised: False for weights that were taught without labels (DINO, MAE, MoCo).
        r: tokens merged in each block; None: as many as leave one patch, spread evenly over the blocks.
        target_keep_ratio: merge so that this share of the patches is left, spread evenly; instead of `r`.
    """

    name = "tome"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        supervised: bool = True,
        r: int | None = None,
        target_keep_ratio: float | None = None,
    ) -> None:
        if r is not None and target_keep_ratio is not None:
            raise UsageError("give r or target_keep_ratio, not both")
        if r is not None and (not isinstance(r, int) or isinstance(r, bool) or r < 1):
            raise UsageError(f"r must be a whole number from 1 on, got {r!r}")
        backbone = load_backbone(weights, model, heads, label_set, supervised)
        check_plain(backbone.model, "ToMe", class_token=False)
        self.net, self.grid = backbone.model, backbone.grid
        patches, depth = self.grid[0] * self.grid[1], len(self.net.blocks)
        if target_keep_ratio is not None:
            merges = patches - count_kept(check_rate("target_keep_ratio", target_keep_ratio), patches)
        else:
            merges = patches - 1 if r is None else r * depth
        self.schedule = merge_schedule(patches, depth, merges)
        self.supervision, self.mean, self.std = backbone.supervision, backbone.mean, backbone.std
        self.input_size, self.patch_size = backbone.image_size, backbone.patch_size

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            # One at a time: a batch's other order of sums is enough to flip a merge, and all that follow it.
            trees = [merge_tokens(self.net, image, self.schedule) for image in images.float().split(1)]
            return torch.cat([representative_scores(tree) for tree in trees]).view(-1, *self.grid)
