"""The ranker's training objective: order the visible patches as their semantic density does (LTRP, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.distances import Distance, check_distance
from ltrp_bench.selectors.ltrp.mae import MAE, count_visible, random_visible
from ltrp_bench.selectors.ltrp.ranker import Ranker
from ltrp_bench.selectors.ltrp.ranking_losses import Loss, ranking_loss
from ltrp_bench.selectors.ltrp.semantic_density import Hide, average_density, semantic_density


class RankingObjective(nn.Module):
    """Loss of a ranker on a batch, against pseudo scores from a frozen MAE.

    The MAE is not a submodule: it is neither trained nor saved with the ranker, but moves with it.

    Args:
        mae: the reconstructor; its patch grid must be the ranker's.
        ranker: the network to train.
        loss: "list_mle", "list_net", "rank_net", "focused_rank" or "pointwise".
        distance, mask_ratio, hide, max_memory_mb: as in `semantic_density`.
        sublist: ListMLE over this many random entries of a list; None for the whole list.
        asymmetric: the ranker sees the visible patches only; otherwise the whole image, supervised at them.
        visits: 0 (the paper): the visible patches' scores come from their own masking. V >= 1: from the average
            over V maskings in which each patch of the image is visible; less noisy, some ten times V dearer.
    """

    def __init__(
        self,
        mae: MAE,
        ranker: Ranker,
        loss: Loss = "list_mle",
        distance: Distance = "l1",
        mask_ratio: float = 0.9,
        hide: Hide = "decoder",
        sublist: int | None = 20,
        asymmetric: bool = True,
        visits: int = 0,
        max_memory_mb: float | None = None,
    ) -> None:
        super().__init__()
        if mae.grid != ranker.grid or mae.patch_size != ranker.patch_size:
            raise UsageError(
                f"the MAE cuts images into {mae.grid} patches of {mae.patch_size} pixels, "
                f"the ranker into {ranker.grid} of {ranker.patch_size}"
            )
        if loss not in get_args(Loss):
            raise UsageError(f"no ranking loss {loss!r}; choose one of {', '.join(get_args(Loss))}")
        check_distance(distance)
        self.ranker = ranker
        self._frozen = (mae.eval().requires_grad_(False),)  # in a tuple, unseen by nn.Module
        self.loss, self.sublist, self.asymmetric, self.visits = loss, sublist, asymmetric, visits
        self.mask_ratio = mask_ratio
        self.density: dict[str, Any] = {"hide": hide, "distance": distance, "max_memory_mb": max_memory_mb}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> RankingObjective:
        self._frozen[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scalar loss of [B, 3, H, W] images normalised by the ranker's mean and std.

        All randomness (visible patches, sub-lists) comes from `generator`.
        """
        visible, true = self.pseudo_scores(images, generator)
        pred = self.ranker(images, visible) if self.asymmetric else self.ranker(images).gather(1, visible)
        return ranking_loss(self.loss, pred.float(), true, self.sublist, generator)

    @torch.no_grad()
    def pseudo_scores(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Random visible patches [B, n] and their semantic density [B, n]."""
        mae = self._frozen[0]
        keep = count_visible(self.mask_ratio, mae.patches)
        visible = random_visible(len(images), mae.patches, keep, generator, images.device)
        images = renormalise(images, self.ranker, mae)
        if self.visits == 0:
            return semantic_density(mae, images, visible, **self.density)
        scores = average_density(mae, images, self.visits, self.mask_ratio, generator=generator, **self.density)
        return visible, scores.flatten(1).gather(1, visible)


def renormalise(images: Tensor, old: Ranker | MAE, new: Ranker | MAE) -> Tensor:
    """Images normalised for one model, as another wants them."""
    if old.mean == new.mean and old.std == new.std:
        return images
    a_mean, a_std, b_mean, b_std = (
        images.new_tensor(x).view(1, 3, 1, 1) for x in (old.mean, old.std, new.mean, new.std)
    )
    return (images * a_std + a_mean - b_mean) / b_std
