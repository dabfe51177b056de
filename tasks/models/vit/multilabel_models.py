"""Multi-label classifiers: timm models with a linear head or an ML-Decoder.

The keys of a checkpoint show its head. An ML-Decoder gets all tokens of a plain ViT, and all positions of the
last feature map of other timm models. Images are squashed to the input size without a crop, as ML-Decoder's authors
evaluate: a crop would cut off labelled objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from timm.models.tresnet import TResNet, checkpoint_filter_fn
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.selectors.checkpoints import Weights, load_built, load_into, resolve, sha256_of
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.assumptions import assumptions_of, normalization_of
from ltrp_bench.selectors.vit.backbones import build_from, build_vit
from ltrp_bench.selectors.vit.vit_files import name_of_file, read_vit_file, timm_name
from ltrp_bench.tasks.models.vit.loading import (
    PlainViT,
    TimmModel,
    check_patches,
    create_timm,
    image_sides,
    inputs_of,
    load_timm,
    set_input_size,
)
from ltrp_bench.tasks.models.vit.ml_decoder import HEADS, MLDecoder, attach, decoder_config, decoder_prefix
from ltrp_bench.tasks.models.vit.preprocessing import Preprocessing
from ltrp_bench.tasks.models.weights import file_config, read_float_weights, seeded

Head = Literal["ml-decoder", "linear"]


class MapDecoder(nn.Module):
    """Any timm model with an ML-Decoder on its last feature map.

    Args:
        body: built without classifier and pooling; its features are [B, D, h, w], or tokens [B, N, D].
        head: ML-Decoder for D features.
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
    """Builds an untrained plain ViT with its head.

    Args:
        config: arguments of `build_vit`, with a list of names as `classes`; and "decoder", the keyword arguments of
            `MLDecoder` without features and classes, or None for a linear head. Weights trained with ltrp-bench carry
            it in their metadata.
    """
    if config.get("decoder") is None:
        return build_vit(config)
    vit = build_vit({**config, "classes": 0})
    given = {key: value for key, value in config["decoder"].items() if key not in ("features", "classes")}
    return attach(vit, MLDecoder(vit.num_features, len(config["classes"]), **given))


def load_multilabel(
    weights: str | Path | None,
    model: str | None = None,
    *,
    random_weights: int | None = None,
    classes: int = 80,
    head: Head | None = None,
    image_size: int | Sequence[int] | None = None,
    config: Mapping[str, Any] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ema: bool | None = None,
    device: str = "cpu",
) -> TimmModel:
    """Builds a multi-label classifier and loads its weights.

    Args:
        weights: checkpoint, see `load_timm`; with an ML-Decoder if it has the keys of one.
        model: name of a timm model if the file does not determine it, as with an ML-Decoder on anything but a plain
            ViT.
        random_weights: seed of an untrained model, instead of `weights`.
        classes: number of outputs of an untrained model.
        head: head of an untrained model, by default an ML-Decoder on a plain ViT and a linear head elsewhere; for a
            checkpoint the head that it must have.
        image_size: another input size, one number or (H, W), see `load_timm`.
        config: arguments of `build_multilabel_vit`, for an untrained ViT without a timm name.
        mean, std: another normalization than that of the weights, see `load_timm`.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
        device: torch device.

    Raises:
        InputError, UsageError: see `load_timm`; or another head than requested, or one that cannot be read.
    """
    if head not in (None, "ml-decoder", "linear"):
        raise UsageError(f"head must be ml-decoder or linear, got {head!r}")
    if weights is None:
        found = _untrained(model, random_weights, classes, head, image_size, config)
    else:
        if random_weights is not None:
            raise UsageError("give the model's checkpoint or random_weights=SEED, not both")
        read = read_float_weights(resolve(weights), ema)
        prefix = decoder_prefix(read.state)
        if head is not None and (prefix is not None) != (head == "ml-decoder"):
            kind = "a linear head" if prefix is None else "an ML-Decoder"
            raise InputError(f"{weights} has {kind}, but head={head} was requested")
        if prefix is None:
            found = load_timm(weights, model, image_size=image_size, mean=mean, std=std, ema=ema, crop_pct=1.0)
        else:
            found = _decoder_from_file(read, prefix, model, image_size)
    inputs = replace(found.inputs.renormalized(mean, std), crop_pct=1.0, crop_mode="squash")
    net = found.net.to(device).eval().requires_grad_(False)
    return replace(found, net=net, inputs=inputs, identity={**found.identity, **inputs.identity()})


