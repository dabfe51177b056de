"""Classifiers and backbones of timm from local files: any plain ViT, and any other timm model for whole images.

Sizes, normalisation, crop and interpolation are those of the weights: of timm's own record of them where a timm name
is known, of the file's metadata for weights made here, and otherwise of the recipe that official DeiT and MAE
fine-tunes are evaluated with (Touvron et al., 2021; He et al., 2022, appendix A.1: ImageNet's mean and standard
deviation, bicubic, 224/256 of the short side up to 224 pixels, the whole short side above).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.data import resolve_data_config
from timm.layers import PatchEmbed, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import (
    load_into,
    load_metadata,
    load_state,
    mismatch,
    resolve,
    sha256_of,
    strip_prefix,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit, load_backbone, name_of_file, timm_name
from ltrp_bench.tasks.models.vit.preprocessing import Inputs
from ltrp_bench.tasks.models.vit.token_dropping import patch_sides

Size = tuple[int, int]


@dataclass(frozen=True)
class TimmModel:
    """A frozen model and what its weights ask for.

    Attributes:
        net: in evaluation mode, float32, without gradients; [B, 3, H, W] -> [B, classes].
        inputs: how images become its input.
        classes: outputs of the classifier; 0 where there is none.
        class_names: of the outputs, where the file says; else None.
        any_size: whether it takes images of other sizes than `inputs.size`.
        identity: what makes its outputs, JSON-able.
    """

    net: nn.Module
    inputs: Inputs
    classes: int
    class_names: tuple[str, ...] | None
    any_size: bool
    identity: dict[str, Any]


@dataclass(frozen=True)
class PlainViT(TimmModel):
    """A timm `VisionTransformer`, whose patches can be dropped (`tasks.vits.dropping`)."""

    @property
    def vit(self) -> VisionTransformer:
        """The model."""
        return cast(VisionTransformer, self.net)

    @property
    def patch(self) -> int:
        """Pixels along a patch's side."""
        return patch_sides(self.vit)[0]

    @property
    def grid(self) -> Size:
        """(gh, gw) of its input."""
        return self.inputs.size[0] // self.patch, self.inputs.size[1] // self.patch


def load_timm(
    weights: str | Path | None,
    model: str | None = None,
    random_weights: int | None = None,
    image_size: int | Size | None = None,
    crop_pct: float | None = None,
    heads: int | None = None,
    config: Mapping[str, Any] | None = None,
    classes: int = 1000,
    device: str = "cpu",
) -> TimmModel:
    """A timm model with weights of a file, or untrained.

    The architecture is told by, in this order: `model`; the file's own metadata (weights made here); a file name that
    is a timm model's with its tag; the tensors' names and shapes (plain ViTs: timm's, DeiT's, official MAE fine-tunes).

    Args:
        weights: torch or safetensors file, or the name of weights that ship.
        model: a timm model name, with or without "timm:"; without a tag it means timm's default weights.
        random_weights: seed of an untrained one, where no weights are given; needs `model` or `config`.
        image_size: another input size than the weights' own, one number or (H, W): position embeddings of ViTs are
            resampled (bicubic, antialiased).
        crop_pct: another share of the resized image's side that the crop has, in (0, 1].
        heads: attention heads of a plain ViT whose width does not tell them.
        config: `build_vit`'s words, for an untrained ViT.
        classes: outputs of an untrained one that is built by name.
        device: of torch.

    Raises:
        InputError: a missing, corrupt or foreign file. UsageError: neither or both of weights and random_weights; a
            timm model that does not exist; a size that does not fit.
    """
    if (weights is None) == (random_weights is None):
        raise UsageError(
            "give the model's checkpoint with --model-weights, or --task-option random_weights=SEED for an untrained "
            "one; " + ("neither was given" if weights is None else "not both")
        )
    size = _pair(image_size)
    if weights is None:
        found = _untrained(model, config, cast(int, random_weights), size, classes)
    else:
        found = _from_file(weights, model, size, heads)
    inputs = found.inputs
    if crop_pct is not None:
        if not 0 < crop_pct <= 1:
            raise UsageError(f"crop_pct must be in (0, 1], got {crop_pct}")
        inputs = replace(inputs, crop_pct=float(crop_pct))
    found.net.to(device).eval().requires_grad_(False)
    if isinstance(found, PlainViT):
        _check_patches(found.vit, inputs.size)
    return replace(found, inputs=inputs, identity={**found.identity, **inputs.identity()})


def load_vit(weights: str | Path | None, model: str | None = None, **options: Any) -> PlainViT:
    """As `load_timm`; `UsageError` where that is not a plain vision transformer."""
    found = load_timm(weights, model, **options)
    if not isinstance(found, PlainViT):
        raise UsageError(f"{model or weights} is a {type(found.net).__name__}, not a plain vision transformer")
    return found


def _from_file(weights: str | Path, model: str | None, size: Size | None, heads: int | None) -> TimmModel:
    path = resolve(weights)
    config = json.loads(load_metadata(path).get("config", "{}")) if model is None else {}
    name = timm_name(model) if model is not None else (None if config else name_of_file(path))
    identity: dict[str, Any] = {"model": name or "of the file", "weights": sha256_of(path)}
    if heads is not None:
        identity["heads"] = heads
    if name is None:
        backbone = load_backbone(path, heads=heads, supervised=False)
        vit = _resized(backbone.model, size)
        shape = size or backbone.image_size
        crop = config.get("crop_pct") or (224 / 256 if max(shape) <= 224 else 1.0)
        return _model(vit, Inputs(shape, backbone.mean, backbone.std, crop), identity, config.get("classes"))
    state = {k: v.float() if v.is_floating_point() else v for k, v in load_state(path).items()}
    net = _named(name, state, size, path)
    return _model(net, inputs_of(net, size), identity)


