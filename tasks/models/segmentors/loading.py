"""Loading of segmentors: plain ViTs trained with ltrp-bench or by Segmenter's authors, and any model of mmseg."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from ltrp_bench.selectors.checkpoints import (
    Weights,
    load_built,
    load_into,
    read_weights,
    sha256_of,
    strip_prefix,
)
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import vit_config
from ltrp_bench.selectors.vit.hub import checkpoint_file
from ltrp_bench.tasks.models.openmmlab.models import (
    agreed_classes,
    build_model,
    load_model_config,
    load_weights,
    pipeline_steps,
)
from ltrp_bench.tasks.models.segmentors.plain_vit import PlainSegmentor, build_segmentor, head_config
from ltrp_bench.tasks.models.segmentors.variant import HALF, variant_of
from ltrp_bench.tasks.models.vit.loading import image_sides
from ltrp_bench.tasks.models.vit.preprocessing import Preprocessing
from ltrp_bench.tasks.models.weights import check_weights, file_config, read_float_weights, seeded


@dataclass(frozen=True, kw_only=True)
class Segmentor:
    """A plain ViT segmentor.

    Attributes:
        net: module in evaluation mode, without gradients.
        inputs: preprocessing, which squashes images to one size, so that all have the same patch grid.
        classes: names of its outputs if the file has them, else None.
        outputs: number of outputs.
        identity: everything that determines its predictions, as JSON values.
        assumptions: one line for each thing that was assumed of the weights.
    """

    net: PlainSegmentor
    inputs: Preprocessing
    classes: tuple[str, ...] | None
    outputs: int
    identity: dict[str, Any]
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MMSegmentor:
    """A segmentor of mmseg.

    Attributes:
        model: mmseg's module, in evaluation mode, without gradients.
        config: its mmengine config.
        classes: names in the order of its outputs.
        identity: hashes of config and weights, and classes, as JSON values.
        assumptions: one line for each thing that was assumed of the weights.
    """

    model: nn.Module
    config: Any
    classes: tuple[str, ...]
    identity: dict[str, Any]
    assumptions: tuple[str, ...] = ()


def load_plain(
    weights: str | Path | None,
    *,
    config: Mapping[str, Any] | None = None,
    random_weights: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ema: bool | None = None,
    device: str = "cpu",
) -> Segmentor:
    """Loads a plain ViT segmentor.

    Args:
        weights: checkpoint trained with ltrp-bench, whose metadata have its configuration, or by Segmenter's authors
            (`model` key), whose `variant.yml` beside it says their normalization; without it 0.5 is assumed.
        config: arguments of `build_segmentor`, for an untrained segmentor.
        random_weights: seed of an untrained segmentor, instead of `weights`.
        mean, std: another normalization of the images than that of the weights, per channel of RGB in [0, 1].
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
        device: torch device.

    Raises:
        InputError: a missing, corrupt or foreign file. UsageError: neither or both of weights and random_weights.
    """
    check_weights("segmentor", weights, random_weights)
    weights = None if weights is None else checkpoint_file(weights)
    assumptions: tuple[str, ...] = ()
    if weights is None:
        if config is None:
            raise UsageError("an untrained plain ViT has no shape: name an mmseg config with --model instead")
        with seeded(random_weights or 0):
            net = build_segmentor(config)
        given, identity = dict(config), {"config": json.loads(json.dumps(config)), "random_weights": random_weights}
    else:
        found = read_float_weights(Path(weights), ema)
        net, given, lines = _from_file(found, stated=mean is not None and std is not None)
        assumptions = lines
        chosen = {} if ema is None else {"ema": ema}
        identity = {"model": "of the file", "weights": sha256_of(found.path), **chosen}
    inputs = Preprocessing(
        size=cast(tuple[int, int], image_sides(given["image_size"])),
        mean=tuple(given["mean"]),
        std=tuple(given["std"]),
        crop_pct=1.0,
        crop_mode="squash",
        interpolation="bilinear",
    ).renormalized(mean, std)
    return Segmentor(
        net=net.to(device).eval().requires_grad_(False),
        inputs=inputs,
        classes=tuple(given["classes"]) if isinstance(given["classes"], list) else None,
        outputs=net.decoder.classes,
        identity={**identity, **inputs.identity(), **net.config()},
        assumptions=assumptions,
    )


def _from_file(weights: Weights, *, stated: bool) -> tuple[PlainSegmentor, dict[str, Any], tuple[str, ...]]:
    """The segmentor of a checkpoint, its configuration, and what was assumed.

    Args:
        weights: the checkpoint.
        stated: True if the user gives mean and standard deviation.
    """
    path, state, config = weights.path, weights.state, file_config(weights.path)
    if not config:
        weights = weights.under(r"encoder\.pos_embed", r"encoder\.blocks\.0\.attn\.qkv\.weight")
        state, what, beside = weights.state, path.name, variant_of(path)
        head = head_config(state, what)
        outputs = len(state["decoder.head.bias"]) if head["head"] == "linear" else state["decoder.cls_emb"].shape[1]
        body = {k: v for k, v in strip_prefix(state, "encoder.").items() if not k.startswith("head.")}
        if not body:
            raise InputError(f"{what} has no keys that begin with encoder.: it is not one of Segmenter's checkpoints")
        config = {**vit_config(body, beside.heads, what), "segmentor": head}
        config |= {"mean": beside.mean or HALF, "std": beside.std or HALF}
        config["classes"] = [str(i) for i in range(int(outputs))]
        state = {k: v for k, v in state.items() if not k.startswith("encoder.head.")}
        net = build_segmentor(config)
        load_into(net, state, f"a Segmenter ({what})")
        known = stated or (beside.mean is not None and beside.std is not None)
        line = (
            f"{what} does not say how its images were normalized; assumed Segmenter's mean and std of 0.5: if this is "
            "wrong, give mean=, std=, or put its variant.yml beside it"
        )
        return net, {**config, "classes": int(outputs)}, (*weights.notes, *(() if known else (line,)))
    if "segmentor" not in config:
        raise InputError(f"{path.name} was trained with ltrp-bench, but is not a segmentor")
    net = load_built(lambda: build_segmentor(config), state, f"the segmentor of {path.name}")
    return net, config, weights.notes


def load_mmseg(
    name: str | Path,
    weights: str | Path | None,
    *,
    random_weights: int | None = None,
    classes: Sequence[str] | None = None,
    ema: bool | None = None,
    device: str = "cpu",
) -> MMSegmentor:
    """Loads a segmentor of mmseg.

    Args:
        name: config file, or name of a config that mmseg brings.
        weights: checkpoint of mmengine, mmseg's model zoo or safetensors.
        random_weights: seed of an untrained segmentor, instead of `weights`.
        classes: names of its outputs, instead of those of checkpoint and config.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
        device: torch device.

    Raises:
        InputError: a config or checkpoint that does not exist, load or fit. UsageError: neither or both of weights and
            random_weights.
    """
    check_weights(f"segmentor {name}", weights, random_weights)
    given = weights
    weights = None if weights is None else checkpoint_file(weights)
    config = load_model_config(name, "mmseg")
    # A single process has no group to synchronize batch norms with.
    _replace(config.model, "SyncBN", "BN")
    model = build_model(config, "mmseg", f"segmentor {name}", random_weights or 0)
    digest = hashlib.sha256(json.dumps([config.model, pipeline_steps(config)], default=str).encode()).hexdigest()
    identity: dict[str, Any] = {"config": digest}
    read = None if weights is None else read_weights(weights, ema)
    if read is None:
        identity["random_weights"] = random_weights
    else:
        identity |= {"weights": sha256_of(read.path), **({} if ema is None else {"ema": ema})}
        load_weights(model, read, f"segmentor {Path(name).stem} from {given}")
    classes = agreed_classes(config, name, read, classes, "mmseg")
    identity["classes"] = list(classes)
    outputs = getattr(model, "out_channels", None) or getattr(getattr(model, "decode_head", None), "num_classes", None)
    if outputs is not None and outputs not in (1, len(classes)):
        raise InputError(f"config {name}: the model has {outputs} classes, its data set {len(classes)}")
    model = model.to(device).eval().requires_grad_(False)
    notes = () if read is None else read.notes
    return MMSegmentor(model=model, config=config, classes=classes, identity=identity, assumptions=notes)


def _replace(config: Any, old: str, new: str) -> None:
    """Replaces the type `old` by `new` everywhere in a config, in place."""
    if isinstance(config, dict):
        if config.get("type") == old:
            config["type"] = new
        for value in config.values():
            _replace(value, old, new)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _replace(value, old, new)
