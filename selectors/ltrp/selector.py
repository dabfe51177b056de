"""LTRP (Luo et al., "Learning to Rank Patches for Unbiased Image Redundancy Reduction", CVPR 2024): three selectors.

`ltrp` is the trained ranker, `ltrp-cluster` the ranker with diversity, and `ltrp-teacher` the pseudo scores from which
the ranker is trained. Beyond the paper, the diverse ranking is nested over keep ratios unless one ratio is given.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Channels, Selector, Supervision
from ltrp_bench.selectors.checkpoints import resolve, stored_config
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.cross_checkpoints import load_autoencoder
from ltrp_bench.selectors.ltrp.cross_density import check_cross_distance
from ltrp_bench.selectors.ltrp.cross_mae import CrossMAE
from ltrp_bench.selectors.ltrp.distances import Distance, check_distance, supervision_by
from ltrp_bench.selectors.ltrp.diversity import diverse_ranking
from ltrp_bench.selectors.ltrp.multi_scale import check_sizes, multi_scale_scores
from ltrp_bench.selectors.ltrp.positions import Positions, Sampling
from ltrp_bench.selectors.ltrp.ranker import load_ranker
from ltrp_bench.selectors.ltrp.semantic_density import Hide, average_density
from ltrp_bench.selectors.ltrp.tiles import cut_tiles, join_maps
from ltrp_bench.selectors.normalization import denormalize
from ltrp_bench.selectors.option_checks import check_value, check_whole
from ltrp_bench.selectors.vit.layers import patchify

Normalise = Literal["none", "rank"]


class LTRPSelector(Selector):
    """Ranking network of LTRP: one forward pass, trained without labels (except those of LPIPS, if that was used).

    Args:
        weights: an official LTRP file, one of ours, or the tag of bundled weights ("ltrp.shapes").
        heads: number of attention heads; only needed if neither file nor width identifies it.
        diversity: rank by score and density-peak clusters together (`ltrp-cluster`).
        cluster_keep_ratio: the only keep ratio that clusters are made for, as published; None gives a ranking with 30 %
            cluster centers at every ratio. Only with `diversity`.
        neighbours: number of nearest patches in the density-peak clustering.
        any_size: accept images of any size, with interpolated position embeddings, not only of the training size. Not
            with the published class-token head.
        sizes: sides in pixels; the scores at these image sizes are averaged (see `multi_scale_scores`). None: the
            training size alone. Not with the published class-token head, nor with `any_size`.
        seed: seed of the noise that separates equal densities.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    weights_family = "ltrp"
    later_options = ("ema", "sizes")
    supervision = Supervision.self_supervised()

    def __init__(
        self,
        weights: str | Path,
        *,
        heads: int | None = None,
        diversity: bool = False,
        cluster_keep_ratio: float | None = None,
        neighbours: int = 5,
        any_size: bool = False,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
        ema: bool | None = None,
    ) -> None:
        self.ranker = load_ranker(weights, ema=ema, **({} if heads is None else {"heads": heads}))
        self.assumptions = self.ranker.notes
        if (any_size or sizes is not None) and self.ranker.head_kind == "class_token":
            given = "any_size" if any_size else "sizes"
            raise UsageError(f"a class-token ranker scores only images of its training size: leave out {given}")
        if any_size and sizes is not None:
            raise UsageError("any_size and sizes exclude each other: sizes are those at which images are scored")
        if cluster_keep_ratio is not None and not 0 < cluster_keep_ratio <= 1:
            raise UsageError(f"cluster_keep_ratio must be in (0, 1], got {cluster_keep_ratio}")
        self.name = "ltrp-cluster" if diversity else "ltrp"
        training = stored_config(resolve(weights), "training")
        self.supervision = supervision_by(training.get("distance", "l1"))
        self.mean = cast(Channels, self.ranker.mean)
        self.std = cast(Channels, self.ranker.std)
        self.patch_size = self.ranker.patch_size
        self.input_size = None if any_size else self.ranker.image_size
        self.sizes = None if sizes is None else check_sizes(sizes, self.patch_size)
        if self.sizes is not None:
            self.input_size = (max(self.sizes), max(self.sizes))
        self.diversity, self.cluster_keep_ratio = diversity, cluster_keep_ratio
        self.neighbours, self.seed = neighbours, seed

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        if self.sizes is None:
            scores = self.ranker(images)
        else:
            scores = multi_scale_scores(self.ranker, images, self.sizes, self.patch_size)
        if self.diversity:
            scores = diverse_ranking(
                scores,
                patchify(images, self.patch_size),
                self.cluster_keep_ratio,
                self.neighbours,
                generator=torch.Generator().manual_seed(self.seed),
            )
        return scores.view(-1, *self.grid_of(images))


