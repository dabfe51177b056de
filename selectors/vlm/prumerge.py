"""PruMerge and PruMerge+: outliers of the class attention, patches at even distances, and the rest merged into them.

Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models", ICCV 2025
(arXiv:2403.15388), section 3.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from typing_extensions import Unpack

from ltrp_bench.selectors.vit.pruning_stages import level_scores
from ltrp_bench.selectors.vit.reading_options import ReadingOptions
from ltrp_bench.selectors.vlm.tower import Activation, TowerSelector

NEIGHBORS = 32
"""Patches that are merged into a kept one."""


def outlier_share(attention: Tensor) -> Tensor:
    """Share of the patches whose attention exceeds the third quartile by more than 1.5 interquartile ranges.

    Args:
        attention: [B, L].

    Returns:
        [B] float64 in [0, 1), one share per image.
    """
    values = attention.double()
    first, third = torch.quantile(values, torch.tensor([0.25, 0.75], dtype=torch.float64, device=values.device), dim=1)
    return (values > (third + 1.5 * (third - first))[:, None]).double().mean(1)


def kept_levels(attention: Tensor, share: Tensor, *, evenly: bool) -> Tensor:
    """Patches that PruMerge, or with `evenly` PruMerge+, keeps.

    Args:
        attention: [B, L] attention of the class token.
        share: [B] share of the patches that are kept for their attention.
        evenly: keep also patches at even distances in raster order, about three times as many; all patches where the
            share is above 1/3, none more where it is 0.

    Returns:
        [B, L]: 2 for a patch kept for its attention, 1 for one kept for its place, 0 for the others.
    """
    patches = attention.shape[1]
    counts = (patches * share).long()
    rank = attention.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    best = rank < counts[:, None]
    places = torch.arange(patches, device=attention.device)
    step = (torch.where(share > 0, 1 / share, 0).long() // 3).clamp_min(1)
    # The published code leaves the last patch out.
    spread = (places % step[:, None] == 0) & (places < patches - 1) & (share > 0)[:, None]
    return torch.where(best, 2, torch.where(spread & evenly, 1, 0))


def merge_tokens(tokens: Tensor, keys: Tensor, attention: Tensor, kept: Tensor) -> Tensor:
    """The tokens that PruMerge hands to a language model, for one image.

    To each kept token are added its nearest patches by the cosine of their keys, kept ones included, weighted by their
    attention. One more token is the sum of all dropped patches, weighted by their attention.

    Args:
        tokens: [L, D] patches.
        keys: [L, d] keys of the patches.
        attention: [L] attention of the class token.
        kept: [n] raster indices of the kept patches.

    Returns:
        [n + 1, D], in the order of `kept`.
    """
    unit = normalize(keys, dim=-1)
    nearness = unit[kept] @ unit.T
    nearness.scatter_(1, kept[:, None], -torch.inf)
    nearest = nearness.topk(min(NEIGHBORS, len(keys) - 1), dim=1).indices
    weighted = tokens * attention[:, None]
    dropped = torch.ones_like(attention, dtype=torch.bool).index_fill_(0, kept, False)
    return torch.cat([tokens[kept] + weighted[nearest].sum(1), weighted[dropped].sum(0, keepdim=True)])


class PruMergeSelector(TowerSelector):
    """Ranks patches by the attention of the class token in the last block, with queries and keys not split into heads.

    The first n patches are the set that PruMerge keeps of an image, where n follows from its outliers, and all patches
    are in the order of their attention. With `plus` (PruMerge+), the patches at even distances come after the n, then
    all others, both in the order of their attention. In a ViT without a class token, attention received takes the place
    of that of the class token.

    Args:
        weights, model, heads, label_set, supervised, activation, mean, std, ema: as for the base class.
        plus: True for PruMerge+.
        block: index of the block whose attention is read, from 0 on, or from the end on if negative.
    """

    name = "prumerge"

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        supervised: bool = True,
        plus: bool = False,
        block: int = -1,
        activation: Activation | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        super().__init__(weights, model=model, supervised=supervised, block=block, activation=activation, **reading)
        self.plus = plus

    def tokens(self, images: Tensor) -> list[Tensor]:
        """The tokens for a language model, see `merge_tokens`: those before the block, which the keys belong to.

        Args:
            images: [B, 3, H, W] normalized.

        Returns:
            [n + 1, D] for each image, whose n patches depend on it, in the order of the ranking.
        """
        state = self.read(images)
        attention = state.unsplit_attention()
        levels = kept_levels(attention, outlier_share(attention), evenly=self.plus)
        order = level_scores(levels, attention).argsort(dim=1, descending=True, stable=True)
        keys = state.keys.transpose(1, 2).flatten(2)
        patches = zip(state.tokens[:, state.prefix :], keys[:, state.prefix :], attention, strict=True)
        kept = [one[:count] for one, count in zip(order, (levels > 0).sum(1).tolist(), strict=True)]
        return [merge_tokens(*one, places) for one, places in zip(patches, kept, strict=True)]

    def patch_scores(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L] scores: attention, or with `plus` levels and attention."""
        if not self.plus:
            return self.read(images).unsplit_attention()
        with torch.autocast(images.device.type, enabled=False):
            # One image at a time: one outlier more, by the rounding in a batch, moves all patches at even distances.
            attention = torch.cat([self.read(image).unsplit_attention() for image in images.float().split(1)])
            return level_scores(kept_levels(attention, outlier_share(attention), evenly=True), attention)
