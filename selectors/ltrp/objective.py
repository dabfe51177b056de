"""Training objective of the ranker: order visible patches by their semantic density (LTRP, CVPR 2024, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_density import check_cross_distance
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.distances import Distance, check_distance
from ltrp_bench.selectors.ltrp.mae import MAE, MaskedAutoencoder, complement, count_visible, random_visible
from ltrp_bench.selectors.ltrp.positions import EXACT, Sampling, count_positions, spread_positions
from ltrp_bench.selectors.ltrp.ranker import Ranker
from ltrp_bench.selectors.ltrp.ranking_losses import Loss, ranking_loss
from ltrp_bench.selectors.ltrp.semantic_density import Hide, average_density, semantic_density
from ltrp_bench.selectors.ltrp.tiles import cut_tiles, patches_of_image
from ltrp_bench.selectors.normalization import denormalize, normalize
from ltrp_bench.selectors.option_checks import check_value


class RankingObjective(nn.Module):
    """Loss of a ranker on a batch, with pseudo scores from a frozen MAE or CrossMAE as targets.

    The MAE is no submodule, so that it is neither trained nor saved with the ranker; it is moved with it.

    Args:
        mae: reconstructs the images. If the ranker's grid is N times the MAE's, it scores N x N tiles of an image, each
            masked for itself, and the ranker orders the visible patches of all of them.
        ranker: the network to train.
        loss: "list_mle", "list_net", "rank_net", "focused_rank" or "pointwise".
        distance, mask_ratio, hide, max_memory_mb: as in `semantic_density`.
        sampling: predictions of a `CrossMAE` that are compared, drawn anew for each batch.
        sublist: number of random entries of a list that ListMLE uses; None for the whole list.
        asymmetric: the ranker gets the visible patches only; otherwise the whole image, with a loss at these patches.
        visits: 0 (the paper) takes the scores of the visible patches from their own masking. V >= 1 averages over V
            maskings in which each patch is visible; less noise, at about 10 V times the cost.
    """

    def __init__(
        self,
        mae: MAE | CrossMAE,
        ranker: Ranker,
        *,
        loss: Loss = "list_mle",
        distance: Distance = "l1",
        mask_ratio: float = 0.9,
        hide: Hide = "decoder",
        sublist: int | None = 20,
        asymmetric: bool = True,
        visits: int = 0,
        sampling: Sampling = EXACT,
        max_memory_mb: float | None = None,
    ) -> None:
        super().__init__()
        tiles = max(1, ranker.grid[0] // mae.grid[0])
        if ranker.grid != (mae.grid[0] * tiles, mae.grid[1] * tiles) or mae.patch_size != ranker.patch_size:
            raise UsageError(
                f"the MAE cuts images or their tiles into {mae.grid} patches of {mae.patch_size} pixels, "
                f"the ranker images into {ranker.grid} of {ranker.patch_size}"
            )
        check_value("ranking objective", "loss", loss, Loss)
        check_distance(distance)
        sampling.check(mae, mask_ratio, hide == "encoder_decoder", isinstance(mae, CrossMAE))
        if isinstance(mae, CrossMAE):
            check_cross_distance(distance)
        self.ranker = ranker
        self.sampling = sampling
        self._frozen = (mae.eval().requires_grad_(False),)  # in a tuple, hidden from nn.Module
        self.loss, self.sublist, self.asymmetric, self.visits = loss, sublist, asymmetric, visits
        self.mask_ratio, self.tiles = mask_ratio, tiles
        self.density: dict[str, Any] = {"hide": hide, "distance": distance, "max_memory_mb": max_memory_mb}

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> RankingObjective:
        self._frozen[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scalar loss of [B, 3, H, W] images, normalized by the mean and std of the ranker.

        Visible patches and sub-lists are drawn from `generator`.
        """
        visible, true = self.pseudo_scores(images, generator)
        pred = self.ranker(images, visible) if self.asymmetric else self.ranker(images).gather(1, visible)
        return ranking_loss(self.loss, pred.float(), true, self.sublist, generator)

    @torch.no_grad()
    def pseudo_scores(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Random visible patches [B, n] and their semantic density [B, n]; n counts those of all tiles."""
        mae = self._frozen[0]
        parts = cut_tiles(renormalize(images, self.ranker, mae), self.tiles)
        visible, scores = self._density(mae, parts, generator)
        return patches_of_image(visible, mae.grid, self.tiles), scores.view(len(images), -1)

    def _density(self, mae: MAE | CrossMAE, images: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Random visible patches [B, n] of images of the autoencoder's size, and their semantic density [B, n]."""
        keep = count_visible(self.mask_ratio, mae.patches)
        visible = random_visible(len(images), mae.patches, keep, generator, images.device)
        if self.visits == 0:
            if self.sampling.exact:
                return semantic_density(mae, images, visible, **self.density)
            masked = complement(visible, mae.patches)
            places, starts = torch.rand(2, len(images), generator=generator)
            count = count_positions(self.sampling.positions, masked.shape[1])
            positions = spread_positions(masked, count, mae.grid, places)
            return semantic_density(
                mae,
                images,
                visible,
                positions=positions,
                samples=self.sampling.samples,
                starts=starts,
                **self.density,
            )
        scores = average_density(
            mae,
            images,
            visits=self.visits,
            mask_ratio=self.mask_ratio,
            sampling=self.sampling,
            generator=generator,
            **self.density,
        )
        return visible, scores.flatten(1).gather(1, visible)


def renormalize(images: Tensor, old: Ranker | MaskedAutoencoder, new: Ranker | MaskedAutoencoder) -> Tensor:
    """Images normalized for one model -> normalized for another."""
    if old.mean == new.mean and old.std == new.std:
        return images
    return normalize(denormalize(images, old.mean, old.std), new.mean, new.std)
