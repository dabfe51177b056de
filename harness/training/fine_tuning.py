"""Fine-tuning of a plain ViT: weights to start from, layer-wise learning rates, stochastic depth, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
import timm
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from timm.layers import DropPath, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.training import Pool, Stem
from ltrp_bench.selectors.checkpoints import load_into, sha256_of
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.assumptions import BESIDE, Normalization, assumptions_of, normalization_of
from ltrp_bench.selectors.vit.backbones import build_vit, vit_config
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.selectors.vit.named_models import known_heads
from ltrp_bench.selectors.vit.vit_files import ViTFile, read_vit_file
from ltrp_bench.tasks.data.shapes.world import MEAN, STD
from ltrp_bench.tasks.data.synsets import imagenet_classes
from ltrp_bench.tasks.imagenet_order import match_imagenet

LAYER_NORM_EPS: Final = 1e-6
"""Epsilon of the norms of `build_vit`."""
SHAPE = ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio", "qkv_bias", "stem")


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """Model that is fine-tuned from initial weights.

    Attributes:
        classes: names of the outputs.
        head: further arguments of `build_vit` or `build_multilabel_vit`, for the head.
        synthetic: True for `shapes`, whose mean and standard deviation are used if the weights do not give theirs.
        image_size: side in pixels; None for that of the weights. Position embeddings are resampled (bicubic).
        stem: patch embedding; None for that of the weights.
        pool: what a classifier reads: the class token ("token"), the mean of the patches with a norm behind it ("avg"),
            or what that of the weights reads ("weights"; the mean if they have none). None for other models.
    """

    classes: Sequence[str]
    head: Mapping[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    image_size: int | None = None
    stem: Stem | None = None
    pool: Pool | Literal["weights"] | None = None


def initial_weights(init: str | None, synthetic: bool) -> str:
    """Initial weights: those given, or mae.shapes when training on `shapes`; `UsageError` if there are none."""
    if init is None and not synthetic:
        raise UsageError("--init: give the weights to start from, such as MAE's ViT-B (mae_pretrain_vit_base.pth)")
    return init or "mae.shapes"


class InitialState(NamedTuple):
    """What a training starts from.

    Attributes:
        config: arguments of `build_vit`.
        state: the encoder's tensors on the model's grid; the head's, too, if it is of the same classes and reads the
            same features.
        assumptions: one line for each thing that was assumed of the weights.
    """

    config: dict[str, Any]
    state: dict[str, Tensor]
    assumptions: tuple[str, ...]


def initial_state(init: str | Path, request: ModelRequest) -> InitialState:
    """Config of the model that is fine-tuned, and the tensors that the initial weights provide.

    Args:
        init: file or bundled tag: a masked autoencoder (official or made here), a plain ViT, or a segmentor or
            detector that contains one.
        request: the model to make.

    Raises:
        InputError: no plain ViT inside, or one with parts that the models made here lack. UsageError: the image size
            is no multiple of the patch size.
    """
    path = located(init)
    file = read_vit_file(path)
    state, own = {key: value for key, value in file.state.items() if value.is_floating_point()}, dict(file.config)
    heads = known_heads(file)
    found = vit_config(state, heads, f"a plain ViT ({path.name})")
    _check_known(state, path)
    if found.get("no_embed_class"):
        raise InputError(f"{path.name} has no position for its class token, which the models trained here have")
    own_pool = pooling_of(file)
    pool = (own_pool or "avg") if request.pool == "weights" else request.pool
    if not _same_classes(file, request.classes) or (pool is not None and pool != own_pool):
        # A head that reads other features than before would be worse than a new one.
        state = {key: value for key, value in state.items() if not key.startswith("head.")}
    # A classifier that goes on is evaluated as before; new ones by MAE's recipe.
    own_crop = _crop(file) if "head.weight" in state else None
    given = {key: own[key] for key in SHAPE if key in own and not isinstance(own[key], (list, tuple))}
    found = {**{key: found[key] for key in SHAPE}, **given}
    old = int(state["pos_embed"].shape[1]) - 1
    size, patch = request.image_size or int(found["image_size"]), int(found["patch_size"])
    if size % patch:
        raise UsageError(f"--image-size {size}: images of this size cannot be cut into patches of {patch} pixels")
    state["pos_embed"] = _positions(state["pos_embed"], math.isqrt(old), size // patch)
    values = _normalization(file, request.synthetic)
    eps = own.get("layer_norm_eps") or (file.sidecar and file.sidecar.eps) or LAYER_NORM_EPS
    config = {
        **found,
        "image_size": size,
        "stem": request.stem or found["stem"],
        "classes": list(request.classes),
        **request.head,
        **({} if pool is None else {"fc_norm": pool == "avg"}),
        "mean": list(values.mean),
        "std": list(values.std),
        "crop_pct": 1.0 if request.synthetic or size > 224 else (own_crop or 224 / 256),
        **({} if eps == LAYER_NORM_EPS else {"layer_norm_eps": eps}),
    }
    lines = (*file.notes, *assumptions_of(file, values, heads or found["heads"], remedy=BESIDE))
    return InitialState(config, state, tuple(f"--init: {line}" for line in lines))


def fill_from(vit: nn.Module, state: dict[str, Tensor]) -> str:
    """Load the tensors that fit a model by name and shape, and report in one line how many these are.

    A linear head starts near zero, as in MAE's fine-tuning.
    """
    mine = vit.state_dict()
    for name, head in vit.named_children():
        if name == "head" and isinstance(head, nn.Linear):
            nn.init.trunc_normal_(head.weight, std=2e-5)
    taken = fitting(state, vit)
    load_into(vit, {**vit.state_dict(), **taken}, "the model to train")
    rest = sorted({key.split(".")[0] for key in mine if key not in taken})
    return f"{len(taken)} of {len(mine)} tensors are from the file, the rest is new ({', '.join(rest) or 'none'})"


def fitting(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors of `state` that a model has under the same name and in the same shape."""
    mine = model.state_dict()
    return {key: value for key, value in state.items() if key in mine and value.shape == mine[key].shape}


