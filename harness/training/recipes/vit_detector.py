"""`ltrp-bench train detector --architecture vit`: a plain ViT detector of `shapes-det` that may drop patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ltrp_bench.harness.training.data.detection import GRID, KeptPatchesCollate, Scenes
from ltrp_bench.harness.training.fine_tuning import ModelRequest, initial_state
from ltrp_bench.harness.training.options.tasks import DetectorOptions, DetectorTrainingOptions
from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy
from ltrp_bench.harness.training.recipes.detector import build_model, detector_record, fit_detector
from ltrp_bench.selectors.checkpoints import load_state, sha256_of
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, STD
from ltrp_bench.tasks.models.openmmlab import setup as openmmlab

CONFIG = "shapes_vit"


def train_vit_detector(
    options: DetectorOptions, training: DetectorTrainingOptions, policy: PatchPolicy
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train a plain ViT detector; returns the averaged weights, and the record of the training.

    Its weights start from those of `options.init` that fit by name and shape: all of a detector made by this command,
    else those of the ViT inside a masked autoencoder, a classifier or a segmentor.

    Raises:
        UsageError, InputError: options or weights do not fit.
    """
    openmmlab.setup("mmdet", training=True)
    torch.manual_seed(training.seed)
    model = build_model(CONFIG)
    taken, assumptions = _initial_tensors(options.init, model.state_dict())
    extra = {
        "architecture": "vit",
        "init_sha256": sha256_of(located(options.init)),
        "init_tensors": len(taken),
        **policy.identity(),
    }
    # Initialized here, so that the Runner does not do it after the weights are loaded.
    model.init_weights()  # type: ignore[operator]
    model.load_state_dict({**model.state_dict(), **taken})
    model.init_weights = lambda: None  # type: ignore[assignment]
    record = {**detector_record(options, training), **extra}
    scenes = Scenes(options.pool, training.images_drawn, training.seed)
    keeper = PatchKeeper(policy, (GRID, GRID), MEAN, STD)
    choose, lines = KeptPatchesCollate(keeper, training.seed), (*assumptions, *keeper.assumptions)
    return fit_detector(model, scenes, training, {"what": "detector", **record}, choose, lines), record


def _initial_tensors(init: str, own: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a file that a detector with the state dict `own` takes, under its names; and what was assumed."""
    state = load_state(located(init))
    if set(state) == set(own):
        return state, ()
    _, found, assumptions = initial_state(init, ModelRequest(classes=CATEGORIES, synthetic=True))
    prefix = "backbone.vit."
    mine = {key.removeprefix(prefix): value for key, value in own.items()}
    taken = {f"{prefix}{k}": v for k, v in found.items() if k in mine and v.shape == mine[k].shape}
    return taken, assumptions
