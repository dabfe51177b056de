"""Plain vision transformers from checkpoints of timm, DeiT-like official files, and bundled weights.

Methods that use attention, gradients or features of a ViT all load it here, so that they are compared on the same
weights, with the normalization, input size and label sets that belong to them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, Channels, Selector, Supervision
from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, mismatch, resolve, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import HEADS, count_blocks
from ltrp_bench.selectors.vit.stem import ConvStem, stem_patch_size
from ltrp_bench.selectors.vit.supervision import supervision_of, unlabelled

WEIGHTS_SUFFIXES = (".pt", ".pth", ".tar", ".bin", ".safetensors")
"""Ends of file names that are no tag."""


@dataclass
class Backbone:
    """A frozen ViT, and how its images are prepared.

    Attributes:
        model: timm `VisionTransformer` in evaluation mode, float32, without gradients.
        mean, std: per channel of RGB in [0, 1].
        image_size: (H, W) of the training.
        patch_size: side of a patch in pixels.
        supervision: label sets of the training.
    """

    model: VisionTransformer
    mean: Channels
    std: Channels
    image_size: tuple[int, int]
    patch_size: int
    supervision: Supervision

    @property
    def grid(self) -> tuple[int, int]:
        """Patch grid (gh, gw) at the training size."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def configure(self, selector: Selector) -> None:
        """Give a selector the normalization, sizes and supervision of these weights."""
        selector.mean, selector.std, selector.supervision = self.mean, self.std, self.supervision
        selector.input_size, selector.patch_size = self.image_size, self.patch_size

    @property
    def classes(self) -> int:
        """Number of outputs of the classifier; 0 without a classifier."""
        return int(self.model.num_classes)


def load_backbone(
    weights: str | Path,
    model: str | None = None,
    *,
    heads: int | None = None,
    label_set: str | None = None,
    supervised: bool = True,
    drop: tuple[str, ...] = (),
) -> Backbone:
    """Load a ViT.

    The architecture is, in this order, that of `model`; of the metadata of our own files; of the timm model that the
    file is named after ("vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"); or inferred from names and shapes of tensors.

    Args:
        weights: torch or safetensors file, with or without the official wrappers ("model", "state_dict", "teacher"), or
            the tag of bundled weights ("vit.shapes0").
        model: name of a timm model, with or without "timm:"; without a tag it means timm's default weights.
        heads: number of attention heads; only needed if neither file nor width identifies it.
        label_set: label sets of the whole training in its order, joined by "+" ("imagenet21k+imagenet1k"); only needed
            if neither file, timm tag nor number of outputs identifies them. "self" for weights trained without labels.
        supervised: False if the weights were trained without labels (DINO, MAE, MoCo); no classifier is needed then.
        drop: prefixes of keys to leave out, which belong to another part of the method.

    Raises:
        InputError: a missing, corrupt or foreign file; the message names its keys and what it looks like.
        UsageError: an unknown timm model.
    """
    path = resolve(weights)
    state = {k: v.float() if v.is_floating_point() else v for k, v in _bare(load_state(path)).items()}
    state = {k: v for k, v in state.items() if not k.startswith(drop)} if drop else state
    config = json.loads(load_metadata(path).get("config", "{}"))
    name = timm_name(model) if model is not None else name_of_file(path)
    net = (
        _from_timm(name, state, heads, path)
        if name and not config
        else _from_state(state, config, heads, f"a plain ViT ({path.name})")
    )
    load_into(net, state, f"the ViT {name or path.name}")
    net.eval().requires_grad_(False)
    # A model without a tag may be meant as an architecture alone.
    tagged = tagged_name(path) if model is None else name if "." in model else None
    supervision = (
        supervision_of(name or tagged, config, int(net.num_classes), label_set)
        if supervised
        else unlabelled(tagged, config)
    )
    known = timm.get_pretrained_cfg(name) if name and not config else None
    mean, std = (known.mean, known.std) if known else (IMAGENET_MEAN, IMAGENET_STD)
    size, patch = net.patch_embed.img_size, net.patch_embed.patch_size
    return Backbone(
        net,
        cast(Channels, tuple(config.get("mean", mean))),
        cast(Channels, tuple(config.get("std", std))),
        (int(size[0]), int(size[1])),
        int(patch[0]),
        supervision,
    )


def timm_name(name: str) -> str:
    """Name of a timm model without "timm:" and with its tag, timm's default if none is given.

    Raises:
        UsageError: timm does not have the model or the tag.
    """
    bare = name.removeprefix("timm:")
    base, _, tag = bare.partition(".")
    if not timm.is_model(base):
        near = ", ".join(timm.list_models(f"{bare.partition('_')[0]}*")[:4]) or "timm.list_models() names them"
        raise UsageError(f"timm has no model {bare!r}; similar names: {near}")
    try:
        known = timm.get_pretrained_cfg(bare)
    except RuntimeError:
        tags = ", ".join(timm.list_models(f"{base}.*", pretrained=True)[:4]) or f"{base} alone"
        raise UsageError(f"timm knows no weights {tag!r} of {base}; it knows {tags}") from None
    tag = tag or (known.tag if known is not None else "")
    return f"{base}.{tag}" if tag else base


def name_of_file(path: Path) -> str | None:
    """Name of the timm model, with its tag, that a file is named after; None for any other file name.

    A name without a tag does not identify weights: many official files are named after their architecture alone.
    """
    stem = path.name.removesuffix(path.suffix)
    if "." not in stem:
        return None
    try:
        return timm_name(stem)
    except UsageError:
        return None