def pooling_of(file: ViTFile) -> Pool | None:
    """What the classifier of a plain ViT reads; None if the file holds no classifier."""
    if "head.weight" not in file.state:
        return None
    return "avg" if "fc_norm.weight" in file.state else "token"


def _crop(file: ViTFile) -> float | None:
    """Share of an image's side at which a classifier is evaluated, by a file beside it or by timm's name."""
    if file.sidecar is not None and file.sidecar.crop_pct is not None:
        return file.sidecar.crop_pct
    known = timm.get_pretrained_cfg(file.name) if file.name and not file.config else None
    return None if known is None else float(known.crop_pct)


def _same_classes(file: ViTFile, classes: Sequence[str]) -> bool:
    """True if a file's head is for these classes: it names them, or both are ImageNet-1K's in the usual order."""
    if file.config:
        return file.config.get("classes") == list(classes)
    if file.sidecar is not None and file.sidecar.labels is not None and file.sidecar.labels == tuple(classes):
        return True
    outputs = len(file.state["head.weight"]) if "head.weight" in file.state else 0
    if outputs != len(classes) or list(classes) != list(imagenet_classes().values()):
        return False
    named = None if file.sidecar is None or file.sidecar.labels is None else file.sidecar.labels
    order = None if named is None else match_imagenet(file.path.name, named)
    return order is None or bool((order == np.arange(outputs)).all())


def _check_known(state: dict[str, Tensor], path: Path) -> None:
    """`InputError` for parts of the ViT that `build_vit` cannot build."""
    inner = {key.split(".", 2)[2] for key in state if key.startswith("blocks.")}
    usual = ("norm1.", "norm2.", "attn.qkv.", "attn.proj.", "mlp.fc1.", "mlp.fc2.")
    odd = sorted(key for key in inner if not key.startswith(usual))
    odd += [key for key in ("reg_token", "dist_token", "norm_pre.weight") if key in state]
    if odd:
        raise InputError(f"{path.name} is a ViT with {', '.join(odd[:3])}, which the models trained here lack")


