"""Layers of the vision transformers that are implemented here: MAE and LTRP's ranker.

Parameter names follow timm and the official MAE, so that published checkpoints load without renaming. Attention is
always the fused `scaled_dot_product_attention`, without masks: a hidden token is left out of the sequence instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Linear embedding of patches of P x P pixels: the usual strided convolution as one matrix product.

    Takes flattened patches rather than images, so that masked patches cost nothing.
    """

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        """[..., P*P*3] patches as `patchify` lays them out -> [..., D] tokens."""
        return F.linear(patches, self.proj.weight.permute(0, 2, 3, 1).flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention; queries may be restricted to the end of the sequence."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def heads_of(self, x: Tensor) -> Tensor:
        """[B, N, k*D] -> [k, B, heads, N, D/heads]."""
        return x.unflatten(-1, (-1, self.heads, self.proj.in_features // self.heads)).permute(2, 0, 3, 1, 4)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys and values [B, heads, N, D/heads] -> [B, N, D]."""
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, first_query: int = 0) -> Tensor:
        """[B, N, D] -> [B, N - first_query, D]: outputs of the tokens from `first_query` on, which attend to all."""
        if first_query == 0:
            q, k, v = self.heads_of(self.qkv(x)).unbind(0)
        else:
            dim = self.proj.in_features
            weight, bias = self.qkv.weight, self.qkv.bias
            q = self.heads_of(F.linear(x[:, first_query:], weight[:dim], bias[:dim]))[0]
            k, v = self.heads_of(F.linear(x, weight[dim:], bias[dim:])).unbind(0)
        return self.mix(q, k, v)


class Mlp(nn.Module):
    """Linear, GELU (exact), linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        hidden = self.fc1(x)
        # In place without gradients: the widest tensor of a block is not held twice.
        hidden = F.gelu(hidden) if torch.is_grad_enabled() else torch.ops.aten.gelu_(hidden)
        return self.fc2(hidden)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float = 4.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, first_query: int = 0) -> Tensor:
        """[B, N, D] -> [B, N - first_query, D]; tokens before `first_query` are keys and values only."""
        x = x[:, first_query:] + self.attn(self.norm1(x), first_query)
        return x + self.mlp(self.norm2(x))

    def qkv(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., 3*D] queries, keys and values: the first part of the block, separate for each token."""
        return self.attn.qkv(self.norm1(x))

    def after_qkv(self, x: Tensor, qkv: Tensor) -> Tensor:
        """Rest of the block after `qkv(x)`."""
        q, k, v = self.attn.heads_of(qkv).unbind(0)
        x = x + self.attn.mix(q, k, v)
        return x + self.mlp(self.norm2(x))

    def alone(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]: tokens that attend to nothing, so that their attention is 0."""
        x = x + self.attn.proj.bias
        return x + self.mlp(self.norm2(x))


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """[B, 3, H, W] -> [B, L, P*P*3], patches in raster order, values in the order (row, column, channel)."""
    b, c, h, w = images.shape
    p = patch_size
    if h % p or w % p:
        raise ValueError(f"an image of {h}x{w} pixels cannot be cut into patches of {p} pixels")
    x = images.reshape(b, c, h // p, p, w // p, p)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, (h // p) * (w // p), p * p * c)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """Inverse of `patchify`: [B, L, P*P*3] -> [B, 3, gh*P, gw*P]."""
    b = patches.shape[0]
    (gh, gw), p = grid, patch_size
    x = patches.reshape(b, gh, gw, p, p, -1).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(b, -1, gh * p, gw * p)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of [B, L, D] by [B, n] indices -> [B, n, D]."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def sincos_positions(dim: int, grid: tuple[int, int]) -> Tensor:
    """Fixed 2-D sine-cosine position embedding [1, 1 + L, D] (MAE, appendix A.1); the class token's is zero.

    The first half of the channels encodes the column, the second the row, as in the official MAE.
    """
    if dim % 4:
        raise ValueError(f"sine-cosine positions need a multiple of 4 channels, not {dim}")
    rate = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float64), torch.arange(grid[1], dtype=torch.float64), indexing="ij"
    )
    angles = [axis.reshape(-1, 1) * rate for axis in (columns, rows)]
    table = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), table]).float().unsqueeze(0)


def resample_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Bicubic interpolation of the patch part of a [1, 1 + L, D] position embedding to another grid."""
    if old == new:
        return positions
    grid = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid.float(), size=new, mode="bicubic", align_corners=False).to(positions.dtype)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def init_vit(module: nn.Module) -> None:
    """Initialization as in MAE: Xavier for linear layers, including the patch projection; for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, PatchEmbed):
        nn.init.xavier_uniform_(module.proj.weight.view(module.proj.weight.shape[0], -1))