def tagged_name(path: Path) -> str | None:
    """The file name without suffixes if it is a model of timm with any tag; None otherwise.

    A tag that this version of timm does not know may still name label sets.
    """
    stem = path.name
    while (suffix := Path(stem).suffix) in WEIGHTS_SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem if "." in stem and timm.is_model(stem.partition(".")[0]) else None


def _from_timm(name: str, state: Mapping[str, Tensor], heads: int | None, path: Path) -> VisionTransformer:
    """A timm model with a classifier of the size in the file, which may differ from that of timm's weights."""
    if "blocks.0.attn.qkv.weight" not in state:
        raise mismatch(f"a plain ViT ({path.name})", state, ["blocks.0.attn.qkv.weight"])
    classes = int(state["head.weight"].shape[0]) if "head.weight" in state else 0
    net = timm.create_model(name, pretrained=False, num_classes=classes, **({"num_heads": heads} if heads else {}))
    if not isinstance(net, VisionTransformer):
        raise UsageError(f"timm's {name} is a {type(net).__name__}, not a plain vision transformer")
    return net


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict without the prefixes that self-supervised files put before the keys of a backbone."""
    for prefix in ("module.backbone.", "backbone.", "module.base_encoder.", "base_encoder.", "module.", "encoder."):
        if any(key.startswith(prefix + "blocks.0.") for key in state):
            return strip_prefix(state, prefix)
    return dict(state)


def vit_config(state: Mapping[str, Tensor], heads: int | None, what: str) -> dict[str, Any]:
    """Infer the configuration of a ViT from its state dict.

    Raises:
        InputError: a state dict of another model, or an unknown number of heads.
    """
    needed = (
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.mlp.fc1.weight",
    )
    missing = [key for key in needed if key not in state]
    if missing:
        raise mismatch(what, state, missing)
    width, convolved = int(state["pos_embed"].shape[-1]), stem_patch_size(state)
    patch = convolved or int(state["patch_embed.proj.weight"].shape[-1])
    heads = heads or HEADS.get(width)
    if heads is None:
        raise InputError(f"cannot infer the number of attention heads of {what} from its width {width}: give heads=N")
    side = math.isqrt(int(state["pos_embed"].shape[1]) - 1)
    return {
        "image_size": side * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": count_blocks(state, "blocks"),
        "heads": heads,
        "classes": int(state["head.weight"].shape[0]) if "head.weight" in state else 0,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        "fc_norm": "fc_norm.weight" in state,
        "stem": "conv" if convolved else "patch",
    }


def build_vit(config: Mapping[str, Any]) -> VisionTransformer:
    """Build a timm ViT from a configuration as in `vit_config` and in the metadata of our own files."""
    classes = config.get("classes", 0)
    net = VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        embed_dim=config["embed_dim"],
        depth=config["depth"],
        num_heads=config["heads"],
        num_classes=len(classes) if isinstance(classes, list) else classes,
        mlp_ratio=config.get("mlp_ratio", 4.0),
        qkv_bias=config.get("qkv_bias", True),
        global_pool="avg" if config.get("fc_norm") else "token",
        norm_layer=partial(nn.LayerNorm, eps=config.get("layer_norm_eps", 1e-6)),
    )
    if config.get("stem", "patch") == "conv":
        net.patch_embed = ConvStem(config["image_size"], config["patch_size"], config["embed_dim"])
    return net


def _from_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any], heads: int | None, what: str
) -> VisionTransformer:
    return build_vit({**vit_config(state, config.get("heads", heads), what), **config})


def tokens(model: VisionTransformer, images: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1 + L, D]: class token and patches with positions, before the first block.

    For images of the training size; others need interpolated positions, see `resample_positions`.
    """
    return embedded(model, model.patch_embed(images))


def embedded(model: VisionTransformer, patches: Tensor) -> Tensor:
    """[B, L, D] patch embeddings -> [B, 1 + L, D] tokens as returned by `tokens`."""
    return model.norm_pre(model.patch_drop(model._pos_embed(patches)))


def class_attention(block: nn.Module, x: Tensor) -> Tensor:
    """[B, N, D] input of a timm block -> [B, heads, N] attention of the class token, after the softmax.

    Recomputed, since fused attention does not expose its weights, not even to hooks.
    """
    attn = cast(Any, block).attn
    q, k, _ = qkv_of(attn, cast(Any, block).norm1(x))
    return ((q[:, :, :1] * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1)[:, :, 0]


def attention_of(block: nn.Module, x: Tensor) -> Tensor:
    """[B, N, D] input of a timm block -> [B, heads, N, N] attention; row i is that of token i and sums to 1."""
    attn = cast(Any, block).attn
    q, k, _ = qkv_of(attn, cast(Any, block).norm1(x))
    return ((q * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1)


def qkv_of(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, N, D] tokens after the norm -> queries, keys, values [B, heads, N, D/heads] of a timm attention."""
    b, n, _ = x.shape
    q, k, v = attn.qkv(x).reshape(b, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return attn.q_norm(q), attn.k_norm(k), v


def blocks_until(model: VisionTransformer, x: Tensor, last: int) -> Tensor:
    """Run blocks 0 to `last` - 1 on [B, N, D] tokens."""
    for block in model.blocks[:last]:
        x = block(x)
    return x
