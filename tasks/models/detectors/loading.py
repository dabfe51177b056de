"""An mmdet detector from a config and a checkpoint: built without the network, loaded without running code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ltrp_bench.selectors.checkpoints import sha256_of
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab
from ltrp_bench.tasks.models.openmmlab.models import load_weights, pipeline_steps

SHAPES_CONFIG = Path(__file__).parent / "shapes_rtmdet.py"
SHAPES_WEIGHTS = Path(__file__).parents[2] / "weights" / "detector.shapes.safetensors"
SHAPES_VIT_CONFIG = SHAPES_CONFIG.with_name("shapes_vit.py")


@dataclass(frozen=True)
class Detector:
    """A detector ready to run.

    Attributes:
        model: mmdet's module, in evaluation mode.
        config: its mmengine config.
        classes: category names in the order of the model's outputs.
        finds_masks: whether it predicts masks.
        identity: what makes its predictions: hash of the config, of the weights.
    """

    model: nn.Module
    config: Any
    classes: tuple[str, ...]
    finds_masks: bool
    identity: dict[str, Any]


def load_detector(
    config_name: str | Path, weights: str | Path | None, random_weights: int | None, device: str
) -> Detector:
    """Build a detector and load its weights.

    Args:
        config_name: file, or name of a config that mmdet brings.
        weights: checkpoint of mmengine, mmdet's model zoo or safetensors.
        random_weights: seed of an untrained detector, where no weights are given.
        device: of torch.

    Raises:
        InputError: config or checkpoint that does not exist, load or fit. UsageError: neither or both of weights
            and random_weights.
    """
    if (weights is None) == (random_weights is None):
        raise UsageError(
            f"detector {config_name}: give its checkpoint with --model-weights, or --task-option "
            "random_weights=SEED for an untrained one; " + ("not both" if weights is not None else "neither was given")
        )
    config = openmmlab.load_config(config_name)
    if not config.get("model"):
        raise InputError(f"config {config_name} has no 'model'")
    openmmlab.strip_downloads(config.model)
    model = _build(config, config_name, 0 if random_weights is None else random_weights)
    identity: dict[str, Any] = {"config": _digest(config)}
    if weights is not None:
        identity["weights"] = sha256_of(weights)
        load_weights(model, weights, f"detector {Path(config_name).stem} from {weights}")
    else:
        identity["random_weights"] = random_weights
    classes = class_names(config, config_name)
    identity["classes"] = list(classes)
    outputs = _count_classes(config.model)
    if outputs is not None and outputs != len(classes):
        raise InputError(
            f"config {config_name}: the model has {outputs} classes, its data set {len(classes)} ({classes[0]}, …)"
        )
    return Detector(model.to(device).eval(), config, classes, _finds_masks(config.model), identity)


def _build(config: Any, name: str | Path, seed: int) -> nn.Module:
    from mmdet.registry import MODELS

    from ltrp_bench.tasks.models.detectors import kept_channel  # noqa: F401, registers the parts of plain ViTs for configs

    try:
        with openmmlab.scope(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MODELS.build(config.model)
            model.init_weights()
    except InputError:
        raise
    except Exception as error:  # any module of any config
        raise InputError(
            f"detector {name} cannot be built: {type(error).__name__}: {openmmlab.first_line(error)}"
        ) from error
    return model


def class_names(config: Any, name: str | Path = "") -> tuple[str, ...]:
    """Category names in the order of the model's outputs: from the config's test data set, or that data set's type."""
    openmmlab.setup()
    from mmdet.registry import DATASETS

    data = config.get("test_dataloader", {}).get("dataset", {})
    while "dataset" in data:
        data = data["dataset"]
    classes = (data.get("metainfo") or {}).get("classes") or (config.get("metainfo") or {}).get("classes")
    if classes is None and data.get("type"):
        kind = DATASETS.get(data["type"])
        classes = getattr(kind, "METAINFO", {}).get("classes")
    if not classes:
        raise InputError(
            f"config {name} does not say the names of its classes (test_dataloader.dataset.metainfo.classes)"
        )
    return tuple(str(c) for c in ([classes] if isinstance(classes, str) else classes))


def _count_classes(model: Any) -> int | None:
    """num_classes of the first head that has one."""
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
    if isinstance(model, Mapping):
        if model.get("mask_head") or str(model.get("type", "")).startswith("RTMDetIns"):
            return True
        if model.get("panoptic_head"):
            return True
        return any(_finds_masks(value) for value in model.values())
    return isinstance(model, (list, tuple)) and any(_finds_masks(value) for value in model)


def _digest(config: Any) -> str:
    text = json.dumps({"model": config.model, "pipeline": pipeline_steps(config)}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
