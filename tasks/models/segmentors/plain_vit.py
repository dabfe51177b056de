"""Plain ViT segmentors: a timm backbone on the kept patches, tokens back on the grid, and a light head.

The heads are those of Strudel et al., "Segmenter: Transformer for Semantic Segmentation", ICCV 2021: a linear layer on
each token, or the mask transformer, in which one embedding per class passes some blocks together with the tokens and a
mask is the scalar product of the two. Parameters have the names of Segmenter's published files. Unlike theirs, a head
may predict several subpatches per patch (`cells` along its side), and dropped patches hold zeros, or a learned token
plus the position embedding of the patch (`missing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit
from ltrp_bench.selectors.vit.embedding import grid_of
from ltrp_bench.tasks.models.vit.token_dropping import features_kept, missing_tokens, scatter_tokens

HEADS: Final = ("linear", "mask-transformer")
MISSING: Final = ("zero", "token")


class LinearHead(nn.Module):
    """One linear layer that predicts the classes of each token's subpatches.

    Args:
        width: width of the tokens.
        classes: number of outputs, C.
        cells: subpatches along the side of a patch.
    """

    def __init__(self, width: int, classes: int, *, cells: int = 1) -> None:
        super().__init__()
        self.cells, self.classes = cells, classes
        self.head = nn.Linear(width, classes * cells * cells)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, cells * cells, C], subpatches in raster order."""
        return cast(Tensor, self.head(tokens)).unflatten(-1, (self.cells * self.cells, self.classes))

    def config(self) -> dict[str, Any]:
        """Constructor arguments without width and classes."""
        return {"head": "linear", "cells": self.cells}


