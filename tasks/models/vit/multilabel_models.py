"""Models that say of each category whether an image shows it: timm's, with a linear head or an ML-Decoder.

A checkpoint tells its head by its keys. ML-Decoders stand behind plain ViTs, where they get every token, and behind
other timm models, where they get the places of the last feature map. Images are squashed to the input size, without
a crop, as ML-Decoder's authors evaluate: a crop would cut off what the labels name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from timm.models.tresnet import TResNet, checkpoint_filter_fn
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, resolve, sha256_of
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import build_vit, load_backbone, name_of_file, timm_name
from ltrp_bench.tasks.models.vit.loading import (
    PlainViT,
    TimmModel,
    _check_patches,
    _create,
    _pair,
    _resized,
    inputs_of,
    load_timm,
)
from ltrp_bench.tasks.models.vit.ml_decoder import HEADS, MLDecoder, attach, decoder_config, decoder_prefix
from ltrp_bench.tasks.models.vit.preprocessing import Inputs

Head = Literal["ml-decoder", "linear"]


class MapDecoder(nn.Module):
    """Any timm model with an ML-Decoder on its last feature map.

    Args:
        body: built with `num_classes=0` and without pooling; gives [B, D, h, w], or tokens [B, N, D].
        head: of D features.
    """

    def __init__(self, body: nn.Module, head: MLDecoder) -> None:
        super().__init__()
        self.body, self.head, self.num_classes = body, head, head.classes

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, C] logits."""
        features = cast(Any, self.body).forward_features(images)
        if features.ndim == 4 and getattr(self.body, "output_fmt", "NCHW") == "NHWC":
            features = features.flatten(1, 2)
        return cast(Tensor, self.head(features))


def build_multilabel_vit(config: Mapping[str, Any]) -> VisionTransformer:
    """An untrained plain ViT with its head.

    Args:
        config: `build_vit`'s words, `classes` being a list of names; and "decoder": the keyword arguments of
            `MLDecoder` (without features and classes), or none for a linear head. Weights made here carry it.
    """
    if config.get("decoder") is None:
        return build_vit(config)
    vit = build_vit({**config, "classes": 0})
    given = {key: value for key, value in config["decoder"].items() if key not in ("features", "classes")}
    return attach(vit, MLDecoder(vit.num_features, len(config["classes"]), **given))


