"""Density-peak clusters as a ranking of all patches.

Du, Ding and Jia, "Study on density peaks clustering based on k-nearest neighbors and principal component analysis",
Knowledge-Based Systems 2016, after Rodriguez and Laio, Science 2014; the form is TCFormer's (Zeng et al., CVPR 2022,
section 3.2), which LTRP's comparison uses too.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.diversity import density_peaks
from ltrp_bench.selectors.patch_statistics import MAE_ONLY, PlainSelector, no_weights_no_options
from ltrp_bench.selectors.vit.backbones import blocks_until, load_backbone, tokens
from ltrp_bench.selectors.vit.layers import patchify

NOISE = 1e-6


class DPCKNNSelector(PlainSelector):
    """Keeps the centres of density-peak clusters: k patches kept are the centres of the k-cluster partition.

    The score is density times distance to the nearest denser patch. The centres of k clusters are the k greatest
    of these products for every k, so one ranking serves all keep ratios and is nested.

    Args:
        weights: ViT whose patch tokens are clustered: the last block's, each brought to mean 0 and variance 1
            over its channels, so that no few large channels make all distances. None: the patches' raw pixels.
        patch_size: pixels along the side of a patch; with weights theirs holds.
        neighbours: nearest patches (the patch itself is one) that make the density, from 2 on.
        model, heads, label_set: as in `load_backbone`; only with weights. The supervision is the weights' own.
        seed: of the noise, below 1e-6, that separates equal densities.
    """

    name = "dpc-knn"
    version = 2

    def __init__(
        self,
        weights: str | Path | None = None,
        patch_size: int = 16,
        neighbours: int = 5,
        model: str | None = None,
        heads: int | None = None,
        label_set: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(patch_size)
        if not isinstance(neighbours, int) or isinstance(neighbours, bool) or neighbours < 2:
            raise UsageError(f"selector {self.name!r}: neighbours is a whole number from 2 on, got {neighbours!r}")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise UsageError(f"selector {self.name!r}: seed is a whole number, got {seed!r}")
        self.neighbours, self.seed = neighbours, seed
        self.model = None
        if weights is None:
            no_weights_no_options(self.name, model=model, heads=heads, label_set=label_set)
            return
        backbone = load_backbone(weights, model, heads, label_set, drop=MAE_ONLY)
        self.model, self.mean, self.std = backbone.model, backbone.mean, backbone.std
        self.patch_size, self.input_size = backbone.patch_size, backbone.image_size
        self.supervision = backbone.supervision

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalised images -> [B, L, C], what is clustered."""
        if self.model is None:
            return patchify(images.float(), self.patch_size)
        x = blocks_until(self.model, tokens(self.model, images), len(self.model.blocks))
        return F.layer_norm(x[:, self.model.num_prefix_tokens :].float(), x.shape[-1:])

    def _scores(self, images: Tensor, context: BatchContext | None) -> Tensor:
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        noise = torch.Generator().manual_seed(self.seed)
        peaks, _ = density_peaks(self.features(images), self.neighbours, NOISE, noise)
        return peaks.unflatten(1, grid)
