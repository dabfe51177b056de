"""Masked autoencoder (He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022).

State-dict keys are those of the official implementation, so its checkpoints load without renaming. The sequence of the
decoder is class token, visible patches, masked patches: attention does not depend on the order, and the last block can
compute the masked patches alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.layers import (
    Block,
    PatchEmbed,
    init_vit,
    patchify,
    sincos_positions,
    take,
    unpatchify,
)


def count_visible(mask_ratio: float, patches: int) -> int:
    """Number of visible patches: int(L * (1 - ratio)) as in the official code, at least 1.

    The product is rounded to 9 digits first: 1 - 0.9 is a little less than 0.1 in floating point.
    """
    if not 0 <= mask_ratio < 1:
        raise UsageError(f"mask_ratio must lie in [0, 1), not {mask_ratio}")
    return max(1, int(round(patches * (1 - mask_ratio), 9)))


def random_visible(
    batch: int,
    patches: int,
    keep: int,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
    ordered: bool = True,
) -> Tensor:
    """`keep` of `patches` indices for each of `batch` images, uniformly and without repeats: [B, keep].

    In raster order if `ordered`. Drawn on the device of the generator (the CPU without one), so that a seed gives the
    same indices on every device.
    """
    source = generator.device if generator is not None else torch.device("cpu")
    noise = torch.rand(batch, patches, generator=generator, device=source)
    drawn = noise.argsort(dim=1)[:, :keep]
    return (drawn.sort(dim=1).values if ordered else drawn).to(device)


def complement(visible: Tensor, patches: int) -> Tensor:
    """Indices that are not in `visible` [B, n], in raster order: [B, L - n]."""
    seen = torch.zeros(visible.shape[0], patches, dtype=torch.uint8, device=visible.device)
    # A stable sort instead of nonzero(), which would synchronize with the device.
    return seen.scatter_(1, visible, 1).argsort(dim=1, stable=True)[:, : patches - visible.shape[1]]


def default_memory_mb(device: torch.device) -> float:
    """Limit of the working memory of semantic density: 64 on a CPU (for its caches), 4096 on a GPU."""
    return 64.0 if device.type == "cpu" else 4096.0


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """Architecture of a `MAE`, as in the metadata of our files. Defaults are those of the official ViT-B.

    Attributes:
        image_size: side of the images in pixels, or (H, W).
        patch_size: side of a patch in pixels.
        embed_dim, depth, heads: width, blocks and heads of the encoder.
        decoder_dim, decoder_depth, decoder_heads: width, blocks and heads of the decoder.
        layer_norm_eps: epsilon of all layer norms.
        norm_pix_loss: predict pixels that are normalized per patch.
        mlp_ratio: hidden width of an MLP, divided by the width.
        mean, std: normalization of the images, per channel of RGB in [0, 1].
    """

    image_size: int | Sequence[int] = 224
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    heads: int = 12
    decoder_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    layer_norm_eps: float = 1e-6
    norm_pix_loss: bool = True
    mlp_ratio: float = 4.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD


class MaskedAutoencoder(nn.Module):
    """Geometry, targets and masks of the autoencoders here; subclasses add encoder and decoder.

    Attributes:
        config: the constructor's options as plain JSON, in the metadata of our files.
        image_size: (H, W) in pixels.
        grid: (gh, gw) patches.
        patches: their number L.
        mean, std: normalization of the images, per channel of RGB in [0, 1]; only distances on pixels use them.
        notes: lines about the file that the weights are from.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        side, patch_size = config.image_size, config.patch_size
        size = (side, side) if isinstance(side, int) else (side[0], side[1])
        if size[0] % patch_size or size[1] % patch_size:
            raise UsageError(f"patches of {patch_size} pixels do not tile an image of {size[0]}x{size[1]}")
        self.image_size, self.patch_size = size, patch_size
        self.grid = (size[0] // patch_size, size[1] // patch_size)
        self.patches = self.grid[0] * self.grid[1]
        self.norm_pix_loss = config.norm_pix_loss
        self.mean, self.std = tuple(config.mean), tuple(config.std)
        self.config = {
            **asdict(config),
            "image_size": size[0] if size[0] == size[1] else list(size),
            "mean": list(config.mean),
            "std": list(config.std),
        }

    def patchify(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, L, P*P*3]; `ValueError` for images of another size than the model's."""
        if tuple(images.shape[-2:]) != self.image_size:
            got, want = "x".join(map(str, images.shape[-2:])), "x".join(map(str, self.image_size))
            raise ValueError(f"this {type(self).__name__} takes images of {want} pixels, not {got}")
        return patchify(images, self.patch_size)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """[B, L, P*P*3] -> [B, 3, H, W]."""
        return unpatchify(patches, self.grid, self.patch_size)

    def random_visible(self, batch: int, patches: int, keep: int, generator: torch.Generator | None = None) -> Tensor:
        """Call the function of the same name with the device of the model."""
        return random_visible(batch, patches, keep, generator, next(self.parameters()).device)

    def target(self, patches: Tensor) -> Tensor:
        """Targets of [B, n, P*P*3] patches: their pixels, normalized per patch with `norm_pix_loss`."""
        if not self.norm_pix_loss:
            return patches
        mean = patches.mean(dim=-1, keepdim=True)
        return (patches - mean) / (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()

    def draw(
        self, images: Tensor, mask_ratio: float, generator: torch.Generator | None, visible: Tensor | None
    ) -> Tensor:
        """The given visible patches, or random ones at the mask ratio: [B, n]."""
        if visible is not None:
            return visible
        keep = count_visible(mask_ratio, self.patches)
        return random_visible(len(images), self.patches, keep, generator, images.device)


class MAE(MaskedAutoencoder):
    """Encoder of the visible patches and light decoder of all patches, which predicts the pixels of the masked ones."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__(config)
        embed_dim, decoder_dim, eps = config.embed_dim, config.decoder_dim, config.layer_norm_eps

        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(sincos_positions(embed_dim, self.grid), requires_grad=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed = nn.Parameter(sincos_positions(decoder_dim, self.grid), requires_grad=False)
        self.patch_embed = PatchEmbed(self.patch_size, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, config.heads, config.mlp_ratio, eps) for _ in range(config.depth))
        self.norm = nn.LayerNorm(embed_dim, eps=eps)
        self.decoder_embed = nn.Linear(embed_dim, decoder_dim)
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_dim, config.decoder_heads, config.mlp_ratio, eps) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=eps)
        self.decoder_pred = nn.Linear(decoder_dim, self.patch_size**2 * 3)
        self.apply(init_vit)
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    def embed(self, images: Tensor, visible: Tensor) -> Tensor:
        """Encoder tokens before the first block: class token and visible patches, [B, 1 + n, D]."""
        tokens = self.patch_embed(take(self.patchify(images), visible))
        tokens = tokens + self.pos_embed[0, 1:][visible]
        cls = self.cls_token + self.pos_embed[:, :1]
        return torch.cat([cls.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """[B, 3, H, W] and visible indices [B, n] -> latent [B, 1 + n, D], in the order of `visible`."""
        x = self.embed(images, visible)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decoder_tokens(self, latent: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """Decoder tokens before the first block, [B, 1 + n + M, D']: class, visible, masked."""
        x = self.decoder_embed(latent)
        places = self.decoder_pos_embed[0]
        seen = torch.cat([x[:, :1] + places[:1], x[:, 1:] + places[visible + 1]], dim=1)
        return torch.cat([seen, (self.mask_token + places[masked + 1]).to(seen.dtype)], dim=1)

    def decode_masked(self, latent: Tensor, visible: Tensor, masked: Tensor | None = None) -> Tensor:
        """Predictions at the masked positions only, [B, M, P*P*3], masked in raster order unless given."""
        masked = complement(visible, self.patches) if masked is None else masked
        x = self.decoder_tokens(latent, visible, masked)
        *first, last = self.decoder_blocks
        for block in first:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(last(x, first_query=latent.shape[1])))

    def decode(self, latent: Tensor, visible: Tensor) -> Tensor:
        """[B, 1 + n, D] latent -> predictions of all patches [B, L, P*P*3] in raster order."""
        masked = complement(visible, self.patches)
        x = self.decoder_tokens(latent, visible, masked)
        for block in self.decoder_blocks:
            x = block(x)
        x = self.decoder_pred(self.decoder_norm(x[:, 1:]))
        order = torch.cat([visible, masked], dim=1)
        return torch.empty_like(x).scatter_(1, order.unsqueeze(-1).expand_as(x), x)

    def training_loss(
        self,
        images: Tensor,
        mask_ratio: float = 0.75,
        generator: torch.Generator | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Scalar loss: mean squared error over the masked patches, the only ones that are predicted."""
        visible = self.draw(images, mask_ratio, generator, visible)
        masked = complement(visible, self.patches)
        pred = self.decode_masked(self.encode(images, visible), visible, masked)
        target = self.target(take(patchify(images, self.patch_size), masked))
        return (pred.float() - target.float()).square().mean()

    def forward(
        self,
        images: Tensor,
        mask_ratio: float = 0.75,
        generator: torch.Generator | None = None,
        visible: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss over the masked patches, predictions of all [B, L, P*P*3], and mask [B, L] (1 = masked)."""
        visible = self.draw(images, mask_ratio, generator, visible)
        pred = self.decode(self.encode(images, visible), visible)
        error = (pred.float() - self.target(self.patchify(images)).float()).square().mean(dim=-1)
        mask = torch.ones_like(error).scatter_(1, visible, 0.0)
        return (error * mask).sum() / mask.sum(), pred, mask
