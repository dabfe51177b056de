"""DynamicViT (Rao et al., NeurIPS 2021): patches are ranked by the stage they survived to, then by their keep score."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import (
    load_into,
    mismatch,
    read_weights,
    resolve,
    stored_config,
    strip_prefix,
)
from ltrp_bench.selectors.dynamicvit.model import PREDICTOR, DynamicViT
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import count_blocks
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.pruning_stages import check_rate, quarter_stages, staged_scores

KEEP_RATE = 0.7
HEADS = {256: 4}
"""Heads by width; 256 is the width of DynamicViT-DeiT-256, in which no plain ViT was published."""


class DynamicViTSelector(Selector):
    """Ranks patches by the stage they survived to, then by the keep score at the stage that dropped them.

    Args:
        weights: an official DynamicViT-DeiT file (S, B, 256) or one of ours.
        heads, label_set: as in `load_backbone`.
        keep_rate: ρ; the stages keep ρ, ρ², ρ³ of the patches. None takes the shares of the file, else the published
            ρ = 0.7, which official files do not hold.
        stages: indices (from 0) of the blocks before which tokens are dropped; None takes those of the file, else a
            quarter, a half and three quarters of the depth (3, 6, 9 of 12).
        mean, std: normalization of the images per channel, if it is not that of the published files.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "dynamicvit"
    weights_family = "dynamicvit"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        heads: int | None = None,
        label_set: str | None = None,
        keep_rate: float | None = None,
        stages: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        weights = resolve(weights)
        known = stored_config(weights)
        state = read_weights(weights, ema).under(re.escape(f"{PREDICTOR}0.in_conv.1.weight")).state
        what = f"the DynamicViT {Path(weights).name}"
        if f"{PREDICTOR}0.in_conv.1.weight" not in state:
            raise mismatch(what, state, [f"{PREDICTOR}0.in_conv.1.weight"])
        heads = heads or HEADS.get(int(state[f"{PREDICTOR}0.in_conv.1.weight"].shape[0]))
        backbone = load_backbone(
            weights, heads=heads, label_set=label_set, drop=(PREDICTOR,), mean=mean, std=std, published=True, ema=ema
        )
        if stages is None:
            stages = known.get("stages") or quarter_stages(len(backbone.model.blocks))
        count = len(stages)
        found = count_blocks(state, PREDICTOR.removesuffix("."))
        if found != count:
            raise UsageError(f"{what} has {found} score predictors for {count} stages: give stages= as many")
        if keep_rate is not None:
            rate = check_rate("keep_rate", keep_rate)
            ratios = [rate ** (i + 1) for i in range(count)]
        else:
            ratios = known.get("token_ratio") or [KEEP_RATE ** (i + 1) for i in range(count)]
        self.net = DynamicViT(backbone.model, stages, ratios).eval().requires_grad_(False)
        load_into(self.net.score_predictor, strip_prefix(state, PREDICTOR), f"the score predictors of {what}")
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid_of(images)
        return staged_scores(self.net.prune(images), gh * gw).view(-1, gh, gw)
