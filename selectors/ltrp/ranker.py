"""Ranking network: a vision transformer that scores patches in one pass (LTRP, CVPR 2024, section 3.2).

There are two heads. `patch` computes a score from each patch token, for any subset of patches and any image size.
`class_token`, the published one, computes the scores of all patches of the training grid (196 at 224/16) from the class
token, and so works at the training size only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.checkpoints import (
    builds_from_config,
    check_depths,
    load_built,
    load_metadata,
    mismatch,
    read_weights,
    resolve,
    save_safetensors,
    strip_prefix,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.files.prefixes import prefixes_of
from ltrp_bench.selectors.ltrp.mae_checkpoints import HEADS, count_blocks
from ltrp_bench.selectors.vit.layers import (
    Block,
    PatchEmbed,
    init_vit,
    patchify,
    resample_positions,
    sincos_positions,
    take,
)

Head = Literal["patch", "class_token"]
KIND = "ltrp-ranker"
"""Kind of our rankers, in the metadata of their files."""
OFFICIAL = r"score_net\.pos_embed"
"""Key of official rankers."""
# Published widths: (embed_dim, depth, heads).
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}


class Ranker(nn.Module):
    """Scores patches from an image, or from some of its patches alone.

    `mean` and `std` normalize the images, per channel of RGB in [0, 1]; `notes` are lines about the weights' file.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        image_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        embed_dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        head: Head = "patch",
        layer_norm_eps: float = 1e-5,
        mlp_ratio: float = 4.0,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        self.image_size, self.patch_size, self.head_kind = size, patch_size, head
        self.grid = (size[0] // patch_size, size[1] // patch_size)
        self.mean, self.std = tuple(mean), tuple(std)
        self.config = {
            "image_size": size[0] if size[0] == size[1] else list(size),
            "patch_size": patch_size,
            "embed_dim": embed_dim,
            "depth": depth,
            "heads": heads,
            "head": head,
            "layer_norm_eps": layer_norm_eps,
            "mlp_ratio": mlp_ratio,
            "mean": list(mean),
            "std": list(std),
        }
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(sincos_positions(embed_dim, self.grid))
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, heads, mlp_ratio, layer_norm_eps) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=layer_norm_eps)
        if head == "patch":
            self.score_head = nn.Linear(embed_dim, 1)
        else:
            self.head = nn.Linear(embed_dim, self.grid[0] * self.grid[1])
        self.apply(init_vit)
        nn.init.normal_(self.cls_token, std=0.02)

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Scores from the whole image, or from the visible patches alone.

        Args:
            images: [B, 3, H, W] normalized; any multiple of the patch size with the `patch` head (position
                embeddings are interpolated), the training size with the `class_token` head.
            visible: [B, n] raster indices; the transformer gets these patches only (the asymmetric training of the
                paper), and only their scores are returned.

        Returns:
            [B, n] scores, or [B, L] of all patches in raster order.
        """
        grid = (images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size)
        if self.head_kind == "class_token" and grid != self.grid:
            got, want = "x".join(map(str, images.shape[-2:])), "x".join(map(str, self.image_size))
            raise InputError(f"a class-token ranker scores images of {want} pixels, not {got}: resize first")
        places = resample_positions(self.pos_embed, self.grid, grid)
        patches = patchify(images.to(self.pos_embed.dtype), self.patch_size)
        if visible is None:
            x = self.patch_embed(patches) + places[:, 1:]
        else:
            x = self.patch_embed(take(patches, visible)) + places[0, 1:][visible]
        cls = (self.cls_token + places[:, :1]).to(x.dtype)
        x = torch.cat([cls.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        if self.head_kind == "patch":
            return self.score_head(self.norm(x[:, 1:])).squeeze(-1).float()
        scores = self.head(self.norm(x[:, 0])).float()
        return scores if visible is None else scores.gather(1, visible)


def ranker_config_from_state(
    state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, **overrides: Any
) -> dict[str, Any]:
    """Infer the configuration of a ranker from its state dict (without "score_net.").

    Raises:
        InputError: a state dict of another model, or an unknown number of heads.
    """
    needed = ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "norm.weight")
    missing = [key for key in needed if key not in state]
    if "score_head.weight" not in state and "head.weight" not in state:
        missing.append("score_head.weight or head.weight")
    foreign = [key for key in state if key.startswith(("mask_token", "decoder_", "score_predictor."))]
    if missing or foreign:
        raise mismatch("an LTRP ranker", state, missing, foreign)
    width, patches = state["pos_embed"].shape[-1], state["pos_embed"].shape[1] - 1
    patch = state["patch_embed.proj.weight"].shape[-1]
    head: Head = "patch" if "score_head.weight" in state else "class_token"
    if head == "class_token" and state["head.weight"].shape[0] != patches:
        outputs = state["head.weight"].shape[0]
        raise InputError(
            f"weights do not fit an LTRP ranker: head.weight has {outputs} outputs instead of one for each of "
            f"{patches} patches; the file looks like a classifier (timm ViT, DeiT, EViT)"
        )
    config: dict[str, Any] = {
        "image_size": math.isqrt(patches) * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": count_blocks(state, "blocks"),
        "heads": HEADS.get(width),
        "head": head,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
    }
    stored = json.loads((metadata or {}).get("config", "{}"))
    check_depths(config, stored, "the LTRP ranker")
    config.update(stored)
    config.update(overrides)
    if config["heads"] is None:
        raise InputError(f"cannot infer the number of heads of the ranker from its width {width}: pass heads=N")
    return config


@builds_from_config
def load_ranker(path_or_tag: str | Path, *, ema: bool | None = None, **overrides: Any) -> Ranker:
    """Load a ranker from a file or the tag of bundled weights ("ltrp.shapes"), in evaluation mode and frozen.

    Official files hold {"model": {"score_net.…"}}, with or without the MAE. `overrides` replace parts of the
    configuration, e.g. `heads`; `ema` is as in `read_weights`.
    """
    path = resolve(path_or_tag)
    weights, metadata = read_weights(path, ema), load_metadata(path)
    official = bool(prefixes_of(weights.state, OFFICIAL))
    weights = weights.under(*((OFFICIAL,) if official else (r"score_head\.weight", "pos_embed")))
    state = strip_prefix(weights.state, "score_net.") if official else weights.state
    config = ranker_config_from_state(state, metadata, **overrides)
    if config["head"] == "class_token" and not official and metadata.get("kind") != KIND:
        raise InputError(
            f"{path.name} does not say that it is an LTRP ranker: its {len(state['head.weight'])} outputs are as many "
            "as its patches, but a classifier may have as many; the keys of official rankers begin with score_net."
        )
    ranker = load_built(lambda: Ranker(**config), state, f"the LTRP ranker of {path.name}")
    ranker.notes = weights.notes
    return ranker.eval().requires_grad_(False)


def at_image_size(ranker: Ranker, image_size: tuple[int, int]) -> Ranker:
    """A ranker with the same weights for another training size; position embeddings are interpolated.

    Raises:
        UsageError: a class-token ranker, whose head belongs to its training size.
    """
    if image_size == ranker.image_size:
        return ranker
    if ranker.head_kind == "class_token":
        want, own = ("x".join(map(str, size)) for size in (image_size, ranker.image_size))
        raise UsageError(f"the class-token head of this ranker scores images of {own} pixels, not of {want}")
    config: dict[str, Any] = {**ranker.config, "image_size": image_size}
    other = Ranker(**config)
    places = resample_positions(ranker.pos_embed.detach(), ranker.grid, other.grid)
    other.load_state_dict({**ranker.state_dict(), "pos_embed": places})
    other.notes = ranker.notes
    return other


def save_ranker(path: str | Path, ranker: Ranker, **metadata: Any) -> None:
    """Write a ranker as safetensors, atomically, with all that `load_ranker` needs and further `metadata`."""
    save_safetensors(path, ranker.state_dict(), {"kind": KIND, "config": ranker.config, **metadata})
