"""From images to the input of a ViT's first block: patches, positions and prefix tokens, of all patches or of some.

All modules are timm's own, called in timm's order, so that one set of weights serves images of any whole number of
patches, and any subset of their patches. A kept patch has the position embedding and the rotary table of its place in
the image; class, distillation and register tokens stay.

A stem of several convolutions (`selectors.vit.stem`, timm's hybrids) computes a token from more than its patch. It is
run on the whole image with dropped patches set to zero, the mean after normalization: dropped pixels do not leak into
kept tokens, but the stem costs as much as on a whole image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed, RotaryEmbeddingCat, apply_keep_indices_nlc, resample_abs_pos_embed
from timm.models.eva import Eva
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.families import ViT, depth_of
from ltrp_bench.selectors.vit.layers import take

Grid: TypeAlias = tuple[int, int]
Resampling: TypeAlias = Callable[[Tensor, Grid, Grid], Tensor]
"""[1, gh * gw, D] positions of patches, their grid (gh, gw), and another grid -> positions [1, gh' * gw', D] on it."""


@dataclass(frozen=True)
class Tokens:
    """Input of the first block.

    Attributes:
        x: [B, p + n, D]: prefix tokens, then patches.
        ropes: rotary table of each block; None for blocks without.
        grid: (gh, gw) of the whole image.
    """

    x: Tensor
    ropes: tuple[Tensor | None, ...]
    grid: Grid


def antialiased(positions: Tensor, old: Grid, new: Grid) -> Tensor:
    """Bicubic with antialiasing, as timm does for images of another size; also official DINOv2 with registers."""
    return resample_abs_pos_embed(positions, list(new), list(old), num_prefix_tokens=0)


def with_offset(positions: Tensor, old: Grid, new: Grid) -> Tensor:
    """Bicubic without antialiasing, with a scale of (new side + 0.1) / old side, as official DINO and DINOv2 do.

    The 0.1 was meant against rounding, but shifts all sampling points a little; it is kept for equal numbers.
    """
    if old == new:
        return positions
    table = positions.unflatten(1, old).permute(0, 3, 1, 2)
    scale = ((new[0] + 0.1) / old[0], (new[1] + 0.1) / old[1])
    return F.interpolate(table, scale_factor=scale, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def patch_sides(vit: ViT) -> tuple[int, int]:
    """(height, width) of a patch in image pixels, also for a stem of convolutions."""
    embed: Any = vit.patch_embed
    # timm's hybrids count their patches on the feature map.
    sides = embed.feat_ratio(as_scalar=False) if hasattr(embed, "feat_ratio") else embed.patch_size
    return int(sides[0]), int(sides[1])


def grid_of(vit: ViT, height: int, width: int) -> Grid:
    """(gh, gw) of an image of height x width pixels; InputError if patches do not divide it."""
    ph, pw = patch_sides(vit)
    if getattr(vit.patch_embed, "dynamic_img_pad", False):
        return -(-height // ph), -(-width // pw)
    if height % ph or width % pw or not height or not width:
        raise InputError(f"an image of {height}x{width} pixels cannot be cut into patches of {ph}x{pw}")
    return height // ph, width // pw


def embeds_patches_alone(vit: ViT) -> bool:
    """True if a patch's embedding depends on its own pixels alone: one convolution, kernel and stride of a patch."""
    embed, proj = vit.patch_embed, vit.patch_embed.proj
    return (
        isinstance(embed, PatchEmbed)
        and isinstance(proj, nn.Conv2d)
        and tuple(proj.kernel_size) == tuple(proj.stride) == patch_sides(vit)
        and not any(cast(Any, proj.padding))
        and proj.groups == 1
    )


def embed(vit: ViT, images: Tensor, indices: Tensor | None = None, *, resampling: Resampling = antialiased) -> Tokens:
    """Tokens of images before the first block.

    Args:
        vit: a ViT of timm.
        images: [B, 3, H, W], normalized for `vit`, of any size that its patches divide.
        indices: [B, k] int64 indices of the kept patches in raster order, in [0, gh * gw); None keeps all.
        resampling: what makes the position embeddings of another size than the ViT's own. Rotary tables are computed
            for the size, as timm does.

    Raises:
        InputError: images or indices of a wrong shape.
    """
    if images.ndim != 4:
        raise InputError(f"images must be [B, 3, H, W], got {list(images.shape)}")
    if indices is not None and (indices.ndim != 2 or len(indices) != len(images) or not indices.shape[1]):
        raise InputError(f"indices must be [{len(images)}, k] with k > 0, got {list(indices.shape)}")
    grid = grid_of(vit, int(images.shape[2]), int(images.shape[3]))
    x = _placed(vit, _patches(vit, images, indices, grid), indices, grid, resampling)
    if not isinstance(vit, Eva):
        x = vit.patch_drop(x)  # of trainings
    return Tokens(vit.norm_pre(x), rotary_tables(vit, grid, indices), grid)


