"""Top-K: class attention per stage as the only criterion.

Haurum, Escalera, Taylor and Moeslund, "Which Tokens to Use? Investigating Token Reduction in Vision Transformers",
ICCVW 2023 (arXiv:2308.04657), whose strongest baseline it is: EViT without the fused token, with counts that are
shares of all patches of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.pruning.pruned_vit import PrunedViT, attention_ranking, strongest
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.pruning_stages import check_rate, quarter_stages
from ltrp_bench.selectors.vit.reading_options import ReadingOptions

KEEP_RATE = 0.7


class TopKViT(PrunedViT):
    """A ViT whose stage i (from 1 on) keeps the int(keep_rate^i · L) patches of the greatest class attention.

    L is the number of patches of the image, not of those that enter the stage. At least one patch is kept; a stage that
    fewer patches enter keeps all of them.

    Args:
        vit: timm ViT with a class token; not copied.
        stages: indices (from 0) of the blocks that drop tokens.
        keep_rate: share of the first stage.
    """

    method = "Top-K"

    def __init__(self, vit: VisionTransformer, stages: Sequence[int] = (3, 6, 9), keep_rate: float = KEEP_RATE) -> None:
        super().__init__(vit, stages)
        self.keep_rate = check_rate("keep_rate", keep_rate)

    def select(self, stage: int, scores: Tensor) -> Tensor:
        """The count of this stage."""
        count = max(1, int(self.keep_rate ** (stage + 1) * self.vit.patch_embed.num_patches))
        return strongest(scores, count)


class TopKSelector(Selector):
    """Ranks patches by the stage they survived to, then by the class attention at the stage that dropped them.

    Patches that survived all stages are ranked by the class attention of the last one.

    Args:
        weights: a file of any timm ViT with a class token, such as the official files of DeiT or of Top-K.
        model, heads, label_set, supervised: as in `load_backbone`.
        keep_rate: stage i keeps int(keep_rate^i · L) of the L patches; None is 0.7.
        target_keep_ratio: a keep rate by which the last stage keeps this share of the patches; instead of `keep_rate`.
        stages: indices (from 0) of the blocks that drop tokens; None takes a quarter, a half and three quarters of the
            depth (3, 6, 9 of 12).
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "topk"
    weights_family = "vit"

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        keep_rate: float | None = None,
        target_keep_ratio: float | None = None,
        stages: Sequence[int] | None = None,
        supervised: bool = True,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        backbone = load_backbone(weights, model, supervised=supervised, **reading)
        if stages is None:
            stages = quarter_stages(len(backbone.model.blocks))
        if target_keep_ratio is not None:
            if keep_rate is not None:
                raise UsageError("give keep_rate or target_keep_ratio, not both")
            keep_rate = check_rate("target_keep_ratio", target_keep_ratio) ** (1 / len(stages))
        self.net = TopKViT(backbone.model, stages, KEEP_RATE if keep_rate is None else keep_rate).eval()
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid_of(images)
        return attention_ranking(self.net.prune(images), gh * gw).view(-1, gh, gw)
