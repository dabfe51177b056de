"""Loading of mmdet detectors from a config and a checkpoint, without downloads and without running pickled code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ltrp_bench.selectors.checkpoints import read_weights, sha256_of
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.vit.hub import checkpoint_file
from ltrp_bench.tasks.models.openmmlab.models import (
    agreed_classes,
    build_model,
    load_model_config,
    load_weights,
    pipeline_steps,
)
from ltrp_bench.tasks.models.weights import check_weights

SHAPES_CONFIG = Path(__file__).parent / "shapes_rtmdet.py"
SHAPES_WEIGHTS = Path(__file__).parents[2] / "weights" / "detector.shapes.safetensors"
SHAPES_VIT_CONFIG = SHAPES_CONFIG.with_name("shapes_vit.py")


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector in evaluation mode.

    Attributes:
        model: mmdet's module.
        config: its mmengine config.
        classes: category names in the order of the model's outputs.
        finds_masks: True if it predicts masks, too.
        identity: hashes of config and weights, and classes, as JSON values.
        assumptions: one line for each thing that was assumed of the weights.
    """

    model: nn.Module
    config: Any
    classes: tuple[str, ...]
    finds_masks: bool
    identity: dict[str, Any]
    assumptions: tuple[str, ...] = ()


def load_detector(
    config_name: str | Path,
    weights: str | Path | None,
    *,
    random_weights: int | None = None,
    classes: Sequence[str] | None = None,
    ema: bool | None = None,
    device: str = "cpu",
) -> Detector:
    """Builds a detector and loads its weights.

    Args:
        config_name: config file, or name of a config that mmdet brings.
        weights: checkpoint of mmengine, mmdet's model zoo or safetensors.
        random_weights: seed of an untrained detector, instead of `weights`.
        classes: names of its outputs, instead of those of checkpoint and config.
        ema: which set of weights to take from a file that holds a model and its moving average; see `read_weights`.
        device: torch device.

    Raises:
        InputError: a config or checkpoint that does not exist, load or fit. UsageError: neither or both of weights
            and random_weights.
    """
    check_weights(f"detector {config_name}", weights, random_weights)
    given = weights
    weights = None if weights is None else checkpoint_file(weights)
    config = load_model_config(config_name, "mmdet")
    from ltrp_bench.tasks.models.detectors import kept_channel  # noqa: F401, registers the plain ViT modules

    model = build_model(config, "mmdet", f"detector {config_name}", random_weights or 0)
    identity: dict[str, Any] = {"config": _digest(config)}
    read = None if weights is None else read_weights(weights, ema)
    if read is not None:
        identity |= {"weights": sha256_of(read.path), **({} if ema is None else {"ema": ema})}
        load_weights(model, read, f"detector {Path(config_name).stem} from {given}")
    else:
        identity["random_weights"] = random_weights
    classes = agreed_classes(config, config_name, read, classes)
    identity["classes"] = list(classes)
    outputs = _count_classes(config.model)
    if outputs is not None and outputs != len(classes):
        raise InputError(
            f"config {config_name}: the model has {outputs} classes, its data set {len(classes)} ({classes[0]}, …)"
        )
    return Detector(
        model=model.to(device).eval(),
        config=config,
        classes=classes,
        finds_masks=_finds_masks(config.model),
        identity=identity,
        assumptions=() if read is None else read.notes,
    )


def _count_classes(model: Any) -> int | None:
    """num_classes of the first head that has it; None if no head has."""
    if isinstance(model, Mapping):
        for key in ("bbox_head", "roi_head", "query_head", "panoptic_head", "mask_head"):
            head = model.get(key)
            for part in head if isinstance(head, (list, tuple)) else [head]:
                if isinstance(part, Mapping):
                    found = part.get("num_classes", part.get("num_things_classes")) or _count_classes(part)
                    if found is not None:
                        return int(found)
    return None


def _finds_masks(model: Any) -> bool:
    """True if the config of a model, or any part of it, has a mask head."""
    if isinstance(model, Mapping):
        if model.get("mask_head") or str(model.get("type", "")).startswith("RTMDetIns"):
            return True
        if model.get("panoptic_head"):
            return True
        return any(_finds_masks(value) for value in model.values())
    return isinstance(model, (list, tuple)) and any(_finds_masks(value) for value in model)


def _digest(config: Any) -> str:
    """sha256 of the config of the model and its test pipeline."""
    text = json.dumps({"model": config.model, "pipeline": pipeline_steps(config)}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