def _patches(vit: ViT, images: Tensor, indices: Tensor | None, grid: Grid) -> Tensor:
    """[B, k, D] embeddings of the kept patches, without positions."""
    (gh, gw), (ph, pw), embed = grid, patch_sides(vit), vit.patch_embed
    # Images can be smaller than their grid only with timm's dynamic_img_pad.
    images = F.pad(images, (0, gw * pw - images.shape[3], 0, gh * ph - images.shape[2]))
    if not embeds_patches_alone(vit):
        return _patches_of_stem(vit, images, indices, grid)
    proj = cast(nn.Conv2d, embed.proj)
    if indices is None or indices.shape[1] == gh * gw:
        # The convolution is fastest if nothing is dropped.
        x = proj(images).flatten(2).transpose(1, 2)
        return cast(Tensor, embed.norm(x if indices is None else take(x, indices)))
    patches = images.unflatten(3, (gw, pw)).unflatten(2, (gh, ph)).permute(0, 2, 4, 1, 3, 5)
    # Indexing the view copies kept pixels only.
    row = torch.arange(len(images), device=images.device)[:, None]
    patches = patches[row, indices // gw, indices % gw]
    return cast(Tensor, embed.norm(F.linear(patches.flatten(2), proj.weight.flatten(1), proj.bias)))


def _patches_of_stem(vit: ViT, images: Tensor, indices: Tensor | None, grid: Grid) -> Tensor:
    """`_patches` for stems with a receptive field beyond a patch: run on an image whose dropped patches are zero."""
    if indices is not None:
        keep = images.new_zeros(len(images), grid[0] * grid[1]).scatter(1, indices, 1.0).view(-1, 1, *grid)
        ph, pw = patch_sides(vit)
        images = images * keep.repeat_interleave(ph, 2).repeat_interleave(pw, 3)
    tokens = vit.patch_embed(images)
    tokens = tokens.flatten(1, 2) if tokens.ndim == 4 else tokens
    return tokens if indices is None else take(tokens, indices)


def _placed(vit: ViT, x: Tensor, indices: Tensor | None, grid: Grid, resampling: Resampling) -> Tensor:
    """[B, k, D] embeddings -> [B, p + k, D]: adds their position embeddings and puts prefix tokens before them."""
    names = ("cls_token", "dist_token", "reg_token")
    prefix = [token for name in names if (token := getattr(vit, name, None)) is not None]
    extra = torch.cat(prefix, 1).expand(len(x), -1, -1) if prefix else x[:, :0]
    if vit.pos_embed is None:
        return torch.cat([extra, x], 1)
    prefix_positions, positions = position_embeddings(vit, grid, resampling)
    if indices is not None:
        positions = positions[0][indices]
    if prefix_positions.shape[1]:
        extra = extra + prefix_positions
    return cast(Tensor, vit.pos_drop(torch.cat([extra, x + positions], 1)))


def position_embeddings(vit: ViT, grid: Grid, resampling: Resampling = antialiased) -> tuple[Tensor, Tensor]:
    """Position embeddings [1, p, D] of the prefix tokens and [1, gh * gw, D] of the patches, resampled to `grid`.

    p is 0 if the ViT adds no positions to its prefix tokens. The ViT must have a table of positions (`pos_embed`).
    """
    count = 0 if vit.no_embed_class else int(vit.num_prefix_tokens)
    own = vit.patch_embed.grid_size
    table = cast(Tensor, vit.pos_embed)
    return table[:, :count], resampling(table[:, count:], (int(own[0]), int(own[1])), grid)


def rotary_tables(vit: ViT, grid: Grid, indices: Tensor | None = None) -> tuple[Tensor | None, ...]:
    """Rotary table of the (kept) patches for each block, as timm's attention takes it; None without rotary positions.

    Tables are [n, 2d], or [heads, n, 2d] where each block has its own; with `indices` [B, k] they get a batch dimension
    and keep its patches, as after timm's `PatchDropoutWithIndices`.
    """
    rope: Any = getattr(vit, "rope", None)
    depth = depth_of(vit)
    if rope is None:
        return (None,) * depth
    if isinstance(rope, RotaryEmbeddingCat) and rope.feat_shape is not None:
        if tuple(rope.feat_shape) != grid:  # it ignores a shape once it has a table
            rope = copy.deepcopy(rope)
            rope.update_feat_shape(list(grid))
        table = rope.get_embed()
    else:
        table = rope.get_embed(shape=list(grid))
    if indices is not None:
        table = apply_keep_indices_nlc(indices, table, indices)
        table = table.transpose(0, 1) if vit.rope_mixed else table.unsqueeze(1)
    return tuple(table.unbind(0)) if vit.rope_mixed else (table,) * depth