def _untrained(
    model: str | None, seed: int | None, classes: int, head: Head | None, size: Any, config: Mapping[str, Any] | None
) -> TimmModel:
    # The model is built with a linear head, which the decoder replaces.
    linear = None if config is None else {**config, "decoder": None}
    found = load_timm(None, model, random_weights=seed, image_size=size, config=linear, classes=classes)
    plain = isinstance(found, PlainViT)
    if (head or ("ml-decoder" if plain else "linear")) == "linear":
        return found
    options = {} if config is None or model is not None else dict(config.get("decoder") or {})
    with seeded(cast(int, seed)):
        decoder = MLDecoder(int(cast(Any, found.net).num_features), found.classes, **options)
    identity = {**found.identity, "decoder": decoder.config()}
    if plain:
        attach(cast(VisionTransformer, found.net), decoder)
        return replace(found, identity=identity)
    cast(Any, found.net).reset_classifier(0, "")
    return replace(found, net=MapDecoder(found.net, decoder), identity=identity)


def _decoder_from_file(read: Weights, prefix: str, model: str | None, size: Any) -> TimmModel:
    """Loads a checkpoint whose head, under `prefix`, is an ML-Decoder."""
    path, state = read.path, read.state
    config = file_config(path) if model is None else {}
    head_prefix, what = f"{prefix}decoder.", f"the ML-Decoder of {path.name}"
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(head_prefix)}
    body = {key: value for key, value in state.items() if not key.startswith(head_prefix)}
    shape, heads = decoder_config(own, what), int((config.get("decoder") or {}).get("heads", HEADS))
    if shape["dim"] % heads:
        raise InputError(f"{what} is {shape['dim']} wide, which {heads} attention heads do not divide")
    head = MLDecoder(**shape, heads=heads)
    load_into(head, own, what)
    names = tuple(config["classes"]) if isinstance(config.get("classes"), list) else None
    if names is not None and len(names) != head.classes:
        raise InputError(f"{what} has {head.classes} outputs, its file names {len(names)} classes")
    name = timm_name(model) if model is not None else (None if config else name_of_file(path))
    chosen = {} if read.ema is None else {"ema": read.ema}
    identity = {"model": name or "of the file", "weights": sha256_of(path), **chosen, "decoder": head.config()}
    if not any(key.endswith("blocks.0.attn.qkv.weight") for key in body):
        net = _map_model(name, body, path, image_sides(size))
        _check_features(what, shape["features"], net)
        return TimmModel(
            net=MapDecoder(net, head),
            inputs=inputs_of(net, image_sides(size)),
            classes=head.classes,
            class_names=names,
            any_size=not cast(Any, net).pretrained_cfg.get("fixed_input_size", False),
            identity=identity,
            assumptions=read.notes,
        )
    vit, inputs, assumptions = _vit(read, body, config, name, head_prefix)
    _check_features(what, shape["features"], vit)
    inputs = replace(inputs, size=image_sides(size) or inputs.size)
    check_patches(set_input_size(vit, image_sides(size)), inputs.size)
    return PlainViT(
        net=attach(vit, head),
        inputs=inputs,
        classes=head.classes,
        class_names=names,
        any_size=True,
        identity=identity,
        assumptions=assumptions,
    )


def _vit(
    read: Weights, body: Mapping[str, Tensor], config: Mapping[str, Any], name: str | None, head_prefix: str
) -> tuple[VisionTransformer, Preprocessing, tuple[str, ...]]:
    """The plain ViT before a decoder, its preprocessing, and what was assumed of it.

    It is built from the file's `config` if it has one, else read as by `load_backbone`.
    """
    path = read.path
    if config:
        vit = load_built(lambda: build_vit({**config, "classes": 0}), body, f"the ViT of {path.name}")
        mean, std = tuple(config["mean"]), tuple(config["std"])
        assumptions = read.notes
    else:
        file = read_vit_file(path, name, read.ema)
        vit = build_from(file, drop=(head_prefix,))
        if name is not None:
            return vit, inputs_of(vit), file.notes
        found = normalization_of(file)
        mean, std = found.mean, found.std
        assumptions = (*file.notes, *assumptions_of(file, found, int(cast(Any, vit.blocks[0]).attn.num_heads)))
    sides: Any = vit.patch_embed.img_size
    inputs = Preprocessing(size=(int(sides[0]), int(sides[1])), mean=mean, std=std, crop_pct=1.0)
    return vit, inputs, assumptions


def _map_model(name: str | None, body: Mapping[str, Tensor], path: Path, size: tuple[int, int] | None) -> nn.Module:
    """Builds a timm model without classifier and pooling and loads the weights `body`."""
    if name is None:
        raise UsageError(
            f"{path.name} has an ML-Decoder on a model other than a plain ViT: name it with --model (timm)"
        )
    net = create_timm(name, size, num_classes=0, global_pool="")
    if isinstance(net, TResNet):  # converts the layer names and fused norms of official files
        body = checkpoint_filter_fn(dict(body), net)
    load_into(net, body, f"timm's {name} from {path.name}")
    return net


def _check_features(what: str, wanted: int, net: nn.Module) -> None:
    """InputError unless the model's features have the width that its head takes."""
    given = int(cast(Any, net).num_features)
    if wanted != given:
        raise InputError(f"{what} takes tokens of {wanted} channels, but the model has {given}")
