"""Plain vision transformers from any checkpoint: timm's, DeiT-like official files, and those that ship.

Everything that reads attention, gradients or features of a ViT starts here, so that each method is judged on the
same weights, at their own normalisation and input size, with the label sets they were taught with.
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

from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD, Channels, Supervision
from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, mismatch, resolve, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.ltrp.mae_checkpoints import HEADS, count_blocks
from ltrp_bench.selectors.vit.stem import ConvStem, stem_patch_size

LABEL_SETS: Mapping[int, str] = {1000: "imagenet1k", 21841: "imagenet21k", 21843: "imagenet21k", 11221: "imagenet21k"}
"""What the number of a classifier's outputs says about its labels."""

TAGS: Mapping[str, str] = {
    "in1k": "imagenet1k",
    "in12k": "imagenet12k",
    "in21k": "imagenet21k",
    "in22k": "imagenet21k",
}
"""Parts of timm's tags that name label sets."""

CAPTIONED = ("laion", "openai", "clip", "datacomp", "webli", "dfn")
"""Parts of timm's tags that name collections of captioned images."""


@dataclass
class Backbone:
    """A frozen ViT and what its weights ask for.

    Attributes:
        model: timm's `VisionTransformer` in evaluation mode, float32, without gradients.
        mean, std: per channel of RGB in [0, 1].
        image_size: (H, W) it was trained at.
        patch_size: pixels along the side of a patch.
        supervision: what it was taught with.
    """

    model: VisionTransformer
    mean: Channels
    std: Channels
    image_size: tuple[int, int]
    patch_size: int
    supervision: Supervision

    @property
    def grid(self) -> tuple[int, int]:
        """(gh, gw) of the training size."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def classes(self) -> int:
        """Outputs of the classifier; 0 where there is none."""
        return int(self.model.num_classes)


def load_backbone(
    weights: str | Path,
    model: str | None = None,
    heads: int | None = None,
    label_set: str | None = None,
    supervised: bool = True,
    drop: tuple[str, ...] = (),
) -> Backbone:
    """A ViT from a file.

    The architecture is told by, in this order: `model`; the file's own metadata (weights made here); a file name
    that is a timm model's ("vit_tiny_patch16_224.augreg_in21k_ft_in1k.pt"); the tensors' names and shapes.

    Args:
        weights: torch or safetensors file; official wrappings ("model", "state_dict", "teacher") are taken off. Or
            the name of weights that ship ("vit.shapes0").
        model: a timm model name, with or without "timm:"; without a tag it means timm's default weights.
        heads: attention heads, where neither file nor width tells.
        label_set: what the classifier's labels are, where neither file nor number of outputs tells; "self" for
            weights that saw none.
        supervised: the method learns from labels; else the supervision is "self" and a classifier is not needed.
        drop: prefixes of keys that belong to another part of the method and are left out here.

    Raises:
        InputError: a missing, corrupt or foreign file (its keys and what it looks like are named). UsageError: an
        unknown timm model.
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
    taught = taught_by(name, config, int(net.num_classes), label_set) if supervised else Supervision.self_supervised()
    known = timm.get_pretrained_cfg(name) if name and not config else None
    mean, std = (known.mean, known.std) if known else (IMAGENET_MEAN, IMAGENET_STD)
    size, patch = net.patch_embed.img_size, net.patch_embed.patch_size
    return Backbone(
        net,
        cast(Channels, tuple(config.get("mean", mean))),
        cast(Channels, tuple(config.get("std", std))),
        (int(size[0]), int(size[1])),
        int(patch[0]),
        taught,
    )


def taught_by(name: str | None, config: Mapping[str, Any], classes: int, label_set: str | None) -> Supervision:
    """The label sets of a classifier's weights; `InputError` where nothing tells and `label_set` is not given."""
    if label_set is not None:
        return Supervision.self_supervised() if label_set == "self" else Supervision.labels(*label_set.split("+"))
    if config.get("label_set"):
        return Supervision.labels(str(config["label_set"]))
    tag = (name or "").partition(".")[2]
    if classes in LABEL_SETS and not any(text in tag for text in CAPTIONED):
        # timm's tags tell the order of training: augreg_in21k_ft_in1k.
        told = [TAGS[part] for part in tag.split("_") if part in TAGS]
        return Supervision.labels(*dict.fromkeys([*told, LABEL_SETS[classes]]))
    if tag and any(text in tag for text in CAPTIONED):
        raise InputError(
            f"the weights {tag!r} were taught captions too, which are no label set here: give label_set=NAME "
            "(captions+imagenet1k, …)"
        )
    raise InputError(
        f"cannot tell which labels a classifier of {classes} outputs was taught with: give label_set=NAME "
        "(imagenet1k, imagenet21k+imagenet1k, …; self where it saw none)"
    )


