"""Forward pass of ViTs on the kept patches alone: dropped patches are neither embedded nor attended to.

All modules are timm's own, called in timm's order: `embed` makes the tokens of the kept patches, with the positions and
rotary tables of their places; blocks, norm, pool and head follow. Pooling over patches takes the kept ones.
"""

from __future__ import annotations

from typing import cast

import torch
from timm.models import checkpoint
from torch import Tensor

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.embedding import embed, position_embeddings
from ltrp_bench.selectors.vit.families import ViT, run_block


def forward_kept(vit: ViT, images: Tensor, indices: Tensor | None = None) -> Tensor:
    """Classifies images by their kept patches.

    Args:
        vit: a ViT of timm, whatever its family, patch size, prefix tokens, pooling and norms.
        images: [B, 3, H, W], normalized for `vit`, of any size that its patches divide. At another size than its own,
            position embeddings are resampled as in timm's `dynamic_img_size` (bicubic, antialiased).
        indices: [B, k] int64 indices of the kept patches in raster order, in [0, gh * gw); None keeps all.

    Returns:
        [B, classes] logits. Pooling over patches takes the kept ones.

    Raises:
        InputError: images or indices of a wrong shape.
    """
    return cast(Tensor, vit.forward_head(features_kept(vit, images, indices)))


def features_kept(vit: ViT, images: Tensor, indices: Tensor | None = None) -> Tensor:
    """Tokens of the kept patches after the last block and the final norm; arguments as for `forward_kept`.

    Returns:
        [B, p + k, D]: the p = `vit.num_prefix_tokens` class and register tokens, then the patches in the order of
        `indices`.
    """
    tokens = embed(vit, images, indices)
    x = tokens.x
    saves_memory = vit.grad_checkpointing and torch.is_grad_enabled()
    for block, rope in zip(vit.blocks, tokens.ropes, strict=True):
        x = checkpoint(run_block, block, x, rope) if saves_memory else run_block(block, x, rope)
    return cast(Tensor, vit.norm(x))


def missing_tokens(vit: ViT, mask_token: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
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
