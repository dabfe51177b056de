"""timm's families of ViTs: what their classes, blocks and attention modules have in common, and which are refused.

A ViT here is a module of timm's `VisionTransformer` (plain, distilled, with registers, with attention pooling) or `Eva`
(EVA, EVA-02, DINOv3, Perception Encoder, ViTs with rotary positions). Both keep one token for each patch from the first
block to the last, after `num_prefix_tokens` class, distillation and register tokens.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import torch
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block, ParallelScalingBlock, ResPostBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ltrp_bench.selectors.errors import InputError, UsageError

ViT: TypeAlias = VisionTransformer | Eva


def is_vit(net: nn.Module) -> bool:
    """True for a module of one of the families that are read."""
    return isinstance(net, (VisionTransformer, Eva))


def as_vit(net: nn.Module, name: str) -> ViT:
    """The module with its own type.

    Args:
        net: module that timm built.
        name: its name, for the error.

    Raises:
        UsageError: it is of another family; the message says why that one is not read.
    """
    if isinstance(net, (VisionTransformer, Eva)):
        return net
    steps = {entry.get("reduction") for entry in getattr(net, "feature_info", None) or [] if isinstance(entry, dict)}
    if len(steps) > 1:
        why = "it merges patches between its stages, so its tokens are not the patches of the image"
    else:
        why = "only timm's VisionTransformer and Eva classes are read"
    raise UsageError(f"timm's {name} is a {type(net).__name__}, not a plain vision transformer: {why}")


def has_class_token(vit: ViT) -> bool:
    """True if token 0 is a class token."""
    return vit.cls_token is not None


def depth_of(vit: ViT) -> int:
    """Number of blocks."""
    return len(vit.blocks)


def attention_module(block: nn.Module) -> Any:
    """The module of a block that holds its queries and keys; a parallel block holds them itself.

    Raises:
        InputError: the block has no single softmax of queries and keys.
    """
    if type(block) is ParallelScalingBlock:
        return block
    attn = dict(block.named_children()).get("attn")
    if isinstance(block, (Block, ResPostBlock, EvaBlock, EvaBlockPostNorm)) and type(attn) in (
        Attention,
        AttentionRope,
        EvaAttention,
    ):
        return attn
    inner = "" if attn is None else f" with {type(attn).__name__}"
    raise InputError(f"these weights have blocks of timm's {type(block).__name__}{inner}, whose attention is not read")


def heads_of(vit: ViT) -> int:
    """Number of attention heads of the last block; errors as of `attention_module`."""
    return int(attention_module(vit.blocks[-1]).num_heads)


def attention_input(block: nn.Module, x: Tensor) -> Tensor:
    """[B, N, D] input of a block -> [B, N, D] input of its attention: after the norm of blocks that normalize first.

    Raises:
        InputError: see `attention_module`.
    """
    attention_module(block)
    if isinstance(block, (ResPostBlock, EvaBlockPostNorm)):
        return x
    norm = "in_norm" if isinstance(block, ParallelScalingBlock) else "norm1"
    return cast(Tensor, getattr(block, norm)(x))


def queries_keys_values(block: nn.Module, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a block as its softmax takes them: normalized and rotated, but not scaled.

    Args:
        block: a block of timm.
        x: [B, N, D] input of its attention, see `attention_input`.
        rope: rotary table of the patches.

    Returns:
        [B, heads, N, d] each; keys and values that several heads share are repeated.

    Raises:
        InputError: see `attention_module`.
    """
    attn = attention_module(block)
    q, k, v = (part.unflatten(-1, (-1, attn.head_dim)).transpose(1, 2) for part in _projections(attn, x))
    q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        first, half = attn.num_prefix_tokens, attn.rotate_half
        q, k = (
            torch.cat([part[:, :, :first], apply_rot_embed_cat(part[:, :, first:], rope, half=half)], dim=2).type_as(v)
            for part in (q, k)
        )
    shared = attn.num_heads // k.shape[1]
    return (q, k, v) if shared == 1 else (q, k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1))


def _projections(attn: Any, x: Tensor) -> tuple[Tensor, ...]:
    """[B, N, D] -> queries, keys and values [B, N, heads * d], by the one or three linear layers of a module."""
    if isinstance(attn, ParallelScalingBlock):
        return attn.in_proj(x).split(attn.in_split, dim=-1)[1:]  # type: ignore[no-any-return]
    if attn.qkv is None:
        return attn.q_proj(x), attn.k_proj(x), attn.v_proj(x)
    if isinstance(attn, EvaAttention) and attn.q_bias is not None:
        joined = F.linear(x, attn.qkv.weight, torch.cat((attn.q_bias, attn.k_bias, attn.v_bias)))
    else:
        joined = attn.qkv(x)
    return joined.chunk(3, dim=-1)  # type: ignore[no-any-return]


def run_block(block: nn.Module, x: Tensor, rope: Tensor | None = None) -> Tensor:
    """[B, N, D] -> [B, N, D]: a block of any family; blocks without rotary positions take no table."""
    return cast(Tensor, block(x) if rope is None else block(x, rope=rope))
