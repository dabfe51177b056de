"""Forward pass of plain ViTs on the kept patches alone: dropped patches are neither embedded nor attended to.

All modules are timm's own, called in timm's order (embedding, positions, prefix tokens, blocks, norm, pool, head), so
that one set of weights serves whole images and any subset of their patches. A kept patch has the position embedding of
its place in the image; class and register tokens stay.

A stem of several convolutions (`selectors.vit.stem`, timm's hybrids) computes a token from more than its patch. It is
run on the whole image with dropped patches set to zero, the mean after normalization: dropped pixels do not leak into
kept tokens, but the stem costs as much as on a whole image.
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
    """(height, width) of a patch in image pixels, also for a stem of convolutions."""
    embed: Any = vit.patch_embed
    # timm's hybrids count their patches on the feature map.
    sides = embed.feat_ratio(as_scalar=False) if hasattr(embed, "feat_ratio") else embed.patch_size
    return int(sides[0]), int(sides[1])


def grid_of(vit: VisionTransformer, height: int, width: int) -> tuple[int, int]:
    """(gh, gw) of an image of height x width pixels; InputError if patches do not divide it."""
    ph, pw = patch_sides(vit)
    if getattr(vit.patch_embed, "dynamic_img_pad", False):
        return -(-height // ph), -(-width // pw)
    if height % ph or width % pw or not height or not width:
        raise InputError(f"an image of {height}x{width} pixels cannot be cut into patches of {ph}x{pw}")
    return height // ph, width // pw


def embeds_patches_alone(vit: VisionTransformer) -> bool:
    """True if a patch's embedding depends on its own pixels alone: one convolution, kernel and stride of a patch."""
    embed, proj = vit.patch_embed, vit.patch_embed.proj
    return (
        isinstance(embed, PatchEmbed)
        and isinstance(proj, nn.Conv2d)
        and tuple(proj.kernel_size) == tuple(proj.stride) == patch_sides(vit)
        and not any(cast(Any, proj.padding))
        and proj.groups == 1
    )


def forward_kept(vit: VisionTransformer, images: Tensor, indices: Tensor | None = None) -> Tensor:
    """Classifies images by their kept patches.

    Args:
        vit: any timm `VisionTransformer`, whatever its patch size, prefix tokens, pooling and norms.
        images: [B, 3, H, W], normalized for `vit`, of any size that its patches divide. At another size than its own,
            position embeddings are resampled as in timm's `dynamic_img_size` (bicubic, antialiased).
        indices: [B, k] int64 indices of the kept patches in raster order, in [0, gh * gw); None keeps all.

    Returns:
        [B, classes] logits. Pooling over patches takes the kept ones.

    Raises:
        InputError: images or indices of a wrong shape.
    """
    return cast(Tensor, vit.forward_head(features_kept(vit, images, indices)))


def features_kept(vit: VisionTransformer, images: Tensor, indices: Tensor | None = None) -> Tensor:
    """Tokens of the kept patches after the last block and the final norm; arguments as for `forward_kept`.

    Returns:
        [B, p + k, D]: the p = `vit.num_prefix_tokens` class and register tokens, then the patches in the order of
        `indices`.
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
    # Images can be smaller than their grid only with timm's dynamic_img_pad.
    images = F.pad(images, (0, gw * pw - images.shape[3], 0, gh * ph - images.shape[2]))
    if not embeds_patches_alone(vit):
        return _embed_whole(vit, images, indices, grid)
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


def _embed_whole(vit: VisionTransformer, images: Tensor, indices: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """`_embed` for stems with a receptive field beyond a patch: run on an image whose dropped patches are zero."""
    if indices is not None:
        keep = images.new_zeros(len(images), grid[0] * grid[1]).scatter(1, indices, 1.0).view(-1, 1, *grid)
        ph, pw = patch_sides(vit)
        images = images * keep.repeat_interleave(ph, 2).repeat_interleave(pw, 3)
    tokens = vit.patch_embed(images)
    tokens = tokens.flatten(1, 2) if tokens.ndim == 4 else tokens
    return tokens if indices is None else take(tokens, indices)


def _placed(vit: VisionTransformer, x: Tensor, indices: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """[B, k, D] embeddings -> [B, p + k, D]: adds their position embeddings and puts prefix tokens before them."""
    names = ("cls_token", "dist_token", "reg_token")
    prefix = [token for name in names if (token := getattr(vit, name, None)) is not None]
    extra = torch.cat(prefix, 1).expand(len(x), -1, -1) if prefix else x[:, :0]
    if vit.pos_embed is None:
        return torch.cat([extra, x], 1)
    prefix_positions, positions = position_embeddings(vit, grid)
    if indices is not None:
        positions = positions[0][indices]
    if prefix_positions.shape[1]:
        extra = extra + prefix_positions
    return cast(Tensor, vit.pos_drop(torch.cat([extra, x + positions], 1)))


def position_embeddings(vit: VisionTransformer, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Position embeddings [1, p, D] of the prefix tokens and [1, gh * gw, D] of the patches, resampled to `grid`.

    p is 0 if the ViT adds no positions to its prefix tokens. The ViT must have a table of positions (`pos_embed`).
    """
    count = 0 if vit.no_embed_class else vit.num_prefix_tokens
    own: Any = vit.patch_embed.grid_size
    table = resample_abs_pos_embed(vit.pos_embed, list(grid), list(own), num_prefix_tokens=count)
    return table[:, :count], table[:, count:]


def missing_tokens(vit: VisionTransformer, mask_token: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """The `fill` of `scatter_tokens` for dropped patches.

    Args:
        vit: its position embeddings are added to the mask token, if it has any.
        mask_token: [D], or None for zeros.
        grid: (gh, gw).

    Returns:
        None for zeros, [D] or [gh * gw, D].
    """
    if mask_token is None or vit.pos_embed is None:
        return mask_token
    return mask_token + position_embeddings(vit, grid)[1][0]


def scatter_tokens(tokens: Tensor, indices: Tensor, grid: tuple[int, int], fill: Tensor | None = None) -> Tensor:
    """Puts patch tokens back on the grid, for heads that need a feature map.

    Args:
        tokens: [B, k, D], without prefix tokens.
        indices: [B, k] int64 index of each token's patch in raster order.
        grid: (gh, gw).
        fill: value at dropped patches: None for zeros, [D] for a mask token, or [gh * gw, D] for one per patch.
            Gradients flow to it and to `tokens`.

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