def timm_name(name: str) -> str:
    """A timm model name without "timm:" and with its tag (timm's default one where none is given).

    `UsageError` for a model or tag that timm does not have.
    """
    bare = name.removeprefix("timm:")
    base, _, tag = bare.partition(".")
    if not timm.is_model(base):
        near = ", ".join(timm.list_models(f"{bare.partition('_')[0]}*")[:4]) or "timm.list_models() names them"
        raise UsageError(f"timm has no model {bare!r}; near it: {near}")
    try:
        known = timm.get_pretrained_cfg(bare)
    except RuntimeError:
        tags = ", ".join(timm.list_models(f"{base}.*", pretrained=True)[:4]) or f"{base} alone"
        raise UsageError(f"timm knows no weights {tag!r} of {base}; it knows {tags}") from None
    tag = tag or (known.tag if known is not None else "")
    return f"{base}.{tag}" if tag else base


def name_of_file(path: Path) -> str | None:
    """The timm model name that a file is named after, tag and all; None for any other file name.

    Without a tag a name tells nothing of the weights: many an official file is called after its architecture.
    """
    stem = path.name.removesuffix(path.suffix)
    if "." not in stem:
        return None
    try:
        return timm_name(stem)
    except UsageError:
        return None


def _from_timm(name: str, state: Mapping[str, Tensor], heads: int | None, path: Path) -> VisionTransformer:
    """Built with the classifier that the file holds, which need not be the one timm's own weights have."""
    if "blocks.0.attn.qkv.weight" not in state:
        raise mismatch(f"a plain ViT ({path.name})", state, ["blocks.0.attn.qkv.weight"])
    classes = int(state["head.weight"].shape[0]) if "head.weight" in state else 0
    net = timm.create_model(name, pretrained=False, num_classes=classes, **({"num_heads": heads} if heads else {}))
    if not isinstance(net, VisionTransformer):
        raise UsageError(f"timm's {name} is a {type(net).__name__}, not a plain vision transformer")
    return net


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that self-supervised files put before a backbone's keys."""
    for prefix in ("module.backbone.", "backbone.", "module.base_encoder.", "base_encoder.", "module.", "encoder."):
        if any(key.startswith(prefix + "blocks.0.") for key in state):
            return strip_prefix(state, prefix)
    return dict(state)


def vit_config(state: Mapping[str, Tensor], heads: int | None, what: str) -> dict[str, Any]:
    """Size of the ViT that a state dict belongs to; `InputError` for another model, or an unknown number of heads."""
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
        raise InputError(f"cannot tell the number of attention heads of {what} from its width {width}: give heads=N")
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
    """timm's ViT from `vit_config`'s words (also those in the metadata of weights made here)."""
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

    Other sizes than the training's need interpolated positions: see `resample_positions`.
    """
    return embedded(model, model.patch_embed(images))


def embedded(model: VisionTransformer, patches: Tensor) -> Tensor:
    """Patch embeddings -> tokens as `tokens` gives them: class token before, positions added."""
    return model.norm_pre(model.patch_drop(model._pos_embed(patches)))


def class_attention(block: nn.Module, x: Tensor) -> Tensor:
    """[B, N, D] tokens entering a timm block -> [B, heads, N]: what the class token looks at there (softmaxed).

    Computed anew in this block alone: fused attention keeps no weights, and hooks never see them.
    """
    attn = cast(Any, block).attn
    q, k, _ = qkv_of(attn, cast(Any, block).norm1(x))
    return ((q[:, :, :1] * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1)[:, :, 0]


def attention_of(block: nn.Module, x: Tensor) -> Tensor:
    """[B, N, D] tokens entering a timm block -> [B, heads, N, N]: row i is what token i looks at (sums to 1)."""
    attn = cast(Any, block).attn
    q, k, _ = qkv_of(attn, cast(Any, block).norm1(x))
    return ((q * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1)


def qkv_of(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, N, D] normalised tokens -> queries, keys, values [B, heads, N, D/heads] of a timm attention."""
    b, n, _ = x.shape
    q, k, v = attn.qkv(x).reshape(b, n, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return attn.q_norm(q), attn.k_norm(k), v


def blocks_until(model: VisionTransformer, x: Tensor, last: int) -> Tensor:
    """Run blocks 0 to `last` - 1 on [B, N, D] tokens."""
    for block in model.blocks[:last]:
        x = block(x)
    return x
