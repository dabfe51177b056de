"""Class attention of a self-supervised ViT: selectors `dino`, `dinov2` and `moco`.

Patches are ranked by the attention of the class token to them in the last block.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021 (DINO); Chen et al., "An
Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021 (MoCo v3); Oquab et al., "DINOv2: Learning
Robust Visual Features without Supervision", TMLR 2024; Darcet et al., "Vision Transformers Need Registers", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ltrp_bench.selectors.attention.unlabelled import load_unlabelled
from ltrp_bench.selectors.base import BatchContext, Selector, Supervision
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.option_checks import check_value
from ltrp_bench.selectors.vit.embedding import Resampling, antialiased, with_offset
from ltrp_bench.selectors.vit.families import ViT, has_class_token, heads_of
from ltrp_bench.selectors.vit.reading import ViTReader

Rule = Literal["mean", "head", "mass"]


class ClassAttentionSelector(Selector):
    """Ranks patches by the attention of the class token in the last block.

    Args:
        weights: an official file or one of ours.
        rule: how the heads become one score: "mean" of the heads, one "head", or "mass" (see `mass_ranking`).
        head: index of the head, from 0 on; only with `rule="head"`.
        mass: share of the attention's mass that the mass rule keeps, in (0, 1].
        heads: number of attention heads; only needed if it is not the published one.
        any_size: accept images of any whole number of patches, with interpolated positions, not only of the training
            size.
        mean, std: normalization of the images per channel, if the file does not say it; see `load_backbone`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    supervision = Supervision.self_supervised()
    later_options = ("mean", "std", "ema")
    _drop: tuple[str, ...] = ()
    _probes = False
    _published_heads: int | None = None
    _model_name: str | None = None

    def __init__(
        self,
        weights: str | Path,
        *,
        rule: Rule = "mean",
        head: int | None = None,
        mass: float = 0.6,
        heads: int | None = None,
        any_size: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        backbone = load_unlabelled(
            weights,
            self.name,
            model=self._model_name,
            drop=self._drop,
            probes=self._probes,
            heads=heads,
            published_heads=self._published_heads,
            mean=mean,
            std=std,
            ema=ema,
        )
        self.model = backbone.model
        check_layout(self.model, self.name)
        count = heads_of(self.model)
        check_value(f"selector {self.name!r}", "rule", rule, Rule)
        if (rule == "head") != (head is not None) or (head is not None and not 0 <= head < count):
            raise UsageError(
                f"selector {self.name!r}: rule=head takes head=0 to {count - 1}, others none; "
                f"got rule={rule}, head={head}"
            )
        if not 0 < mass <= 1:
            raise UsageError(f"selector {self.name!r}: mass must be in (0, 1], got {mass}")
        backbone.configure(self)
        if any_size:
            self.input_size = None
        self.rule, self.head, self.mass = rule, head, mass
        self.reader = ViTReader(self.model, self._resampling())

    def _resampling(self) -> Resampling:
        """What makes position embeddings for images of another size."""
        return with_offset

    def attention(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, heads, L] attention of the class token in the last block.

        The softmax includes class and register tokens, so the L values of a head sum to less than 1.
        """
        return self.reader.class_attention(images)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        attention = self.attention(images).float()
        if self.rule == "mass":
            scores = mass_ranking(attention, self.mass)
        else:
            scores = attention.mean(1) if self.head is None else attention[:, self.head]
        return scores.unflatten(1, self.grid_of(images))


class DinoSelector(ClassAttentionSelector):
    """DINO: class attention of a ViT trained by self-distillation."""

    name = "dino"
    weights_family = "dino"
    _drop = ("head.",)


class DinoV2Selector(ClassAttentionSelector):
    """DINOv2: class attention of a ViT trained by self-distillation and masked tokens, with or without registers.

    Args:
        weights, rule, head, mass, heads, any_size, mean, std, ema: as of the base class.
        model: name of a timm model, see `load_backbone`.
        image_size: side of the images in pixels, a multiple of the patch size; the published evaluation has 224, the
            training ended at 518.
    """

    name = "dinov2"
    _drop = ("head.",)

    def __init__(
        self,
        weights: str | Path,
        *,
        model: str | None = None,
        image_size: int = 224,
        any_size: bool = False,
        **options: Any,
    ) -> None:
        self._model_name = model
        super().__init__(weights, any_size=any_size, **options)
        if isinstance(image_size, bool) or image_size < 1 or image_size % self.patch_size:
            raise UsageError(
                f"selector {self.name!r}: image_size={image_size} is no multiple of patches of {self.patch_size}"
            )
        if not any_size:
            self.input_size = (image_size, image_size)

    def _resampling(self) -> Resampling:
        """Official weights with registers are resampled to the exact size with antialiasing, others with the offset."""
        return antialiased if self.model.num_prefix_tokens > 1 else with_offset


class MocoSelector(ClassAttentionSelector):
    """MoCo v3: class attention of a ViT trained by contrastive learning. Published ViT-S and ViT-B have 12 heads."""

    name = "moco"
    weights_family = "moco"
    _drop = ("head.",)
    _probes = True
    _published_heads = 12

    def __init__(self, weights: str | Path, *, heads: int = 12, **options: Any) -> None:
        super().__init__(weights, heads=heads, **options)


def check_layout(model: ViT, name: str) -> None:
    """Raise `InputError` unless a ViT has a class token and blocks whose attention is read."""
    if not has_class_token(model):
        raise InputError(f"selector {name!r} reads the attention of a class token, which these weights do not have")
    heads_of(model)


def mass_ranking(attention: Tensor, mass: float) -> Tensor:
    """Full ranking by the published mass rule, summed over heads.

    A head keeps its strongest patches until they hold the share `mass` of its attention to patches. Patches are ranked
    by the number of heads that keep them. Ties are broken by the mean over heads of the share of attention that a patch
    and all weaker ones hold (1 for the strongest patch of a head).

    Args:
        attention: [B, heads, L], not negative.
        mass: share of attention that is kept, in (0, 1].

    Returns:
        [B, L]: the integer part is the number of heads that keep the patch, the fraction is the mean share, below 1.
    """
    share = attention / attention.sum(-1, keepdim=True).clamp_min(torch.finfo(attention.dtype).tiny)
    # Sums in double: which patch crosses the threshold must not depend on the order of additions.
    ordered, order = share.double().sort(dim=-1, stable=True)
    held = ordered.cumsum(-1)
    # From the weakest on: patches are dropped up to a share of 1 - mass.
    kept = (held > 1 - mass).double() if mass < 1 else torch.ones_like(held)
    back = order.argsort(dim=-1)
    count, level = (x.gather(-1, back) for x in (kept, held))
    return (count.sum(1) + level.mean(1) * (1 - 1e-6)).float()