def _positions(table: Tensor, old: int, new: int) -> Tensor:
    """[1, 1 + old * old, D] -> [1, 1 + new * new, D]."""
    if old == new:
        return table
    return cast(Tensor, resample_abs_pos_embed(table, [new, new], [old, old], num_prefix_tokens=1))


def _normalization(file: ViTFile, synthetic: bool) -> Normalization:
    """Normalization of the weights; that of `shapes` for its images if the file does not say it."""
    found = normalization_of(file)
    return Normalization(MEAN, STD, False, "the data set's") if synthetic and not found.known else found


def build_with_drop_path(config: dict[str, Any], drop_path: float) -> VisionTransformer:
    """An untrained classifier from its config, with stochastic depth that rises to `drop_path` over the blocks."""
    vit = build_vit(config)
    set_drop_path(vit, drop_path)
    return vit


def set_drop_path(vit: VisionTransformer, rate: float) -> None:
    """Stochastic depth (Huang et al., ECCV 2016), from 0 in the first block linearly to `rate` in the last."""
    if not 0 <= rate < 1:
        raise UsageError(f"--drop-path {rate} is not in [0, 1)")
    blocks = cast(Any, vit.blocks)
    for block, share in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for name in ("drop_path1", "drop_path2"):
            setattr(block, name, DropPath(share) if share else nn.Identity())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class LayerDecay:
    """Optimizer with learning rates that fall by a factor per layer, from the head down to the patch embedding.

    Clark et al., "ELECTRA", ICLR 2020; MAE, appendix A.2: layer i of n has rate lr * decay^(n - i). No weight decay
    for vectors, positions and class token. The groups are timm's.

    Args:
        optim_wrapper_cfg: config of the optimizer's wrapper.
        paramwise_cfg: {"layer_decay": factor in (0, 1]}.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any]) -> None:
        self.wrapper, self.decay = dict(optim_wrapper_cfg), float(paramwise_cfg["layer_decay"])

    def __call__(self, model: nn.Module) -> Any:
        """The optimizer wrapper of a `LossModel`, distributed or not, that trains a plain ViT."""
        inner: Any = model if isinstance(model, LossModel) else model.module
        vit: Any = inner.trained
        optimizer = dict(self.wrapper.pop("optimizer"))
        never = set(vit.no_weight_decay())
        groups = param_groups_layer_decay(vit, optimizer["weight_decay"], never, layer_decay=self.decay)
        for group in groups:
            group["lr"] = optimizer["lr"] * cast(float, group.pop("lr_scale"))
        made = OPTIMIZERS.build({**optimizer, "params": [_plain(group) for group in groups]})
        return OPTIM_WRAPPERS.build({**self.wrapper, "optimizer": made})


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group as torch's optimizers take it."""
    return {key: group[key] for key in ("params", "lr", "weight_decay")}


@MODELS.register_module(force=True)
class RampedAverage(ExponentialMovingAverage):
    """Moving average of the weights with a momentum that falls with step t as 9 / (10 + t), down to `momentum`.

    Without the ramp, the average of a training much shorter than 1 / momentum would still be its initial weights.
    """

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Update the average in place."""
        averaged_param.lerp_(source_param, max(self.momentum, 9 / (10 + float(steps))))


def averaged(decay: float) -> tuple[dict[str, Any], ...]:
    """Config of the hook that averages the weights and saves the average as a checkpoint's weights; none if 0."""
    if not 0 <= decay < 1:
        raise UsageError(f"--ema {decay} is not in [0, 1)")
    return ({"type": "EMAHook", "ema_type": "RampedAverage", "momentum": 1 - decay},) if decay else ()


def layer_decay(factor: float) -> dict[str, Any]:
    """Entries of the optimizer wrapper's config that decay learning rates by layer."""
    if not 0 < factor <= 1:
        raise UsageError(f"--layer-decay {factor} is not in (0, 1]")
    return {"constructor": "LayerDecay", "paramwise_cfg": {"layer_decay": factor}}


def sha256_of_init(init: str | Path) -> str:
    """Hash of the initial weights of a training run."""
    return sha256_of(located(init))
