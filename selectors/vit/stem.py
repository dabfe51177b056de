"""A convolutional stem in the place of a ViT's patch projection (Xiao et al., NeurIPS 2021, "Early convolutions")."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError

PREFIX = "patch_embed.stem."


class ConvStem(nn.Module):
    """Images to patch tokens: a 4x4 convolution of stride 2 for each halving of the patch, one of 3x3, one of 1x1.

    Kernels of four, not of three, so that a token's field is centred on its patch; it reaches some pixels beyond it.
    Channels double up to the ViT's width; all but the last convolution are followed by batch normalisation and ReLU.

    Args:
        image_size: side of the images, in pixels.
        patch_size: of a patch; a power of 2 from 2 on.
        embed_dim: of the tokens.
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
        # What timm's ViT asks of its patch embedding.
        self.img_size, self.patch_size = (image_size, image_size), (patch_size, patch_size)
        self.grid_size = (image_size // patch_size, image_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] normalised -> [B, L, D] tokens in raster order."""
        for layer in self.stem:
            images = layer(images)
        return self.proj(images).flatten(2).transpose(1, 2)


def stem_patch_size(state: Mapping[str, Tensor]) -> int | None:
    """The patch size of the stem in a ViT's state dict; None where it has a plain projection."""
    layers = {key[len(PREFIX) :].partition(".")[0] for key in state if key.startswith(PREFIX)}
    return 2 ** (len(layers) - 1) if layers else None