class MaskTransformer(nn.Module):
    """Segmenter's decoder (section 3.2, equations 5 and 6).

    Args:
        width: width of the encoder's tokens.
        classes: number of outputs, C.
        dim: width of the decoder, a multiple of `heads`.
        depth: number of blocks; 2 in the published files.
        heads: attention heads.
        cells: subpatches along the side of a patch.

    Raises:
        UsageError: a number below 1, or heads that do not divide `dim`.
    """

    def __init__(self, width: int, classes: int, *, dim: int, depth: int = 2, heads: int = 4, cells: int = 1) -> None:
        super().__init__()
        if min(classes, dim, depth, heads, cells) < 1 or dim % heads:
            raise UsageError(
                f"mask transformer: classes={classes}, dim={dim}, depth={depth}, heads={heads} and cells={cells} must "
                "be at least 1, and heads divide dim"
            )
        self.classes, self.cells, self.heads = classes, cells, heads
        self.proj_dec = nn.Linear(width, dim)
        self.cls_emb = nn.Parameter(torch.randn(1, classes, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, qkv_bias=True) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(dim)
        self.proj_patch = nn.Parameter(dim**-0.5 * torch.randn(dim, dim * cells * cells))
        self.proj_classes = nn.Parameter(dim**-0.5 * torch.randn(dim, dim))
        self.mask_norm = nn.LayerNorm(classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, cells * cells, C]."""
        x = torch.cat([self.proj_dec(tokens), self.cls_emb.expand(len(tokens), -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_norm(x)
        patches = x[:, : -self.classes] @ self.proj_patch
        patches = F.normalize(patches.unflatten(-1, (self.cells * self.cells, -1)), dim=-1)
        classes = F.normalize(x[:, -self.classes :] @ self.proj_classes, dim=-1)
        masks = torch.einsum("bnsd,bcd->bnsc", patches, classes)
        return cast(Tensor, self.mask_norm(masks))

    def config(self) -> dict[str, Any]:
        """Constructor arguments without width and classes."""
        dim, depth = self.cls_emb.shape[-1], len(self.blocks)
        return {"head": "mask-transformer", "dim": dim, "depth": depth, "heads": self.heads, "cells": self.cells}


class PlainSegmentor(nn.Module):
    """A plain ViT with a segmentation head.

    Args:
        encoder: timm's ViT, without classifier.
        decoder: `LinearHead` or `MaskTransformer` of its width.
        missing: features at dropped patches: "zero", which needs no training, or "token", a learned token plus the
            position embedding of the patch.

    Raises:
        UsageError: another value of `missing`.
    """

    def __init__(
        self, encoder: VisionTransformer, decoder: LinearHead | MaskTransformer, *, missing: str = "zero"
    ) -> None:
        super().__init__()
        if missing not in MISSING:
            raise UsageError(f"missing must be {' or '.join(MISSING)}, got {missing!r}")
        self.encoder, self.decoder = encoder, decoder
        self.mask_token = nn.Parameter(torch.zeros(encoder.embed_dim)) if missing == "token" else None

    @property
    def missing(self) -> str:
        """Features at dropped patches, "zero" or "token"."""
        return "zero" if self.mask_token is None else "token"

    def forward(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        """Predicts the classes of all subpatches.

        Args:
            images: [B, 3, H, W], normalized.
            indices: [B, k] int64 indices of the kept patches in raster order; None keeps all.

        Returns:
            [B, C, gh * cells, gw * cells] logits.

        Raises:
            InputError: images or indices of a wrong shape.
        """
        vit = self.encoder
        grid = grid_of(vit, int(images.shape[2]), int(images.shape[3]))
        tokens = features_kept(vit, images, indices)[:, vit.num_prefix_tokens :]
        if indices is not None:
            fill = missing_tokens(vit, self.mask_token, grid)
            tokens = scatter_tokens(tokens, indices, grid, fill).flatten(2).transpose(1, 2)
        return on_grid(self.decoder(tokens), grid)

    def config(self) -> dict[str, Any]:
        """Arguments of the head and `missing`, as `build_segmentor` takes them."""
        return {**self.decoder.config(), "missing": self.missing}


def build_segmentor(config: Mapping[str, Any]) -> PlainSegmentor:
    """Builds an untrained segmentor.

    Args:
        config: arguments of `build_vit`, with a list of names as `classes`; and "segmentor", a mapping with `head`
            ("linear" or "mask-transformer"), `cells`, `missing`, and for a mask transformer `dim`, `depth`, `heads`.

    Raises:
        UsageError: an unknown head.
    """
    given = {"head": "linear", "missing": "zero", **config["segmentor"]}
    head, missing = given.pop("head"), given.pop("missing")
    vit = build_vit({**config, "classes": 0, "fc_norm": False})
    return PlainSegmentor(vit, build_head(head, vit.embed_dim, len(config["classes"]), given), missing=missing)


def build_head(head: str, width: int, classes: int, given: Mapping[str, Any]) -> LinearHead | MaskTransformer:
    """Builds a head by its name.

    Args:
        head: "linear" or "mask-transformer".
        width: width of the encoder's tokens.
        classes: number of outputs.
        given: further arguments of the head.

    Raises:
        UsageError: another name.
    """
    if head == "linear":
        return LinearHead(width, classes, cells=given.get("cells", 1))
    if head == "mask-transformer":
        return MaskTransformer(width, classes, **{"dim": width, **given})
    raise UsageError(f"head must be {' or '.join(HEADS)}, got {head!r}")


def head_config(state: Mapping[str, Tensor], what: str) -> dict[str, Any]:
    """Reads the arguments of `build_head` from a state dict without metadata, as in Segmenter's files.

    Args:
        state: the state dict.
        what: name of the file, for error messages.

    Raises:
        InputError: it has neither of the two heads.
    """
    if "decoder.cls_emb" in state:
        dim = int(state["decoder.cls_emb"].shape[-1])
        depth = len({key.split(".")[2] for key in state if key.startswith("decoder.blocks.")})
        cells = round((state["decoder.proj_patch"].shape[1] / dim) ** 0.5)
        # In the published files an attention head has 64 channels.
        heads = max(1, dim // 64)
        return {"head": "mask-transformer", "dim": dim, "depth": depth, "heads": heads, "cells": cells}
    if "decoder.head.weight" in state:
        return {"head": "linear"}
    raise InputError(f"{what} has neither Segmenter's linear head (decoder.head.weight) nor its decoder.cls_emb")


def on_grid(logits: Tensor, grid: tuple[int, int]) -> Tensor:
    """Arranges a head's [B, gh * gw, cells * cells, C] as a map [B, C, gh * cells, gw * cells]."""
    cells = round(logits.shape[2] ** 0.5)
    whole = logits.unflatten(1, grid).unflatten(3, (cells, cells))  # [B, gh, gw, cells, cells, C]
    return whole.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def upsampled(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes [B, C, h, w] to [B, C, H, W], bilinear."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)