def load_multilabel(
    weights: str | Path | None,
    model: str | None = None,
    random_weights: int | None = None,
    classes: int = 80,
    head: Head | None = None,
    image_size: int | tuple[int, int] | None = None,
    config: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> TimmModel:
    """A model with weights of a file, or untrained.

    Args:
        weights: checkpoint, see `load_timm`; with an ML-Decoder if it has the keys of one.
        model: a timm name, where the file does not tell; always for other models than plain ViTs with an ML-Decoder.
        random_weights: seed of an untrained one, where no weights are given.
        classes: outputs of an untrained one.
        head: of an untrained one; by default an ML-Decoder on a plain ViT, a linear head elsewhere. Of a file: what
            it must have.
        image_size: another input size, one number or (H, W), see `load_timm`.
        config: of `build_multilabel_vit`, for an untrained ViT without a timm name.
        device: of torch.

    Raises:
        InputError, UsageError: as `load_timm`; a head that is not the one asked for, or cannot be read.
    """
    if head not in (None, "ml-decoder", "linear"):
        raise UsageError(f"head must be ml-decoder or linear, got {head!r}")
    if weights is None:
        found = _untrained(model, random_weights, classes, head, image_size, config)
    else:
        if random_weights is not None:
            raise UsageError("give the model's checkpoint or random_weights=SEED, not both")
        state = load_state(resolve(weights))
        prefix = decoder_prefix(state)
        if head is not None and (prefix is not None) != (head == "ml-decoder"):
            kind = "a linear head" if prefix is None else "an ML-Decoder"
            raise InputError(f"{weights} has {kind}, and head={head} was asked for")
        if prefix is None:
            found = load_timm(weights, model, image_size=image_size)
        else:
            found = _decoder_from_file(resolve(weights), state, prefix, model, image_size)
    inputs = replace(found.inputs, crop_pct=1.0, crop_mode="squash")
    net = found.net.to(device).eval().requires_grad_(False)
    return replace(found, net=net, inputs=inputs, identity={**found.identity, **inputs.identity()})


def _untrained(
    model: str | None, seed: int | None, classes: int, head: Head | None, size: Any, config: Mapping[str, Any] | None
) -> TimmModel:
    # One that is named is built with its own random head, which gives way to the decoder.
    given = None if config is None else {**config, "decoder": None}
    found = load_timm(None, model, seed, image_size=size, config=given, classes=classes)
    plain = isinstance(found, PlainViT)
    if (head or ("ml-decoder" if plain else "linear")) == "linear":
        return found
    words = {} if config is None or model is not None else dict(config.get("decoder") or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cast(int, seed))
        decoder = MLDecoder(int(cast(Any, found.net).num_features), found.classes, **words)
    identity = {**found.identity, "decoder": decoder.config()}
    if plain:
        attach(cast(VisionTransformer, found.net), decoder)
        return replace(found, identity=identity)
    cast(Any, found.net).reset_classifier(0, "")
    return replace(found, net=MapDecoder(found.net, decoder), identity=identity)


def _decoder_from_file(path: Path, state: Mapping[str, Tensor], prefix: str, model: str | None, size: Any) -> TimmModel:
    """A checkpoint whose head, under `prefix`, is an ML-Decoder."""
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    config = json.loads(load_metadata(path).get("config", "{}")) if model is None else {}
    mine, what = f"{prefix}decoder.", f"the ML-Decoder of {path.name}"
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(mine)}
    body = {key: value for key, value in state.items() if not key.startswith(mine)}
    shape, heads = decoder_config(own, what), int((config.get("decoder") or {}).get("heads", HEADS))
    if shape["dim"] % heads:
        raise InputError(f"{what} is {shape['dim']} wide, which {heads} attention heads do not divide")
    head = MLDecoder(**shape, heads=heads)
    load_into(head, own, what)
    names = tuple(config["classes"]) if isinstance(config.get("classes"), list) else None
    if names is not None and len(names) != head.classes:
        raise InputError(f"{what} has {head.classes} outputs, its file names {len(names)} classes")
    name = timm_name(model) if model is not None else (None if config else name_of_file(path))
    identity = {"model": name or "of the file", "weights": sha256_of(path), "decoder": head.config()}
    if not any(key.endswith("blocks.0.attn.qkv.weight") for key in body):
        net = _map_model(name, body, path, _pair(size))
        _check_features(what, shape["features"], net)
        fixed = cast(Any, net).pretrained_cfg.get("fixed_input_size", False)
        return TimmModel(MapDecoder(net, head), inputs_of(net, _pair(size)), head.classes, names, not fixed, identity)
    vit, inputs = _vit(path, body, config, name, mine)
    _check_features(what, shape["features"], vit)
    inputs = replace(inputs, size=_pair(size) or inputs.size)
    _check_patches(_resized(vit, _pair(size)), inputs.size)
    return PlainViT(attach(vit, head), inputs, head.classes, names, True, identity)


def _vit(
    path: Path, body: Mapping[str, Tensor], config: Mapping[str, Any], name: str | None, mine: str
) -> tuple[VisionTransformer, Inputs]:
    """The plain ViT before a decoder: of weights made here by their `config`, else as `load_backbone` reads files."""
    if config:
        vit = build_vit({**config, "classes": 0})
        load_into(vit, body, f"the ViT of {path.name}")
        mean, std = tuple(config["mean"]), tuple(config["std"])
    else:
        backbone = load_backbone(path, name, supervised=False, drop=(mine,))
        vit, mean, std = backbone.model, backbone.mean, backbone.std
        if name is not None:
            return vit, inputs_of(vit)
    sides: Any = vit.patch_embed.img_size
    return vit, Inputs((int(sides[0]), int(sides[1])), mean, std, 1.0)


def _map_model(name: str | None, body: Mapping[str, Tensor], path: Path, size: tuple[int, int] | None) -> nn.Module:
    """A timm model without classifier and pooling, with the weights `body`."""
    if name is None:
        raise UsageError(f"{path.name} has an ML-Decoder behind no plain ViT: name the timm model with --model")
    net = _create(name, size, num_classes=0, global_pool="")
    if isinstance(net, TResNet):  # the official files' names of layers, and their fused norms
        body = checkpoint_filter_fn(dict(body), net)
    load_into(net, body, f"timm's {name} from {path.name}")
    return net


def _check_features(what: str, wanted: int, net: nn.Module) -> None:
    given = int(cast(Any, net).num_features)
    if wanted != given:
        raise InputError(f"{what} takes tokens of {wanted} channels, the model before it gives {given}")
