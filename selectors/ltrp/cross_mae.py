"""CrossMAE: a masked autoencoder whose decoder only cross-attends (Fu et al., 2024, arXiv:2401.14391).

The decoder's queries are the positions to predict. They attend to the visible tokens only, never to one another, so a
prediction does not depend on which other positions are predicted: any sample of positions gives the exact values
there. Each decoder block reads its own learned mixture of the encoder's feature maps.

State-dict keys are those of the authors' CrossMAE checkpoints, so that they load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAEConfig, MaskedAutoencoder, complement, random_visible
from ltrp_bench.selectors.vit.layers import (
    Block,
    Mlp,
    PatchEmbed,
    init_vit,
    sincos_positions,
    take,
)


@dataclass(frozen=True, kw_only=True)
class CrossMAEConfig(MAEConfig):
    """Architecture of a `CrossMAE`, as in the metadata of our files. Defaults are those of the official ViT-B.

    Attributes:
        decoder: "cross", which tells a CrossMAE from a MAE.
        predict_ratio: share of the image's patches that training predicts, a random part of the masked ones (the
            authors' `kept_mask_ratio`).
    """

    decoder: Literal["cross"] = "cross"
    decoder_depth: int = 12
    predict_ratio: float = 0.75


class KeysValues(NamedTuple):
    """Keys and values of a decoder block, each [B, heads, 1 + n, D' / heads]: class token, then visible patches."""

    keys: Tensor
    values: Tensor


class CrossAttention(nn.Module):
    """Multi-head attention from queries of width `dim` to memory tokens of width `memory_dim`."""

    def __init__(self, dim: int, memory_dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(memory_dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, N, D'] -> [B, heads, N, D' / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> KeysValues:
        """[B, N, D] memory tokens -> their keys and values."""
        keys, values = self.kv(memory).chunk(2, dim=-1)
        return KeysValues(self.split_heads(keys), self.split_heads(values))

    def forward(self, queries: Tensor, memory: KeysValues, mask: Tensor | None = None) -> Tensor:
        """[B, M, D'] queries (after `q`) -> [B, M, D']; `mask` [M, N] is True where a query may attend."""
        mixed = F.scaled_dot_product_attention(self.split_heads(queries), *memory, attn_mask=mask)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class CrossBlock(nn.Module):
    """Pre-norm decoder block: cross-attention, then an MLP; no self-attention."""

    def __init__(self, dim: int, memory_dim: int, heads: int, mlp_ratio: float, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.cross_attn = CrossAttention(dim, memory_dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def queries(self, x: Tensor) -> Tensor:
        """[B, M, D'] -> [B, M, D']: queries, a function of each token alone."""
        return self.cross_attn.q(self.norm1(x))

    def after_queries(self, x: Tensor, queries: Tensor, memory: KeysValues, mask: Tensor | None = None) -> Tensor:
        """The rest of the block where `queries(x)` is known."""
        x = x + self.cross_attn(queries, memory, mask)
        return x + self.mlp(self.norm2(x))

    def forward(self, x: Tensor, memory: KeysValues, mask: Tensor | None = None) -> Tensor:
        """[B, M, D'] -> [B, M, D']."""
        return self.after_queries(x, self.queries(x), memory, mask)


class WeightedFeatureMaps(nn.Module):
    """One learned mixture of the encoder's feature maps for each decoder block (Fu et al., section 3.4)."""

    def __init__(self, maps: int, mixtures: int) -> None:
        super().__init__()
        self.linear = nn.Linear(maps, mixtures, bias=False)
        nn.init.normal_(self.linear.weight, std=maps**-0.5)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, N, D, K] feature maps -> [B, N, D, mixtures]."""
        return self.linear(maps)


class CrossMAE(MaskedAutoencoder):
    """Encoder of the visible patches and a decoder that predicts the pixels of any positions asked for.

    Attributes:
        predict_ratio: share of the image's patches that training predicts.
    """

    def __init__(self, config: CrossMAEConfig) -> None:
        super().__init__(config)
        self.predict_ratio = config.predict_ratio
        count_predicted(self.predict_ratio, self.patches)  # raises for a ratio out of range
        embed_dim, decoder_dim, eps = config.embed_dim, config.decoder_dim, config.layer_norm_eps
        depth, decoder_depth = config.depth, config.decoder_depth
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.pos_embed = nn.Parameter(sincos_positions(embed_dim, self.grid), requires_grad=False)
        self.decoder_pos_embed = nn.Parameter(sincos_positions(decoder_dim, self.grid), requires_grad=False)
        self.patch_embed = PatchEmbed(self.patch_size, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, config.heads, config.mlp_ratio, eps) for _ in range(depth))
        self.dec_norms = nn.ModuleList(nn.LayerNorm(embed_dim, eps=eps) for _ in range(decoder_depth))
        self.wfm = WeightedFeatureMaps(depth + 1, decoder_depth)
        self.decoder_blocks = nn.ModuleList(
            CrossBlock(decoder_dim, embed_dim, config.decoder_heads, config.mlp_ratio, eps)
            for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=eps)
        self.decoder_pred = nn.Linear(decoder_dim, self.patch_size**2 * 3)
        for name, module in self.named_modules():
            if not name.startswith("wfm"):
                init_vit(module)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    def embed(self, images: Tensor, visible: Tensor) -> Tensor:
        """Encoder tokens before the first block: class token and visible patches, [B, 1 + n, D]."""
        tokens = self.patch_embed(take(self.patchify(images), visible))
        tokens = tokens + self.pos_embed[0, 1:][visible]
        # The class token has no position of its own.
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)

    def feature_maps(self, tokens: Tensor) -> Tensor:
        """[B, N, D] embedded tokens -> [B, N, D, depth + 1]: themselves and the output of every encoder block."""
        maps = [tokens]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return torch.stack(maps, dim=-1)

    def memory(self, maps: Tensor) -> list[KeysValues]:
        """[B, N, D, depth + 1] feature maps -> keys and values of every decoder block."""
        mixtures = self.wfm(maps).unbind(-1)
        blocks = cast(list[CrossBlock], list(self.decoder_blocks))
        norms = cast(list[nn.LayerNorm], list(self.dec_norms))
        return [
            block.cross_attn.keys_values(norm(mixture))
            for block, norm, mixture in zip(blocks, norms, mixtures, strict=True)
        ]

    def encode(self, images: Tensor, visible: Tensor) -> list[KeysValues]:
        """[B, 3, H, W] and visible indices [B, n] -> keys and values of every decoder block."""
        return self.memory(self.feature_maps(self.embed(images, visible)))

    def blank(self, positions: Tensor) -> Tensor:
        """Decoder tokens before the first block at [B, M] positions: [B, M, D']."""
        return self.mask_token + self.decoder_pos_embed[0, 1:][positions]

    def decode(self, memory: list[KeysValues], positions: Tensor) -> Tensor:
        """Predictions [B, M, P*P*3] at the positions [B, M], each independent of the others."""
        x = self.blank(positions)
        for block, known in zip(self.decoder_blocks, memory, strict=True):
            x = block(x, known)
        return self.decoder_pred(self.decoder_norm(x))

    def training_loss(
        self,
        images: Tensor,
        mask_ratio: float = 0.75,
        generator: torch.Generator | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error (scalar) over the predicted positions: a random part of the masked ones.

        Args:
            images: [B, 3, H, W], normalized by the model's mean and std.
            mask_ratio: share of patches masked, in (0, 1).
            generator: for the random visible patches and predicted positions.
            visible: [B, n] indices of the visible patches instead of random ones.

        Raises:
            UsageError: fewer patches are masked than are to be predicted.
        """
        visible = self.draw(images, mask_ratio, generator, visible)
        count = count_predicted(self.predict_ratio, self.patches)
        positions = sample_positions(complement(visible, self.patches), count, generator)
        prediction = self.decode(self.encode(images, visible), positions)
        target = self.target(take(self.patchify(images), positions))
        return (prediction.float() - target.float()).square().mean()


def count_predicted(ratio: float, patches: int) -> int:
    """Number of positions for a share `ratio` of an image's patches: int(L * ratio), at least 1."""
    if not 0 < ratio <= 1:
        raise UsageError(f"the share of predicted patches must lie in (0, 1], not {ratio}")
    return max(1, int(round(patches * ratio, 9)))


def sample_positions(masked: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """`count` of each image's [B, M] masked positions, uniformly and without repeats, in raster order: [B, count].

    Raises UsageError where fewer are masked.
    """
    if count > masked.shape[1]:
        raise UsageError(f"cannot predict {count} of {masked.shape[1]} masked patches")
    if count == masked.shape[1]:
        return masked
    drawn = random_visible(len(masked), masked.shape[1], count, generator, masked.device)
    return masked.gather(1, drawn)
