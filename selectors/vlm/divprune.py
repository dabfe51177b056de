"""DivPrune: tokens that are as different from each other as possible.

Alvar et al., "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models", CVPR 2025
(arXiv:2503.02175), implemented from section 3 of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ltrp_bench.selectors.vlm.tower import TowerSelector


def max_min_order(features: Tensor) -> Tensor:
    """Order in which the greedy solution of the max-min diversity problem takes the patches.

    The distance of two patches is one minus the cosine of their features. The first patch is the one whose nearest
    other is the farthest away; each next one is the farthest from its nearest patch among those taken. The subset of
    any size is thus contained in every larger one. Of equal distances the first in raster order counts.

    Args:
        features: [B, L, D].

    Returns:
        [B, L] raster indices of all patches, in the order taken.
    """
    unit = normalize(features, dim=-1)
    distance = 1 - unit @ unit.transpose(1, 2)
    itself = torch.eye(distance.shape[1], dtype=torch.bool, device=distance.device)
    taken = distance.masked_fill(itself, torch.inf).amin(2).argmax(1, keepdim=True)
    nearest = torch.full_like(distance[:, 0], torch.inf)
    order = [taken]
    while len(order) < distance.shape[1]:
        nearest = nearest.minimum(distance.gather(1, taken[..., None].expand(-1, -1, distance.shape[2]))[:, 0])
        # A patch that is taken is out, also where copies of it have the distance 0 as well.
        nearest = nearest.scatter(1, taken, -torch.inf)
        taken = nearest.argmax(1, keepdim=True)
        order.append(taken)
    return torch.cat(order, dim=1)


class DivPruneSelector(TowerSelector):
    """Ranks patches by the step at which the greedy solution takes them.

    Features are the output of the last block but one. The k best patches are the greedy solution for k patches. Always
    in float32 and one image at a time: a small difference can change one step and all later ones.
    """

    name = "divprune"

    def patch_scores(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L] scores: minus the step, from 0 on."""
        with torch.autocast(images.device.type, enabled=False):
            features = torch.cat([self.reader.features(image, self.block) for image in images.float().split(1)])
            return -max_min_order(features[:, self.reader.prefix :]).argsort(dim=1).float()