class LTRPClusterSelector(LTRPSelector):
    """`LTRPSelector` with diversity: 70 % by score, 30 % from density-peak clusters of the pixels of the patches."""

    version = 2

    def __init__(
        self,
        weights: str | Path,
        *,
        heads: int | None = None,
        cluster_keep_ratio: float | None = None,
        neighbours: int = 5,
        any_size: bool = False,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
        ema: bool | None = None,
    ) -> None:
        super().__init__(
            weights,
            heads=heads,
            diversity=True,
            cluster_keep_ratio=cluster_keep_ratio,
            neighbours=neighbours,
            any_size=any_size,
            sizes=sizes,
            seed=seed,
            ema=ema,
        )


@dataclass(eq=False, repr=False, kw_only=True)
class LTRPTeacher(Selector):
    """Pseudo scores from which the ranker is trained: semantic density, averaged over maskings.

    Slow: about visits / (1 - mask_ratio) maskings per image, each with a removal of every visible patch. The maskings
    of an image are drawn from its pixels and the seed, so that its scores do not depend on its batch.

    Args:
        weights: a MAE or CrossMAE file, or the tag of bundled weights ("mae.shapes").
        visits: number of maskings in which each patch is visible.
        mask_ratio, hide, distance, max_memory_mb: as in `semantic_density`.
        normalise: average raw scores ("none") or ranks within each masking ("rank").
        seed: seed of the maskings.
        positions: masked positions that a CrossMAE reconstructs: "all", a number, or a share of them (a number with a
            decimal point). They are drawn like the maskings.
        samples: number of these at which a CrossMAE's reconstructions without a patch are compared, drawn for each
            patch where it matters; None for all.
        tiles: score images of `tiles` times the autoencoder's side in `tiles` x `tiles` parts, each for itself.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    weights_family = "mae"
    later_options = ("positions", "samples", "tiles", "ema")
    supervision = Supervision.self_supervised()
    name = "ltrp-teacher"

    weights: str | Path = field(kw_only=False)
    visits: int = 3
    mask_ratio: float = 0.9
    hide: Hide = "decoder"
    distance: Distance = "l1"
    normalise: Normalise = "none"
    max_memory_mb: float | None = None
    seed: int = 0
    positions: Positions = "all"
    samples: int | None = None
    tiles: int = 1
    ema: bool | None = None

    def __post_init__(self) -> None:
        check_distance(self.distance)
        check_whole(f"selector {self.name!r}", "visits", self.visits, 1)
        check_whole(f"selector {self.name!r}", "tiles", self.tiles, 1)
        check_value(f"selector {self.name!r}", "normalise", self.normalise, Normalise)
        self.mae = load_autoencoder(self.weights, ema=self.ema)
        self.assumptions = self.mae.notes
        self.sampling = Sampling(positions=self.positions, samples=self.samples)
        cross = isinstance(self.mae, CrossMAE)
        self.sampling.check(self.mae, self.mask_ratio, self.hide == "encoder_decoder", cross)
        if cross:
            check_cross_distance(self.distance)
        self.supervision = supervision_by(self.distance)
        self.mean = cast(Channels, self.mae.mean)
        self.std = cast(Channels, self.mae.std)
        height, width = self.mae.image_size
        self.patch_size, self.input_size = self.mae.patch_size, (height * self.tiles, width * self.tiles)

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        parts = cut_tiles(images, self.tiles)
        drawn = [self._draw(part) for part in parts]
        maps = average_density(
            self.mae,
            parts,
            visits=self.visits,
            mask_ratio=self.mask_ratio,
            hide=self.hide,
            distance=self.distance,
            sampling=self.sampling,
            normalise=self.normalise,
            max_memory_mb=self.max_memory_mb,
            orders=torch.stack([orders for orders, _ in drawn]).to(images.device),
            offsets=torch.stack([offsets for _, offsets in drawn]),
        )
        return join_maps(maps, self.tiles)

    def _draw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Permutations [visits, L] and offsets of samples [visits, 2], from a tile's 8-bit pixels and the seed."""
        pixels = (denormalize(image, self.mean, self.std) * 255).round().clamp(0, 255).to(torch.uint8)
        rng = np.random.default_rng([self.seed, zlib.crc32(pixels.cpu().numpy().tobytes())])
        orders = np.stack([rng.permutation(self.mae.patches) for _ in range(self.visits)])
        return torch.from_numpy(orders), torch.from_numpy(rng.random((self.visits, 2)))
