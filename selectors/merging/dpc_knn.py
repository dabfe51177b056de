"""DPC-KNN: ranks patches as centers of density-peak clusters.

Du, Ding and Jia, "Study on density peaks clustering based on k-nearest neighbors and principal component analysis",
Knowledge-Based Systems 2016, after Rodriguez and Laio, Science 2014; in the form of TCFormer (Zeng et al., CVPR 2022,
section 3.2), which the LTRP paper compares with too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.ltrp.diversity import density_peaks
from ltrp_bench.selectors.option_checks import check_value, check_whole
from ltrp_bench.selectors.patch_statistics import PlainSelector
from ltrp_bench.selectors.vit.layers import patchify
from ltrp_bench.selectors.vit.reading import ViTReader

NOISE = 1e-6


class DPCKNNSelector(PlainSelector):
    """Keeps the centers of density-peak clusters: the k kept patches are the centers of the partition into k clusters.

    The score is the density times the distance to the nearest denser patch. The centers of k clusters are the k
    greatest of these products for every k, so one ranking serves all keep ratios and is nested.

    Args:
        weights: ViT whose patch tokens are clustered: those of the last block, each normalized to mean 0 and variance
            1 over its channels, so that a few large channels do not dominate. None clusters raw pixels.
        patch_size: side of a patch in pixels; ignored with weights, which have their own.
        neighbours: number of nearest patches, itself included, that determine the density; at least 2.
        model, heads, label_set: as in `load_backbone`; only with weights, whose supervision the selector has.
        seed: seed of the noise, below 1e-6, that separates equal densities.
        mean, std: normalization of the images per channel, if the file does not say it; only with weights.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
    """

    name = "dpc-knn"
    version = 2
    later_options = ("mean", "std", "ema")

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        patch_size: int = 16,
        neighbours: int = 5,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ema: bool | None = None,
    ) -> None:
        super().__init__(patch_size)
        check_whole(f"selector {self.name!r}", "neighbours", neighbours, 2)
        check_value(f"selector {self.name!r}", "seed", seed, int)
        self.neighbours, self.seed = neighbours, seed
        self.model = self.read_backbone(
            weights, model=model, heads=heads, label_set=label_set, mean=mean, std=std, ema=ema
        )

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L, C] features that are clustered."""
        if self.model is None:
            return patchify(images.float(), self.patch_size)
        reader = ViTReader(self.model)
        x = reader.features(images)[:, reader.prefix :]
        return F.layer_norm(x.float(), x.shape[-1:])

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        noise = torch.Generator().manual_seed(self.seed)
        peaks, _ = density_peaks(self.features(images), self.neighbours, NOISE, noise)
        return peaks.unflatten(1, self.grid_of(images))
