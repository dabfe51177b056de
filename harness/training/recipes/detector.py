"""`ltrp-bench train detector`: the small detectors of `shapes-det`.

RTMDet is trained on images half of which have patches filled (see `data.detection`); `vit_detector` trains the plain
ViT that drops patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ltrp_bench.harness.training.data.detection import FilledScenes, Scenes, collate
from ltrp_bench.harness.training.loop import LoopExtras, train
from ltrp_bench.harness.training.options.tasks import DetectorOptions, DetectorTrainingOptions
from ltrp_bench.harness.training.training_folder import checkpoint_state
from ltrp_bench.selectors.checkpoints import load_into, save_safetensors
from ltrp_bench.tasks.models.detectors.loading import SHAPES_CONFIG
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

CONFIG = "shapes_rtmdet"
AVERAGE = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.002, "gamma": 500, "priority": 49}


def detector_record(options: DetectorOptions, training: DetectorTrainingOptions) -> dict[str, Any]:
    """The options that determine a detector's weights."""
    return {
        "iterations": training.iterations,
        "batch_size": training.batch_size,
        "lr": training.lr,
        "warmup": training.warmup,
        "pool": options.pool,
        "amp": training.amp,
        "seed": training.seed,
    }


def train_detector(options: DetectorOptions, training: DetectorTrainingOptions) -> dict[str, Tensor]:
    """Train RTMDet; returns the averaged weights.

    Raises:
        UsageError: the folder holds another training.
    """
    openmmlab.setup("mmdet", training=True)
    scenes = FilledScenes(options.pool, training.images_drawn, training.seed)
    # A config instead of a model, because the Runner builds models after it has set the seed.
    model = detector_config(CONFIG).model
    return fit_detector(model, scenes, training, {"what": "detector", **detector_record(options, training)})


def fit_detector(
    model: Any,
    scenes: Scenes,
    training: DetectorTrainingOptions,
    record: Mapping[str, Any],
    collate_fn: Callable[[list[Any]], Any] = collate,
    assumptions: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Train a model of mmdet; returns the averaged weights.

    Args:
        model: the model, or its config.
        scenes: training images.
        training: options of the loop.
        record: everything that determines the weights.
        collate_fn: list of samples -> batch.
        assumptions: one line for each thing that was assumed of weights.
    """
    extras = LoopExtras(
        hooks=(AVERAGE,),
        optim_wrapper={
            "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "bypass_duplicate": True},
        },
        collate=collate_fn,
        scope="mmdet",
        channels_last=True,
        assumptions=assumptions,
    )
    train(model, scenes, training, dict(record), extras)
    state = checkpoint_state(training.out)
    return {k: v for k, v in state.items() if not k.startswith("data_preprocessor.")}


def export_detector(
    state: dict[str, Tensor],
    path: Path,
    record: Mapping[str, Any],
    config: str = CONFIG,
    dtype: torch.dtype | None = None,
) -> None:
    """Write trained weights as safetensors of a type, after a check that they fit the config."""
    load_into(build_model(config), state, "the detector of shapes")
    save_safetensors(path, state, {"config": config, "training": dict(record)}, dtype=dtype)


def build_model(name: str) -> torch.nn.Module:
    """An untrained detector of one of the configs of `shapes`."""
    openmmlab.setup()
    from mmdet.registry import MODELS

    from ltrp_bench.tasks.models.detectors import kept_channel  # noqa: F401, registers the parts of plain ViTs

    with openmmlab.scope():
        model: torch.nn.Module = MODELS.build(detector_config(name).model)
    return model


def detector_config(name: str) -> Any:
    """The mmengine config of a detector of `shapes`."""
    return openmmlab.load_config(SHAPES_CONFIG.with_name(f"{name}.py"))
