"""Convolutional stem instead of the patch projection of a ViT (Xiao et al., "Early convolutions", NeurIPS 2021)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError

PREFIX = "patch_embed.stem."


class ConvStem(nn.Module):
    """Images to patch tokens: 4x4 convolutions of stride 2 down to one position per patch, then one 3x3 and one 1x1.

    The kernels are 4x4, not 3x3, so that the receptive field is centered on the patch; it extends a few pixels beyond.
    Channels double up to the width of the ViT; all but the last convolution are followed by batch norm and ReLU.

    Args:
        image_size: side of the images in pixels.
        patch_size: side of a patch in pixels, a power of 2 from 2 on.
        embed_dim: width of the tokens.
    """

    def __init__(self, image_size: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        if patch_size < 2 or 2**halvings != patch_size or image_size % patch_size:
            raise UsageError(
                f"a convolutional stem needs patches of 2, 4, 8, … pixels, got {patch_size} of {image_size}"
            )
        widths = [3, *(max(8, 3 * embed_dim // 4 >> (halvings - 1 - i)) for i in range(halvings)), embed_dim]
        self.stem = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, *((4, 2) if i < halvings else (3, 1)), 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for i, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.proj = nn.Conv2d(embed_dim, embed_dim, 1)
        # Attributes that timm's ViT needs from its patch embedding.
        self.img_size, self.patch_size = (image_size, image_size), (patch_size, patch_size)
        self.grid_size = (image_size // patch_size, image_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalized images -> [B, L, D] tokens in raster order."""
        for layer in self.stem:
            images = layer(images)
        return self.proj(images).flatten(2).transpose(1, 2)


def stem_patch_size(state: Mapping[str, Tensor]) -> int | None:
    """Patch size of the stem in the state dict of a ViT; None if it has a plain projection."""
    layers = {key[len(PREFIX) :].partition(".")[0] for key in state if key.startswith(PREFIX)}
    return 2 ** (len(layers) - 1) if layers else None