def _untrained(
    model: str | None, config: Mapping[str, Any] | None, seed: int, size: Size | None, classes: int
) -> TimmModel:
    if model is None and config is None:
        raise UsageError("an untrained model needs a timm name: --model vit_tiny_patch16_224, say")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model is not None:
            net = _create(timm_name(model), size, num_classes=classes)
            return _model(net, inputs_of(net, size), {"model": timm_name(model), "random_weights": seed})
        given = dict(config or {})
        net = _resized(build_vit(given), size)
    shape = size or cast(Size, tuple(cast(Any, net.patch_embed.img_size)))
    inputs = Inputs(shape, tuple(given["mean"]), tuple(given["std"]), float(given.get("crop_pct", 1.0)))
    return _model(net, inputs, {"config": given, "random_weights": seed}, given.get("classes"))


def _model(net: nn.Module, inputs: Inputs, identity: dict[str, Any], names: Any = None) -> TimmModel:
    plain = isinstance(net, VisionTransformer)
    kind = PlainViT if plain else TimmModel
    known = getattr(net, "pretrained_cfg", None) or {}
    return kind(
        net,
        inputs,
        int(cast(Any, net).num_classes),
        tuple(names) if isinstance(names, (list, tuple)) else None,
        plain or not known.get("fixed_input_size", False),
        identity,
    )


def inputs_of(net: nn.Module, size: Size | None = None) -> Inputs:
    """How timm evaluates a model that it built; at its own test size unless another is asked for."""
    config = resolve_data_config(pretrained_cfg=cast(Any, net).pretrained_cfg, use_test_size=True)
    if size is None and isinstance(net, VisionTransformer):
        size = cast(Size, tuple(cast(Any, net.patch_embed.img_size)))
    return Inputs(
        size or tuple(config["input_size"][1:]),
        tuple(config["mean"]),
        tuple(config["std"]),
        float(config["crop_pct"]),
        config["crop_mode"],
        config["interpolation"],
    )


def _create(name: str, size: Size | None, **options: Any) -> nn.Module:
    """timm's model, built for images of `size` where it has to be."""
    known = timm.get_pretrained_cfg(name)
    if size is not None and known is not None and known.fixed_input_size:
        options["img_size"] = size
    try:
        return cast(nn.Module, timm.create_model(name, pretrained=False, **options))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"timm cannot build {name} with {options}: {' '.join(str(error).split())}") from error


def _named(name: str, state: dict[str, Tensor], size: Size | None, path: Path) -> nn.Module:
    """The timm model of that name with the classifier that the file holds."""
    for prefix in ("backbone.", "encoder."):
        if f"{prefix}patch_embed.proj.weight" in state:
            state = strip_prefix(state, prefix)
    known = timm.get_pretrained_cfg(name)
    heads = known.classifier if known is not None else None
    head = heads if isinstance(heads, str) else (heads or ("head",))[0]
    own = f"{head}.weight" in state
    plain = "blocks.0.attn.qkv.weight" in state and "pos_embed" in state
    options: dict[str, Any] = {"num_classes": state[f"{head}.weight"].shape[0] if own else 0} if own or plain else {}
    if plain and "fc_norm.weight" in state and "norm.weight" not in state:
        options["global_pool"] = "avg"  # as MAE's fine-tunes are saved
    net = _create(name, size, **options)
    if isinstance(net, VisionTransformer):
        if not plain:
            raise mismatch(f"a plain ViT ({path.name})", state, ["blocks.0.attn.qkv.weight", "pos_embed"])
        state = {**state, "pos_embed": _positions(net, state["pos_embed"], name)}
    load_into(net, state, f"timm's {name} from {path.name}")
    return net


def _positions(vit: VisionTransformer, table: Tensor, name: str) -> Tensor:
    """A file's position embeddings on the grid of a model built for another size; as they are where they fit."""
    known = timm.get_pretrained_cfg(name)
    if vit.pos_embed is None or vit.pos_embed.shape == table.shape or known is None:
        return table
    ph, pw = patch_sides(vit)
    trained = (known.input_size[1] // ph, known.input_size[2] // pw)
    held = 0 if vit.no_embed_class else vit.num_prefix_tokens
    if table.shape[1] != trained[0] * trained[1] + held:
        return table  # load_into says what does not fit
    grid = list(cast(Any, vit.patch_embed.grid_size))
    return cast(Tensor, resample_abs_pos_embed(table, grid, list(trained), num_prefix_tokens=held))


def _resized(vit: VisionTransformer, size: Size | None) -> VisionTransformer:
    """The same weights for images of another size; a stem of convolutions takes any, positions follow later."""
    if size is not None and isinstance(vit.patch_embed, PatchEmbed):
        vit.set_input_size(img_size=size)
    return vit


def _check_patches(vit: VisionTransformer, size: Size) -> None:
    ph, pw = patch_sides(vit)
    if ph != pw:
        raise InputError(f"patches of {ph}x{pw} pixels: tasks here need square ones")
    if size[0] % ph or size[1] % ph:
        raise UsageError(f"images of {size[0]}x{size[1]} pixels cannot be cut into the model's patches of {ph}")


def _pair(size: Any) -> Size | None:
    """(H, W) of one number or two; else UsageError."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise UsageError(f"image_size must be one number of pixels or (height, width), got {size}")
    return sides[0], sides[1]
