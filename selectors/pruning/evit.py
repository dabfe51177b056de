"""EViT: token reorganization by class attention (Liang et al., "Not All Patches are What You Need", ICLR 2022).

Inside some blocks, between attention and MLP, the tokens with the highest attention from the class token are kept, and
the others are fused into one token, weighted by that attention (section 3 of the paper). The selector ranks patches by
the stage they survived to. A fused token is tracked as no patch; in the published code its index aliases patch 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from typing_extensions import Unpack

from ltrp_bench.selectors.base import BatchContext, Selector
from ltrp_bench.selectors.checkpoints import resolve, save_safetensors, stored_arguments, stored_config
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.pruning.pruned_vit import PrunedViT, attention_ranking, strongest
from ltrp_bench.selectors.vit.backbones import load_backbone
from ltrp_bench.selectors.vit.blocks import config_of
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.selectors.vit.pruning_stages import check_rate, quarter_stages
from ltrp_bench.selectors.vit.reading_options import ReadingOptions

KEEP_RATE = 0.7


class EViT(PrunedViT):
    """A ViT that drops inattentive tokens in some of its blocks, without further weights.

    The scores of a stage are the class attentions (mean of the heads) of its incoming tokens. A fused token is -1 in
    `entered` and `kept`, so that it is never taken for a patch.

    Args:
        vit: timm ViT with a class token; not copied. Official files hold its state dict.
        stages: indices (from 0) of the blocks that drop tokens.
        keep_rate: share of the incoming tokens that a stage keeps, rounded up. May be changed between training steps
            (`shrinking_keep_rate`).
        fuse: fuse the dropped tokens into one; otherwise they are discarded.
    """

    method = "EViT"

    def __init__(
        self,
        vit: VisionTransformer,
        stages: Sequence[int] = (3, 6, 9),
        keep_rate: float = KEEP_RATE,
        fuse: bool = True,
    ) -> None:
        super().__init__(vit, stages)
        self.keep_rate = check_rate("keep_rate", keep_rate)
        self.fuse = fuse

    @property
    def config(self) -> dict[str, Any]:
        """Configuration for the metadata of a file, from which the model can be built again."""
        return {**config_of(self.vit), "stages": list(self.stages), "keep_rate": self.keep_rate, "fuse": self.fuse}

    def select(self, stage: int, scores: Tensor) -> Tensor:
        """The share `keep_rate` of the incoming tokens, rounded up."""
        return strongest(scores, math.ceil(self.keep_rate * scores.shape[1]))

    def extra_token(self, rest: Tensor, scores: Tensor, kept: Tensor) -> Tensor | None:
        """The dropped tokens' sum, weighted by their class attention."""
        if not self.fuse:
            return None
        others = strongest(scores, scores.shape[1])[:, kept.shape[1] :]
        weights = scores.gather(1, others).unsqueeze(-1).to(rest.dtype)
        return (take(rest, others) * weights).sum(1, keepdim=True)


def shrinking_keep_rate(
    progress: float, keep_rate: float = KEEP_RATE, start: float = 10 / 300, end: float = 110 / 300
) -> float:
    """Keep rate at a point of the training: 1 at first, then a cosine decay to `keep_rate`, as published.

    Args:
        progress: share of the training that is done, in [0, 1].
        keep_rate: final keep rate.
        start, end: shares of the training between which it decays; published: epochs 10 and 110 of 300.
    """
    share = min(1.0, max(0.0, (progress - start) / (end - start)))
    return keep_rate + (1 - keep_rate) * 0.5 * (1 + math.cos(math.pi * share))


def save_evit(path: str | Path, module: EViT, config: Mapping[str, Any] | None = None, **metadata: Any) -> None:
    """Write a trained EViT as safetensors under the official keys.

    Args:
        path: file to write.
        module: the trained model.
        config: entries that the module does not know: "label_set", "mean", "std", "classes" (names); also a
            "keep_rate" other than the current one of the module.
        metadata: further entries, e.g. curve= or command=.
    """
    full = {**module.config, **(config or {})}
    save_safetensors(path, module.vit.state_dict(), {"kind": "evit", "config": full, **metadata})


def _stored_options(path: Path) -> dict[str, Any]:
    """Stages, keep rate and fusion from the metadata of our files, or the command line (`args`) of official files."""
    config = stored_config(path)
    if config:
        return dict(config)
    arguments = stored_arguments(path)
    names = {"base_keep_rate": "keep_rate", "fuse_token": "fuse", "drop_loc": "stages"}
    stored = {ours: arguments[theirs] for theirs, ours in names.items() if arguments.get(theirs) is not None}
    if isinstance(stored.get("stages"), str):
        # As on the official command line: "(3, 6, 9)".
        stored["stages"] = [int(number) for number in re.findall(r"\d+", stored["stages"])]
    return stored


class EViTSelector(Selector):
    """Ranks patches by the stage they survived to, then by the class attention at the stage that dropped them.

    With the weights of a plain ViT this is training-free EViT.

    Args:
        weights: an official EViT file, one of ours, or a file of any timm ViT with a class token.
        model, heads, label_set, supervised: as in `load_backbone`.
        keep_rate: share that each stage keeps; None takes that of the file, else the published 0.7.
        target_keep_ratio: keep r^(1/3) (with n stages: r^(1/n)) at each stage instead, for this one ratio r. This is
            the protocol of the LTRP paper, which runs the method once per ratio.
        stages: indices (from 0) of the blocks that drop tokens; None takes those of the file, else a quarter, a half
            and three quarters of the depth (3, 6, 9 of 12).
        fuse: fuse dropped tokens into one; None takes the setting of the file, else True.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "evit"
    weights_family = "evit"
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        keep_rate: float | None = None,
        target_keep_ratio: float | None = None,
        stages: Sequence[int] | None = None,
        fuse: bool | None = None,
        supervised: bool = True,
        **reading: Unpack[ReadingOptions],
    ) -> None:
        path = resolve(weights)
        known = _stored_options(path)
        backbone = load_backbone(path, model, supervised=supervised, published="keep_rate" in known, **reading)
        if stages is None:
            stages = known.get("stages") or quarter_stages(len(backbone.model.blocks))
        if target_keep_ratio is not None:
            if keep_rate is not None:
                raise UsageError("give keep_rate or target_keep_ratio, not both")
            keep_rate = check_rate("target_keep_ratio", target_keep_ratio) ** (1 / len(stages))
        rate = known.get("keep_rate", KEEP_RATE) if keep_rate is None else keep_rate
        self.net = EViT(backbone.model, stages, rate, known.get("fuse", True) if fuse is None else fuse).eval()
        backbone.configure(self)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        gh, gw = self.grid_of(images)
        return attention_ranking(self.net.prune(images), gh * gw).view(-1, gh, gw)
