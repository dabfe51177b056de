"""CrossMAE: a masked autoencoder whose decoder only cross-attends (Fu et al., 2024, arXiv:2401.14391).

The decoder's queries are the positions to predict. They attend to the visible tokens only, never to one another, so a
prediction does not depend on which other positions are predicted: any sample of positions gives the exact values
there. Each decoder block reads its own learned mixture of the encoder's feature maps.

State-dict keys are those of the authors' CrossMAE checkpoints, so that they load as they are.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import complement, count_visible, random_visible
from ltrp_bench.selectors.vit.layers import (
    Block,
    Mlp,
    PatchEmbed,
    init_vit,
    patchify,
    sincos_positions,
    take,
    unpatchify,
)


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


class CrossMAE(nn.Module):
    """Encoder over the visible patches; decoder that predicts the pixels of any positions asked for.

    Args:
        image_size: pixels along each side, or (height, width).
        patch_size: pixels along the side of a patch.
        embed_dim, depth, heads: of the encoder.
        decoder_dim, decoder_depth, decoder_heads: of the decoder.
        layer_norm_eps: of every LayerNorm.
        norm_pix_loss: predict pixels normalized per patch.
        mlp_ratio: hidden width of MLPs as a multiple of the tokens'.
        mean, std: per-channel normalization of the images, RGB in [0, 1]; used by distances on pixels only.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        embed_dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        decoder_dim: int = 256,
        decoder_depth: int = 12,
        decoder_heads: int = 8,
        layer_norm_eps: float = 1e-6,
        norm_pix_loss: bool = True,
        mlp_ratio: float = 4.0,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        if size[0] % patch_size or size[1] % patch_size:
            raise UsageError(f"patches of {patch_size} pixels do not tile an image of {size[0]}x{size[1]}")
        self.image_size, self.patch_size = size, patch_size
        self.grid = (size[0] // patch_size, size[1] // patch_size)
        self.patches = self.grid[0] * self.grid[1]
        self.norm_pix_loss = norm_pix_loss
        self.mean, self.std = tuple(mean), tuple(std)
        self.config = {
            "image_size": size[0] if size[0] == size[1] else list(size),
            "patch_size": patch_size,
            "embed_dim": embed_dim,
            "depth": depth,
            "heads": heads,
            "decoder_dim": decoder_dim,
            "decoder_depth": decoder_depth,
            "decoder_heads": decoder_heads,
            "layer_norm_eps": layer_norm_eps,
            "norm_pix_loss": norm_pix_loss,
            "mlp_ratio": mlp_ratio,
            "mean": list(mean),
            "std": list(std),
        }
        eps = layer_norm_eps
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.pos_embed = nn.Parameter(sincos_positions(embed_dim, self.grid), requires_grad=False)
        self.decoder_pos_embed = nn.Parameter(sincos_positions(decoder_dim, self.grid), requires_grad=False)
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, heads, mlp_ratio, eps) for _ in range(depth))
        self.dec_norms = nn.ModuleList(nn.LayerNorm(embed_dim, eps=eps) for _ in range(decoder_depth))
        self.wfm = WeightedFeatureMaps(depth + 1, decoder_depth)
        self.decoder_blocks = nn.ModuleList(
            CrossBlock(decoder_dim, embed_dim, decoder_heads, mlp_ratio, eps) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=eps)
        self.decoder_pred = nn.Linear(decoder_dim, patch_size**2 * 3)
        for name, module in self.named_modules():
            if not name.startswith("wfm"):
                init_vit(module)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    def patchify(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, L, P*P*3]; ValueError for an image of another size than the model's."""
        if tuple(images.shape[-2:]) != self.image_size:
            got, want = "x".join(map(str, images.shape[-2:])), "x".join(map(str, self.image_size))
            raise ValueError(f"this CrossMAE takes images of {want} pixels, not {got}")
        return patchify(images, self.patch_size)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """[B, L, P*P*3] -> [B, 3, H, W]."""
        return unpatchify(patches, self.grid, self.patch_size)

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

    def target(self, patches: Tensor) -> Tensor:
        """Prediction target of [B, n, P*P*3] patches: their pixels, normalized per patch with `norm_pix_loss`."""
        if not self.norm_pix_loss:
            return patches
        mean = patches.mean(dim=-1, keepdim=True)
        return (patches - mean) / (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()

    def training_loss(
        self,
        images: Tensor,
        mask_ratio: float = 0.75,
        generator: torch.Generator | None = None,
        visible: Tensor | None = None,
        predict_ratio: float | None = None,
    ) -> Tensor:
        """Mean squared error (scalar) over the predicted positions.

        Args:
            images: [B, 3, H, W], normalized by the model's mean and std.
            mask_ratio: share of patches masked, in (0, 1).
            generator: for the random visible patches and predicted positions.
            visible: [B, n] indices of the visible patches instead of random ones.
            predict_ratio: share of the image's patches that is predicted, a random part of the masked ones; None
                predicts all masked ones (the authors' `kept_mask_ratio`).

        Raises:
            UsageError: a share that is not in (0, 1], or more than is masked.
        """
        if visible is None:
            keep = count_visible(mask_ratio, self.patches)
            visible = random_visible(len(images), self.patches, keep, generator, images.device)
        positions = complement(visible, self.patches)
        if predict_ratio is not None:
            positions = sample_positions(positions, count_predicted(predict_ratio, self.patches), generator)
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
