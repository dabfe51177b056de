"""VisionZip: the tokens that the class token attends to, and the rest merged into a few.

Yang et al., "VisionZip: Longer is Better but Not Necessary in Vision Language Models", CVPR 2025 (arXiv:2412.04467),
section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vlm.tower import TowerSelector


def compress_tokens(tokens: Tensor, keys: Tensor, scores: Tensor, dominant: int, contextual: int) -> Tensor:
    """The tokens that VisionZip hands to a language model.

    The dominant tokens are the class token and the patches of the highest score, in the order of the image. Every
    (n // contextual)-th of the n other patches is a target. The rest joins the target with the most similar key, and a
    contextual token is the target plus the mean of the patches that joined it.

    Args:
        tokens: [B, 1 + L, D] class token and patches.
        keys: [B, L, d] keys of the patches, mean of the heads.
        scores: [B, L], greater = dominant.
        dominant: number of dominant tokens, the class token among them, from 1 on.
        contextual: number of contextual tokens, at most one for each other patch.

    Returns:
        [B, dominant + contextual, D].
    """
    best = scores.argsort(dim=1, descending=True, stable=True)[:, : dominant - 1]
    chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best, True)
    kept, others = (where.nonzero()[:, 1].view(len(scores), -1) for where in (chosen, ~chosen))
    patches, count = tokens[:, 1:], others.shape[1]
    places = torch.arange(count, device=tokens.device)
    targets = places[:: max(1, count // contextual)][:contextual]
    joining = places[~torch.isin(places, targets)]
    unit, left = normalize(take(keys, others), dim=-1), take(patches, others)
    nearest = (unit[:, joining] @ unit[:, targets].transpose(1, 2)).argmax(-1)
    members = one_hot(nearest, contextual).to(tokens.dtype).transpose(1, 2)
    mean = members @ left[:, joining] / members.sum(-1, keepdim=True).clamp_min(1)
    return torch.cat([tokens[:, :1], take(patches, kept), left[:, targets] + mean], dim=1)


class VisionZipSelector(TowerSelector):
    """Ranks patches by the attention of the class token in the last block but one, summed over the heads.

    These are VisionZip's dominant tokens: the k best patches are its choice for k + 1 dominant tokens, the class token
    among them. Contextual tokens are mixtures of the patches that were dropped, and are no part of the ranking. In a
    ViT without a class token, patches are ranked by the attention that they receive, as the paper does.
    """

    name = "visionzip"

    def tokens(self, images: Tensor, dominant: int = 54, contextual: int = 10) -> Tensor:
        """The tokens for a language model, see `compress_tokens`: the block's output, without the final norm.

        Args:
            images: [B, 3, H, W] normalized.
            dominant, contextual: numbers of tokens; the published 64 are 54 and 10.

        Returns:
            [B, dominant + contextual, D].

        Raises:
            UsageError: more tokens than there are, or a ViT without a class token.
        """
        state = self.read(images)
        patches = state.tokens.shape[1] - state.prefix
        if not state.has_class_token or state.prefix != 1:
            raise UsageError("VisionZip's tokens are defined for ViTs with a class token alone before the patches")
        if min(dominant, contextual) < 1 or dominant + contextual > patches + 1:
            raise UsageError(f"dominant={dominant} and contextual={contextual} of {patches} patches and a class token")
        keys = state.keys.mean(1)[:, state.prefix :]
        output = self.reader.features(images, self.block)
        return compress_tokens(output, keys, state.attention().sum(1), dominant, contextual)

    def patch_scores(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L] attention of the class token, summed over the heads."""
        return self.read(images).attention().sum(1)
