"""`ltrp-bench train dynamicvit`: DynamicViT (Rao et al., NeurIPS 2021), distilled from the ViT that it starts from."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ltrp_bench.harness.training.options.selectors import SupervisedOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.supervised import (
    fit_supervised,
    initial_vit,
    require_whole_images,
    trained_selector,
)
from ltrp_bench.harness.training.training_folder import TrainedModel
from ltrp_bench.selectors.checkpoints import load_state
from ltrp_bench.selectors.dynamicvit.losses import dynamicvit_loss, teacher_outputs
from ltrp_bench.selectors.dynamicvit.model import DynamicViT
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.selectors.vit.pruning_stages import quarter_stages


def train_dynamicvit(options: SupervisedOptions, training: TrainingOptions, *, eval_images: int = 1000) -> TrainedModel:
    """Train a DynamicViT; its config is for `DynamicViT`.

    The ViT that it starts from is also its teacher, as published. If it starts from an autoencoder there is no teacher,
    since the classifier is untrained.

    Args:
        options: options of the recipe.
        training: options of the loop.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options or weights do not fit.
    """
    require_whole_images("dynamicvit", options)
    torch.manual_seed(training.seed)
    vit = initial_vit(options)
    distilled = "mask_token" not in load_state(located(options.init))
    teacher = copy.deepcopy(vit).eval().requires_grad_(False)
    net = DynamicViT(vit, quarter_stages(len(vit.blocks)))

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        teacher.to(images.device)
        out = module.training_forward(images, generator)
        known = teacher_outputs(teacher, images) if distilled else None
        return torch.stack([*dynamicvit_loss(out, labels, module.token_ratio, known).values()]).sum()

    record = fit_supervised("dynamicvit", net, vit, loss, {}, options, training)
    return trained_selector(net, net.published_state(), net.config, record, eval_images)
