"""Segmentors from files: plain ViTs made here or by Segmenter's authors, and any of mmseg's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, resolve, sha256_of, strip_prefix
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.selectors.vit.backbones import vit_config
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import load_weights, pipeline_steps
from ltrp_bench.tasks.models.segmentors.plain_vit import PlainSegmentor, build_segmentor, head_config
from ltrp_bench.tasks.models.vit.preprocessing import Inputs

# Of Segmenter's two kinds of encoders: timm's ViTs of 2021, and DeiT.
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Segmentor:
    """A plain ViT segmentor, ready to run.

    Attributes:
        net: in evaluation mode, without gradients.
        inputs: how images become its input: squashed to one size, so that every image has the same patches.
        classes: names of its outputs, where its file says.
        outputs: how many there are.
        identity: what makes its predictions, JSON-able.
    """

    net: PlainSegmentor
    inputs: Inputs
    classes: tuple[str, ...] | None
    outputs: int
    identity: dict[str, Any]


@dataclass(frozen=True)
class MMSegmentor:
    """A segmentor of mmseg, ready to run.

    Attributes:
        model: mmseg's module, in evaluation mode.
        config: its mmengine config.
        classes: names in the order of its outputs.
        identity: what makes its predictions.
    """

    model: nn.Module
    config: Any
    classes: tuple[str, ...]
    identity: dict[str, Any]


def load_plain(
    weights: str | Path | None,
    config: Mapping[str, Any] | None = None,
    random_weights: int | None = None,
    device: str = "cpu",
) -> Segmentor:
    """A plain ViT segmentor.

    Args:
        weights: made here (its metadata tells all), or Segmenter's own checkpoint (`model` key): mean and deviation
            0.5, as its ViT encoders have them.
        config: of `build_segmentor`, for an untrained one.
        random_weights: seed of an untrained one, where no weights are given.
        device: of torch.

    Raises:
        InputError: a missing, corrupt or foreign file. UsageError: neither or both of weights and random_weights.
    """
    if (weights is None) == (random_weights is None):
        raise UsageError(
            "give the segmentor's checkpoint with --model-weights, or --task-option random_weights=SEED for an "
            "untrained one; " + ("neither was given" if weights is None else "not both")
        )
    if weights is None:
        if config is None:
            raise UsageError("an untrained plain ViT has no shape: name an mmseg config with --model instead")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_weights or 0)
            net = build_segmentor(config)
        given, identity = dict(config), {"config": json.loads(json.dumps(config)), "random_weights": random_weights}
    else:
        path = resolve(weights)
        net, given = _from_file(path)
        identity = {"model": "of the file", "weights": sha256_of(path)}
    side = given["image_size"]
    sides = (side, side) if isinstance(side, int) else tuple(side)
    inputs = Inputs(sides, tuple(given["mean"]), tuple(given["std"]), 1.0, "squash", "bilinear")
    names = tuple(given["classes"]) if isinstance(given["classes"], list) else None
    net.to(device).eval().requires_grad_(False)
    return Segmentor(net, inputs, names, net.decoder.classes, {**identity, **inputs.identity(), **net.config()})


def _from_file(path: Path) -> tuple[PlainSegmentor, dict[str, Any]]:
    state = {k: v.float() if v.is_floating_point() else v for k, v in load_state(path).items()}
    config = json.loads(load_metadata(path).get("config", "{}"))
    if not config:
        what = f"{path.name}"
        head = head_config(state, what)
        outputs = len(state["decoder.head.bias"]) if head["head"] == "linear" else state["decoder.cls_emb"].shape[1]
        body = {k: v for k, v in strip_prefix(state, "encoder.").items() if not k.startswith("head.")}
        if not body:
            raise InputError(f"{what} has no encoder. keys: it is no segmentor of Segmenter's")
        config = {**vit_config(body, None, what), "mean": _HALF, "std": _HALF, "segmentor": head}
        config["classes"] = [str(i) for i in range(int(outputs))]
        state = {k: v for k, v in state.items() if not k.startswith("encoder.head.")}
        net = build_segmentor(config)
        load_into(net, state, f"a Segmenter ({what})")
        return net, {**config, "classes": int(outputs)}
    if "segmentor" not in config:
        raise InputError(f"{path.name} was made here, but is no segmentor")
    net = build_segmentor(config)
    load_into(net, state, f"the segmentor of {path.name}")
    return net, config


def load_mmseg(name: str | Path, weights: str | Path | None, random_weights: int | None, device: str) -> MMSegmentor:
    """A segmentor of mmseg.

    Args:
        name: a config's file, or name of one that mmseg brings.
        weights: checkpoint of mmengine, mmseg's model zoo or safetensors.
        random_weights: seed of an untrained one, where no weights are given.
        device: of torch.

    Raises:
        InputError: config or checkpoint that does not exist, load or fit. UsageError: neither or both of weights and
            random_weights.
    """
    if (weights is None) == (random_weights is None):
        raise UsageError(
            f"segmentor {name}: give its checkpoint with --model-weights, or --task-option random_weights=SEED for an "
            "untrained one; " + ("not both" if weights is not None else "neither was given")
        )
    config = openmmlab.load_config(name, "mmseg")
    if not config.get("model"):
        raise InputError(f"config {name} has no 'model'")
    openmmlab.strip_downloads(config.model)
    # Made for several GPUs; one process has no group to synchronise with.
    _replace(config.model, "SyncBN", "BN")
    model = _build(config, name, 0 if random_weights is None else random_weights)
    digest = hashlib.sha256(json.dumps([config.model, pipeline_steps(config)], default=str).encode()).hexdigest()
    identity: dict[str, Any] = {"config": digest}
    if weights is None:
        identity["random_weights"] = random_weights
    else:
        identity["weights"] = sha256_of(weights)
        load_weights(model, weights, f"segmentor {Path(name).stem} from {weights}")
    classes = _class_names(config, name)
    identity["classes"] = list(classes)
    outputs = getattr(model, "out_channels", None) or getattr(getattr(model, "decode_head", None), "num_classes", None)
    if outputs is not None and outputs not in (1, len(classes)):
        raise InputError(f"config {name}: the model has {outputs} classes, its data set {len(classes)}")
    return MMSegmentor(model.to(device).eval().requires_grad_(False), config, classes, identity)


def _build(config: Any, name: str | Path, seed: int) -> nn.Module:
    with openmmlab.scope("mmseg"):
        from mmseg.registry import MODELS

        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model: nn.Module = MODELS.build(config.model)
                model.init_weights()  # type: ignore[operator]
        except InputError:
            raise
        except Exception as error:  # any module of any config
            raise InputError(
                f"segmentor {name} cannot be built: {type(error).__name__}: {openmmlab.first_line(error)}"
            ) from error
    return model


def _class_names(config: Any, name: str | Path) -> tuple[str, ...]:
    from mmseg.registry import DATASETS

    data = config.get("test_dataloader", {}).get("dataset", {})
    while "dataset" in data:
        data = data["dataset"]
    classes = (data.get("metainfo") or {}).get("classes")
    if classes is None and data.get("type"):
        classes = getattr(DATASETS.get(data["type"]), "METAINFO", {}).get("classes")
    if not classes:
        raise InputError(f"config {name} does not say its classes (test_dataloader.dataset.metainfo.classes)")
    return tuple(str(c) for c in classes)


def _replace(config: Any, old: str, new: str) -> None:
    """Every norm of one type by another, anywhere in a config."""
    if isinstance(config, dict):
        if config.get("type") == old:
            config["type"] = new
        for value in config.values():
            _replace(value, old, new)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _replace(value, old, new)
