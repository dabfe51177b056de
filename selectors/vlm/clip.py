"""Class attention of CLIP's image tower.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021. The paper ranks no
patches; the block is that of VisionZip.
"""

from __future__ import annotations

from torch import Tensor

from ltrp_bench.selectors.vlm.tower import TowerSelector


class ClipSelector(TowerSelector):
    """Ranks patches by the attention of the class token in the last block but one, mean over the heads.

    In a ViT without a class token, by the attention that they receive, mean over the heads and the patches that attend.
    """

    name = "clip"

    def attention(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, heads, L] attention of the class token, or received by patches.

        The softmax is over all tokens, so the L values of a head sum to a little less than 1 where there is a class
        token.
        """
        return self.read(images).attention()

    def patch_scores(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L] attention, mean over the heads."""
        return self.attention(images).mean(1)
