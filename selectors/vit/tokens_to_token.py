"""Tokens-to-token module of T2T-ViT (Yuan et al., ICCV 2021) with performer attention, for inference.

Section 3.1 of the paper; the attention is that of Choromanski et al., "Rethinking Attention with Performers", ICLR
2021, with positive random features. Parameter names follow the published files.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))
"""Kernel, stride and padding of the three soft splits: together one token per 16x16 pixels."""


class TokenPerformer(nn.Module):
    """One head of performer attention and a two-layer perceptron; the values are the skip connection.

    Args:
        dim: width of the input tokens.
        width: width of the output tokens.
        features: number of random features of the kernel; half of `width` in the published models.
    """

    def __init__(self, dim: int, width: int, features: int) -> None:
        super().__init__()
        self.kqv = nn.Linear(dim, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        directions = nn.init.orthogonal_(torch.empty(features, width)) * math.sqrt(features)
        self.w = nn.Parameter(directions, requires_grad=False)

    def _features(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, features]: exp(w·x - |x|²/2) / sqrt(features)."""
        x = x.float()
        return (x @ self.w.float().T - x.square().sum(-1, keepdim=True) / 2).exp() / math.sqrt(len(self.w))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, dim] -> [B, N, width]."""
        k, q, v = self.kqv(self.norm1(x)).chunk(3, dim=-1)
        k, q = self._features(k), self._features(q)
        gathered = q @ (k.transpose(1, 2) @ v.float())
        mass = q @ k.sum(1).unsqueeze(-1)
        x = v + self.proj(gathered / (mass + 1e-8))
        return x + self.mlp(self.norm2(x))


class TokensToToken(nn.Module):
    """Images to tokens in three overlapping splits, with attention after the first and the second.

    Args:
        dim: width of the output tokens.
        width: width of the tokens between the splits.
        features: see `TokenPerformer`.
    """

    def __init__(self, dim: int, width: int, features: int) -> None:
        super().__init__()
        self.attention1 = TokenPerformer(3 * SPLITS[0][0] ** 2, width, features)
        self.attention2 = TokenPerformer(width * SPLITS[1][0] ** 2, width, features)
        self.project = nn.Linear(width * SPLITS[2][0] ** 2, dim)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], multiples of 16 -> [B, (H/16)*(W/16), dim] in raster order."""
        grid = images
        for split, attention in zip(SPLITS, (self.attention1, self.attention2, None), strict=True):
            kernel, stride, padding = split
            x = F.unfold(grid, kernel, padding=padding, stride=stride).transpose(1, 2)
            if attention is None:
                break
            rows, columns = (-(-side // stride) for side in grid.shape[-2:])
            grid = attention(x).transpose(1, 2).unflatten(2, (rows, columns))
        return self.project(x)
