"""Plain ViTs that get the kept patches alone: what is dropped is neither projected nor attended to.

Everything is timm's own module, called in timm's own order (embedding, positions, prefix tokens, blocks, norm, pool,
head), so one set of weights serves the whole image and any part of it. A kept patch has the position embedding of
its own place; class and register tokens stay.

A stem of several convolutions (`stem.py` of selectors, timm's hybrids) computes a token from more than its patch, so it
is run on the whole image, with dropped patches set to zero, which is the mean behind the normalisation: what is
dropped does not leak into the tokens that are kept, but the stem costs what it always costs.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed, resample_abs_pos_embed
from timm.models import checkpoint_seq
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.layers import take


def patch_sides(vit: VisionTransformer) -> tuple[int, int]:
    """(height, width) of a patch in pixels of the image, also where a stem of convolutions makes the patches."""
    embed: Any = vit.patch_embed
    # timm's hybrids count their patches on the feature map.
    sides = embed.feat_ratio(as_scalar=False) if hasattr(embed, "feat_ratio") else embed.patch_size
    return int(sides[0]), int(sides[1])


def grid_of(vit: VisionTransformer, height: int, width: int) -> tuple[int, int]:
    """(gh, gw): patches of an image of this size; `InputError` where it cannot be cut so."""
    ph, pw = patch_sides(vit)
    if getattr(vit.patch_embed, "dynamic_img_pad", False):
        return -(-height // ph), -(-width // pw)
    if height % ph or width % pw or not height or not width:
        raise InputError(f"an image of {height}x{width} pixels cannot be cut into patches of {ph}x{pw}")
    return height // ph, width // pw


def embeds_patches_alone(vit: VisionTransformer) -> bool:
    """Whether a patch's embedding depends on its own pixels alone: a strided convolution of just the patch's size."""
    embed, proj = vit.patch_embed, vit.patch_embed.proj
    return (
        isinstance(embed, PatchEmbed)
        and isinstance(proj, nn.Conv2d)
        and tuple(proj.kernel_size) == tuple(proj.stride) == patch_sides(vit)
        and not any(cast(Any, proj.padding))
        and proj.groups == 1
    )


def forward_kept(vit: VisionTransformer, images: Tensor, indices: Tensor | None = None) -> Tensor:
    """What the classifier says of the kept patches.

    Args:
        vit: any timm `VisionTransformer`: patch size, prefix tokens, pooling and norms are its own.
        images: [B, 3, H, W], normalised for it. Of any size its patches divide; where that is not its own,
            position embeddings are resampled as timm does it for dynamic sizes (bicubic, antialiased).
        indices: [B, k] int64 patches in raster order, in [0, gh * gw), the same number for each image; None for all.

    Returns:
        [B, classes] logits. With pooling over patches, over the kept ones.

    Raises:
        InputError: an image or indices that do not fit.
    """
    return cast(Tensor, vit.forward_head(features_kept(vit, images, indices)))


def features_kept(vit: VisionTransformer, images: Tensor, indices: Tensor | None = None) -> Tensor:
    """Tokens of the kept patches behind the last block and the final norm; arguments as in `forward_kept`.

    Returns:
        [B, p + k, D]: the p = `vit.num_prefix_tokens` class and register tokens, then the patches as in `indices`.
    """
    if images.ndim != 4:
        raise InputError(f"images must be [B, 3, H, W], got {list(images.shape)}")
    if indices is not None and (indices.ndim != 2 or len(indices) != len(images) or not indices.shape[1]):
        raise InputError(f"indices must be [{len(images)}, k] with k > 0, got {list(indices.shape)}")
    grid = grid_of(vit, int(images.shape[2]), int(images.shape[3]))
    x = _embed(vit, images, indices, grid)
    x = vit.norm_pre(vit.patch_drop(_placed(vit, x, indices, grid)))
    x = checkpoint_seq(vit.blocks, x) if vit.grad_checkpointing and torch.is_grad_enabled() else vit.blocks(x)
    return cast(Tensor, vit.norm(x))


def _embed(vit: VisionTransformer, images: Tensor, indices: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """[B, k, D] embeddings of the kept patches, without positions."""
    (gh, gw), (ph, pw), embed = grid, patch_sides(vit), vit.patch_embed
    # Only images for models with timm's dynamic_img_pad can be too small for their grid.
    images = F.pad(images, (0, gw * pw - images.shape[3], 0, gh * ph - images.shape[2]))
    if not embeds_patches_alone(vit):
        return _embed_whole(vit, images, indices, grid)
    proj = cast(nn.Conv2d, embed.proj)
    if indices is None or indices.shape[1] == gh * gw:
        # The convolution itself is quickest where nothing is dropped.
        x = proj(images).flatten(2).transpose(1, 2)
        return cast(Tensor, embed.norm(x if indices is None else take(x, indices)))
    patches = images.unflatten(3, (gw, pw)).unflatten(2, (gh, ph)).permute(0, 2, 4, 1, 3, 5)
    # Of the view: the pixels of dropped patches are not even copied.
    row = torch.arange(len(images), device=images.device)[:, None]
    patches = patches[row, indices // gw, indices % gw]
    return cast(Tensor, embed.norm(F.linear(patches.flatten(2), proj.weight.flatten(1), proj.bias)))


def _embed_whole(vit: VisionTransformer, images: Tensor, indices: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """As `_embed`, for stems that look beyond a patch: run on an image whose dropped patches are zero."""
    if indices is not None:
        keep = images.new_zeros(len(images), grid[0] * grid[1]).scatter(1, indices, 1.0).view(-1, 1, *grid)
        ph, pw = patch_sides(vit)
        images = images * keep.repeat_interleave(ph, 2).repeat_interleave(pw, 3)
    tokens = vit.patch_embed(images)
    tokens = tokens.flatten(1, 2) if tokens.ndim == 4 else tokens
    return tokens if indices is None else take(tokens, indices)


def _placed(vit: VisionTransformer, x: Tensor, indices: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """[B, k, D] embeddings -> [B, p + k, D]: positions of their own places added, prefix tokens before them."""
    names = ("cls_token", "dist_token", "reg_token")
    prefix = [token for name in names if (token := getattr(vit, name, None)) is not None]
    extra = torch.cat(prefix, 1).expand(len(x), -1, -1) if prefix else x[:, :0]
    if vit.pos_embed is None:
        return torch.cat([extra, x], 1)
    # The table may hold places for the prefix tokens too, before those of the patches.
    held = 0 if vit.no_embed_class else vit.num_prefix_tokens
    own: Any = vit.patch_embed.grid_size
    table = resample_abs_pos_embed(vit.pos_embed, list(grid), list(own), num_prefix_tokens=held)
    places = table[:, held:]
    if indices is not None:
        places = places[0][indices]
    if held:
        extra = extra + table[:, :held]
    return cast(Tensor, vit.pos_drop(torch.cat([extra, x + places], 1)))


def scatter_tokens(tokens: Tensor, indices: Tensor, grid: tuple[int, int], fill: Tensor | None = None) -> Tensor:
    """Patch tokens back on the grid, for heads that want a map.

    Args:
        tokens: [B, k, D], without prefix tokens.
        indices: [B, k] int64, the place of each in raster order.
        grid: (gh, gw).
        fill: what stands where nothing was kept: None for zero, [D] (a mask token), or [gh * gw, D] (one that knows
            its place). Gradients flow to it and to `tokens`.

    Returns:
        [B, D, gh, gw].

    Raises:
        InputError: shapes that do not fit each other.
    """
    batch, kept, width = tokens.shape
    places = grid[0] * grid[1]
    if tuple(indices.shape) != (batch, kept):
        raise InputError(f"{kept} tokens an image, but indices {list(indices.shape)}: leave out prefix tokens")
    if fill is None:
        fill = tokens.new_zeros(width)
    if tuple(fill.shape) not in ((width,), (places, width)):
        raise InputError(f"fill must be [{width}] or [{places}, {width}], got {list(fill.shape)}")
    whole = fill.to(tokens.dtype).expand(batch, places, width)
    out = whole.scatter(1, indices.unsqueeze(-1).expand(-1, -1, width), tokens)
    return out.transpose(1, 2).unflatten(2, grid)
