"""ATS: adaptive token sampling, which needs neither training nor a rate.

Fayyaz et al., "Adaptive Token Sampling for Efficient Vision Transformers", ECCV 2022 (arXiv:2111.15667), sections 3.1
and 3.2. The number of patches that a block keeps follows from the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.pruning.pruned_vit import PrunedViT
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.pruning_stages import staged_scores
from ltrp_bench.selectors.vit.reading_options import ReadingOptions


def inverse_transform_sample(scores: Tensor, points: int) -> Tensor:
    """Places, in rising order of score, of the patches that inverse transform sampling of their scores picks.

    The cumulative sum of the rising scores is shifted and scaled to [0, 1], so that the weakest patch stands at 0.
    `points` values, evenly spaced from the smallest positive value of it to 1, pick the nearest patch each. So strong
    patches are picked often, and several weak ones share a point; the weakest is never picked.

    Args:
        scores: [n] not negative.
        points: number of samples, at least 1.

    Returns:
        [m] distinct places, m <= min(n, points). Scores that are all 0, or of one patch, keep every patch.
    """
    # Sums in double: which patch is nearest must not depend on the order of additions.
    rising, order = scores.double().sort(stable=True)
    summed = rising.cumsum(0)
    span = summed[-1] - summed[0]
    if not span > 0:
        return order
    height = (summed - summed[0]) / span
    start = height[height > 0][0]
    share = torch.linspace(0, 1, points, dtype=torch.float64, device=scores.device)
    sampled = start + (1 - start) * share
    nearest = (sampled[:, None] - height).abs().argmin(dim=1)
    return order[nearest.unique()]


class ATSViT(PrunedViT):
    """A ViT whose stages sample tokens by their significance; for one image at a time, since counts differ.

    The significance of a patch is the attention of the class token to it, summed over heads, times the L2 norm of its
    value (all heads side by side), as a share of that of all patches that are left.
    """

    method = "ATS"

    def score(self, attention: Tensor, values: Tensor) -> Tensor:
        """Significance [B, n], which sums to 1."""
        significance = attention.sum(1) * values.float().transpose(1, 2).flatten(2).norm(dim=-1)
        return significance / significance.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)

    def select(self, stage: int, scores: Tensor) -> Tensor:
        """Inverse transform sampling, by as many points as the image has patches at every stage."""
        if len(scores) != 1:
            raise ValueError("ATS keeps another number of patches of each image: give it one at a time")
        return inverse_transform_sample(scores[0], self.vit.patch_embed.num_patches)[None]


class ATSSelector(Selector):
    """Ranks patches by the stage they survived to, then by their significance at the stage that dropped them.

    Patches that survived all stages are ranked by their significance at the last one.

    Args:
        weights: a file of any timm ViT with a class token, such as the official files of DeiT.
        model, heads, label_set, supervised: as in `load_backbone`.
        stages: indices (from 0) of the blocks that drop tokens; None takes all from a quarter of the depth on (3 to 11
            of 12), as published.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "ats"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        stages: Sequence[int] | None = None,
        supervised: bool = True,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        backbone = load_backbone(weights, model, supervised=supervised, **reading)
        depth = len(backbone.model.blocks)
        self.net = ATSViT(backbone.model, range(depth // 4, depth) if stages is None else stages).eval()
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid_of(images)
        with torch.autocast(images.device.type, enabled=False):
            ranked = [staged_scores(self.net.prune(image), gh * gw) for image in images.float().split(1)]
        return torch.cat(ranked).view(-1, gh, gw)
