"""`ltrp-bench train evit`: EViT (Liang et al., ICLR 2022), with a keep rate that falls during training as published."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
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
from ltrp_bench.selectors.pruning.evit import KEEP_RATE, EViT, shrinking_keep_rate
from ltrp_bench.selectors.vit.pruning_stages import quarter_stages


def train_evit(options: SupervisedOptions, training: TrainingOptions, *, eval_images: int = 1000) -> TrainedModel:
    """Train an EViT; its config is for `EViT`.

    Args:
        options: options of the recipe.
        training: options of the loop.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options or weights do not fit.
    """
    require_whole_images("evit", options)
    torch.manual_seed(training.seed)
    vit = initial_vit(options)
    net = EViT(vit, quarter_stages(len(vit.blocks)), KEEP_RATE)

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        module.keep_rate = shrinking_keep_rate(progress)
        return F.cross_entropy(module(images).float(), labels, label_smoothing=options.smoothing)

    record = fit_supervised("evit", net, vit, loss, {"smoothing": options.smoothing}, options, training)
    net.keep_rate = KEEP_RATE
    return trained_selector(net, vit.state_dict(), net.config, record, eval_images)
