"""Tiles: an autoencoder of small images scores a larger one part by part (beyond the paper).

An autoencoder of 12 x 12 patches sees a thirty-sixth of the image as four patches. On an image of twice its
side, cut into 2 x 2 tiles of its own size, it sees it as sixteen. Each tile is masked and reconstructed for
itself, so the cost grows with the number of tiles, not with its square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ltrp_bench.selectors.errors import UsageError


def cut_tiles(images: Tensor, tiles: int) -> Tensor:
    """[B, C, H, W] -> [B * tiles², C, H / tiles, W / tiles]; the tiles of an image follow one another, row by row.

    Raises:
        UsageError: H or W is no multiple of `tiles`.
    """
    batch, channels, height, width = images.shape
    if height % tiles or width % tiles:
        raise UsageError(f"{tiles} x {tiles} tiles do not fit an image of {height}x{width} pixels")
    parts = images.view(batch, channels, tiles, height // tiles, tiles, width // tiles)
    return parts.permute(0, 2, 4, 1, 3, 5).reshape(batch * tiles**2, channels, height // tiles, width // tiles)


def join_maps(maps: Tensor, tiles: int) -> Tensor:
    """Maps of tiles [B * tiles², h, w] -> maps of images [B, tiles * h, tiles * w]; undoes `cut_tiles`."""
    height, width = maps.shape[-2:]
    parts = maps.view(-1, tiles, tiles, height, width).transpose(2, 3)
    return parts.reshape(-1, tiles * height, tiles * width)


def patches_of_image(patches: Tensor, grid: tuple[int, int], tiles: int) -> Tensor:
    """Raster indices in tiles -> raster indices in the image.

    Args:
        patches: [B * tiles², n] indices of patches in the grid of a tile.
        grid: (gh, gw) patches of a tile.
        tiles: tiles a side.

    Returns:
        [B, tiles² * n] indices in the image's grid of (tiles * gh, tiles * gw), tile after tile.
    """
    tile = torch.arange(tiles**2, device=patches.device).view(1, -1, 1)
    parts = patches.view(-1, tiles**2, patches.shape[1])
    row = tile // tiles * grid[0] + parts // grid[1]
    column = tile % tiles * grid[1] + parts % grid[1]
    return (row * (tiles * grid[1]) + column).flatten(1)
