"""Token merging as selection: the merges of a ViT's tokens as trees, and a ranking of the patches from them.

The ranking is ours; the papers on token merging (`tome`, `pitome`) do not select patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.selectors.vit.backbones import tokens
from ltrp_bench.selectors.vit.blocks import token_layout
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import level_scores


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


@dataclass(frozen=True)
class Pairing:
    """Decisions of one block, by positions among the tokens that are patches.

    Attributes:
        source: [B, r] tokens that are merged into another.
        partner: [B, r] which of `target` each is merged into.
        similarity: [B, r] cosine similarity of their keys, descending.
        stay: [B, s] tokens that stay as they are, in their order from there on.
        target: [B, m] tokens that may be merged into; they follow those that stay.
    """

    source: Tensor
    partner: Tensor
    similarity: Tensor
    stay: Tensor
    target: Tensor


@dataclass(frozen=True)
class MergedTokens:
    """Tokens inside a ViT that merges them.

    Attributes:
        x: [B, prefix + n, D] tokens, the patches last.
        size: [B, prefix + n, 1] number of patches that each represents.
        anchors: [B, n] anchor of each.
        groups: [B, L] anchor of each patch's group.
    """

    x: Tensor
    size: Tensor
    anchors: Tensor
    groups: Tensor

    @classmethod
    def before_blocks(cls, vit: VisionTransformer, images: Tensor) -> MergedTokens:
        """Tokens of [B, 3, H, W] normalized images, before the first block."""
        x = tokens(vit, images)
        anchors = token_layout(vit, len(x), x.device)[1]
        return cls(x, x.new_ones(len(x), x.shape[1], 1), anchors, anchors)

    @property
    def prefix(self) -> int:
        """Number of tokens before the patches, which are never merged."""
        return self.x.shape[1] - self.anchors.shape[1]

    def merge(self, x: Tensor, pairs: Pairing) -> tuple[MergedTokens, Round]:
        """The tokens after the merges of a block, as means weighted by size, and these merges.

        Args:
            x: [B, prefix + n, D] the same tokens after the block's attention.
            pairs: what is merged.
        """
        head, rest, weight = x[:, : self.prefix], x[:, self.prefix :], self.size[:, self.prefix :]
        total = torch.cat([rest * weight, weight], dim=-1)
        # A product instead of scatter_add, which is not deterministic on a GPU.
        into = torch.nn.functional.one_hot(pairs.partner, pairs.target.shape[1]).to(x.dtype).transpose(1, 2)
        merged = take(total, pairs.target) + into @ take(total, pairs.source)
        total = torch.cat([take(total, pairs.stay), merged], dim=1)
        size = torch.cat([self.size[:, : self.prefix], total[..., -1:]], dim=1)
        targets = self.anchors.gather(1, pairs.target)
        source, target = self.anchors.gather(1, pairs.source), targets.gather(1, pairs.partner)
        # [B, L, r]: each patch belongs to at most one source.
        moved = self.groups.unsqueeze(-1) == source.unsqueeze(1)
        groups = torch.where(moved.any(-1), (moved * target.unsqueeze(1)).sum(-1), self.groups)
        x = torch.cat([head, total[..., :-1] / total[..., -1:]], dim=1)
        anchors = torch.cat([self.anchors.gather(1, pairs.stay), targets], dim=1)
        return MergedTokens(x, size, anchors, groups), Round(self.groups, source, target, pairs.similarity)


def representative_scores(tree: MergeTree, priority: Tensor | None = None) -> Tensor:
    """[B, L] scores such that, whenever k groups exist, the best k patches are the most central patch of each group.

    The most central patch of a group is the one whose first-block key has the greatest cosine with the mean of the
    group's (unit) keys. The central patches of the final groups come first, in the order of `priority`. Then merges are
    undone, from the last block to the first, and within a block from the least similar pair on. Of the two halves, one
    contains a patch that is ranked already; the most central patch of the other comes next. So the ranking is nested,
    and a patch that was merged early into a very similar one ranks last.

    Args:
        tree: the merges.
        priority: [B, L] values of the final groups at their anchors, greater = earlier; None ranks larger groups first.
    """
    alike = tree.keys @ tree.keys.transpose(1, 2)
    together = tree.groups.unsqueeze(2) == tree.groups.unsqueeze(1)
    central = (alike * together).sum(-1)
    # By anchor: the ranked patch of the anchor's group.
    standing = central.unsqueeze(1).masked_fill(~together, -torch.inf).argmax(-1)
    anchors = torch.arange(standing.shape[1], device=standing.device)
    final = torch.zeros_like(together[:, 0]).scatter_(1, standing, True)
    levels = torch.where(final, len(tree.rounds), 0)
    first = together.sum(-1) if priority is None else priority.gather(1, tree.groups)
    scores = torch.where(final, first.to(alike.dtype), 0.0)
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
