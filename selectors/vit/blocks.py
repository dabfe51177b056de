"""Parts of timm's transformer block, for methods that drop, mask or merge tokens inside a ViT."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.backbones import vit_config


def check_plain(vit: VisionTransformer, method: str, class_token: bool = True) -> None:
    """Raise `InputError` unless a ViT has plain pre-norm blocks and, with `class_token`, a class token."""
    if class_token and vit.cls_token is None:
        raise InputError(f"{method} needs a ViT with a class token, which these weights do not have")
    for block in vit.blocks:
        if not is_plain(block):
            attn = dict(block.named_children()).get("attn")
            inner = "" if attn is None else f" with {type(attn).__name__}"
            raise InputError(f"{method} needs timm's plain blocks, these weights have {type(block).__name__}{inner}")


def is_plain(block: nn.Module) -> bool:
    """True for timm's pre-norm block with its plain attention, whose parts the functions here are."""
    attn = dict(block.named_children()).get("attn")
    return isinstance(block, Block) and type(attn) is Attention and cast(Any, attn).gate is None


def token_layout(vit: VisionTransformer, batch: int, device: torch.device) -> tuple[int, Tensor]:
    """Number of tokens before the patches, and [B, L] raster indices of the patches."""
    patches = torch.arange(vit.patch_embed.num_patches, device=device)
    return int(vit.num_prefix_tokens), patches.expand(batch, -1)


def attend(q: Tensor, k: Tensor, v: Tensor, attn: Any, bias: Tensor | None = None) -> Tensor:
    """Fused attention on [B, heads, N, d] with the dropout of the block; `bias` [B, 1, 1, N] is added to the logits."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=attn.attn_drop.p if attn.training else 0.0)


def close_attention(block: Any, x: Tensor, gathered: Tensor) -> Tensor:
    """Residual of a block's attention: [B, N, D] tokens and [B, heads, N, d] weighted values -> [B, N, D]."""
    attn = block.attn
    out = attn.proj_drop(attn.proj(attn.norm(gathered.transpose(1, 2).flatten(2))))
    return x + block.drop_path1(block.ls1(out))


def feed_forward(block: Any, x: Tensor) -> Tensor:
    """Second half of a block, the MLP and its residual: [B, N, D] -> [B, N, D]."""
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


def config_of(vit: VisionTransformer) -> dict[str, Any]:
    """Configuration of a ViT as in `build_vit`, for the metadata of a file."""
    first = cast(Any, vit.blocks[0])
    config = vit_config(vit.state_dict(), int(first.attn.num_heads), "a ViT")
    return {**config, "layer_norm_eps": float(first.norm1.eps)}
