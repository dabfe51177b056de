"""What fine-tuning a plain ViT for a task takes: weights to start from, learning rates by layer, stochastic depth."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from timm.layers import DropPath, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from ltrp_bench.harness.training.loop import LossModel
from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, resolve, sha256_of, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit, name_of_file, vit_config
from ltrp_bench.tasks.data.shapes.world import MEAN, STD
from ltrp_bench.tasks.data.synsets import imagenet_classes

QKV = "blocks.0.attn.qkv.weight"
SHAPE = ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio", "qkv_bias", "stem")


def start_from(
    init: str | Path,
    classes: Sequence[str],
    words: dict[str, Any],
    shapes: bool,
    image_size: int | None = None,
    stem: str | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The model that a training makes out of weights, and those of its tensors that the weights give.

    Args:
        init: file or shipped tag: a masked autoencoder (official or made here), a plain ViT, or a segmentor or
            detector with one inside.
        classes: names of the outputs.
        words: of the head, in `build_vit`'s or `build_multilabel_vit`'s words.
        shapes: whether the images are the built-in world's: tells their mean and deviation where the file does not.
        image_size: side in pixels; None for that of the weights. Position embeddings are resampled (bicubic).
        stem: "conv" or "patch"; None for that of the weights.

    Returns:
        (config, state): `build_vit`'s words for the model, and the encoder's tensors on its grid; the head's too
        where it is of the same classes.

    Raises:
        InputError: no plain ViT inside, or one with parts that the models made here do not have. UsageError: sizes
            that do not fit.
    """
    path = resolve(init)
    state = {key: value.float() for key, value in load_state(path).items() if value.is_floating_point()}
    state = _inner(state)
    own = _own_config(path)
    heads = own.get("heads")
    found = vit_config(state, heads, f"a plain ViT ({path.name})")
    _check_known(state, path)
    if not _same_classes(own, state, classes):
        state = {key: value for key, value in state.items() if not key.startswith("head.")}
    given = {key: own[key] for key in SHAPE if key in own and not isinstance(own[key], (list, tuple))}
    found = {**{key: found[key] for key in SHAPE}, **given}
    old = int(state["pos_embed"].shape[1]) - 1
    if stem not in (None, "conv", "patch"):
        raise UsageError(f"--stem {stem}: write conv or patch")
    size, patch = image_size or int(found["image_size"]), int(found["patch_size"])
    if size % patch:
        raise UsageError(f"images of {size} pixels cannot be cut into patches of {patch}: another --image-size")
    state["pos_embed"] = _positions(state["pos_embed"], math.isqrt(old), size // patch)
    mean, std = _normalisation(own, path, shapes)
    config = {
        **found,
        "image_size": size,
        "stem": stem or found["stem"],
        "classes": list(classes),
        **words,
        "mean": list(mean),
        "std": list(std),
        "crop_pct": 1.0 if shapes or size > 224 else 224 / 256,
    }
    return config, state


def fill_from(vit: nn.Module, state: dict[str, Tensor]) -> str:
    """Give a model what fits by name and shape, and say in a line how much that was.

    A linear head starts as MAE's fine-tunes do, from weights next to zero.
    """
    mine = vit.state_dict()
    head = getattr(vit, "head", None)
    if isinstance(head, nn.Linear):
        nn.init.trunc_normal_(head.weight, std=2e-5)
    taken = {k: v for k, v in state.items() if k in mine and v.shape == mine[k].shape}
    load_into(vit, {**vit.state_dict(), **taken}, "the model to train")
    rest = sorted({key.split(".")[0] for key in mine if key not in taken})
    return f"{len(taken)} of {len(mine)} tensors are from the file, the rest is new ({', '.join(rest) or 'none'})"


def _own_config(path: Path) -> dict[str, Any]:
    """`build_vit`'s words that a file made here brings; none of a foreign one or a detector's."""
    text = load_metadata(path).get("config", "{}")
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _inner(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The plain ViT inside a model, whatever stands before its keys; where there is none, `vit_config` says so."""
    found = [key.removesuffix(QKV) for key in state if key.endswith(QKV)]
    # A decoder has blocks too, but no patches.
    prefix = next(
        (text for text in sorted(found, key=len) if text[-1:] in ("", ".") and f"{text}pos_embed" in state), ""
    )
    return strip_prefix(state, prefix)


def _same_classes(own: dict[str, Any], state: dict[str, Tensor], classes: Sequence[str]) -> bool:
    """Whether a file's head is for just these classes: it names them, or both are ImageNet-1K's in its usual order."""
    if own:
        return own.get("classes") == list(classes)
    outputs = len(state["head.weight"]) if "head.weight" in state else 0
    return outputs == len(classes) and list(classes) == list(imagenet_classes().values())


def _check_known(state: dict[str, Tensor], path: Path) -> None:
    """`InputError` for parts inside the blocks, or beside them, that `build_vit` has none of."""
    inner = {key.split(".", 2)[2] for key in state if key.startswith("blocks.")}
    usual = ("norm1.", "norm2.", "attn.qkv.", "attn.proj.", "mlp.fc1.", "mlp.fc2.")
    odd = sorted(key for key in inner if not key.startswith(usual))
    odd += [key for key in ("reg_token", "dist_token", "norm_pre.weight") if key in state]
    if odd:
        raise InputError(f"{path.name} is a ViT with {', '.join(odd[:3])}, which the models trained here do not have")


def _positions(table: Tensor, old: int, new: int) -> Tensor:
    """[1, 1 + old * old, D] -> [1, 1 + new * new, D]."""
    if old == new:
        return table
    return cast(Tensor, resample_abs_pos_embed(table, [new, new], [old, old], num_prefix_tokens=1))


def _normalisation(own: dict[str, Any], path: Path, shapes: bool) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation that the weights know: their own, timm's for its files, else those of the images."""
    if "mean" in own and "std" in own:
        return own["mean"], own["std"]
    name = name_of_file(path)
    known = timm.get_pretrained_cfg(name) if name and not own else None
    if known is not None:
        return known.mean, known.std
    return (MEAN, STD) if shapes else (IMAGENET_MEAN, IMAGENET_STD)


def built(config: dict[str, Any], drop_path: float) -> VisionTransformer:
    """An untrained classifier from its config, with stochastic depth rising to `drop_path` over the blocks."""
    vit = build_vit(config)
    set_drop_path(vit, drop_path)
    return vit


def set_drop_path(vit: VisionTransformer, rate: float) -> None:
    """Stochastic depth (Huang et al., ECCV 2016), from 0 in the first block linearly to `rate` in the last."""
    if not 0 <= rate < 1:
        raise UsageError(f"--drop-path {rate}: a share in [0, 1)")
    blocks = cast(Any, vit.blocks)
    for block, share in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for name in ("drop_path1", "drop_path2"):
            setattr(block, name, DropPath(share) if share else nn.Identity())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class LayerDecay:
    """Learning rates that fall by a factor a layer from the head down to the patch embedding.

    Clark et al., "ELECTRA", ICLR 2020; MAE, appendix A.2: layer i of n has rate lr * decay^(n - i). No weight decay
    for vectors, positions and class token. The groups are timm's.

    Args:
        optim_wrapper_cfg: the wrapper's config with its optimiser's.
        paramwise_cfg: {"layer_decay": factor in (0, 1]}.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any]) -> None:
        self.wrapper, self.decay = dict(optim_wrapper_cfg), float(paramwise_cfg["layer_decay"])

    def __call__(self, model: nn.Module) -> Any:
        """The wrapper of a `LossModel` (or of its distributed wrapping) around a plain ViT."""
        inner = model if isinstance(model, LossModel) else cast(Any, model).module
        vit: Any = inner.trained
        optimizer = dict(self.wrapper.pop("optimizer"))
        never = set(vit.no_weight_decay())
        groups = param_groups_layer_decay(vit, optimizer["weight_decay"], never, layer_decay=self.decay)
        for group in groups:
            group["lr"] = optimizer["lr"] * cast(float, group.pop("lr_scale"))
        made = OPTIMIZERS.build({**optimizer, "params": [_plain(group) for group in groups]})
        return OPTIM_WRAPPERS.build({**self.wrapper, "optimizer": made})


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    """A group as torch's optimisers take it."""
    return {key: group[key] for key in ("params", "lr", "weight_decay")}


@MODELS.register_module(force=True)
class RampedAverage(ExponentialMovingAverage):
    """Averaged weights that forget where they began: step t weighs 9 / (10 + t) until that falls to `momentum`.

    A training that is much shorter than 1 / momentum would otherwise end with its start.
    """

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move the average, in place."""
        averaged_param.lerp_(source_param, max(self.momentum, 9 / (10 + float(steps))))


def averaged(decay: float) -> tuple[dict[str, Any], ...]:
    """The hook that keeps averaged weights, as a checkpoint's main ones; none where `decay` is 0."""
    if not 0 <= decay < 1:
        raise UsageError(f"--ema {decay}: a decay in [0, 1), 0 for none")
    return ({"type": "EMAHook", "ema_type": "RampedAverage", "momentum": 1 - decay},) if decay else ()


def layer_decay(factor: float) -> dict[str, Any]:
    """Entries of the optimiser wrapper's config that decay learning rates by layer."""
    if not 0 < factor <= 1:
        raise UsageError(f"--layer-decay {factor}: a factor in (0, 1]")
    return {"constructor": "LayerDecay", "paramwise_cfg": {"layer_decay": factor}}


def sha256_of_init(init: str | Path) -> str:
    """Of the weights a training starts from."""
    return sha256_of(resolve(init))
