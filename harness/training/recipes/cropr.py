"""`ltrp-bench train cropr`: Cropr (Bergner et al., CVPR 2025), with a loss for the ViT and one for each module."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.harness.training.options.selectors import CroprOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.supervised import (
    fit_supervised,
    initial_vit,
    require_whole_images,
    trained_selector,
)
from ltrp_bench.harness.training.training_folder import TrainedModel
from ltrp_bench.selectors.pruning.cropr import Cropr


def train_cropr(options: CroprOptions, training: TrainingOptions, *, eval_images: int = 1000) -> TrainedModel:
    """Train a Cropr; its config is for `Cropr`. The modules' classifiers are no part of the result.

    Args:
        options: options of the recipe.
        training: options of the loop.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options or weights do not fit.
    """
    require_whole_images("cropr", options)
    torch.manual_seed(training.seed)
    vit = initial_vit(options)
    net = Cropr(vit, options.pruning_rate, options.last_layer_fusion, trainable=True)

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        outputs = module.training_forward(images)
        terms = [F.cross_entropy(logits.float(), labels, label_smoothing=options.smoothing) for logits in outputs]
        return torch.stack(terms).sum()

    used = {
        "smoothing": options.smoothing,
        "pruning_rate": net.pruning_rate,
        "last_layer_fusion": options.last_layer_fusion,
    }
    record = fit_supervised("cropr", net, vit, loss, used, options, training)
    return trained_selector(net, net.inference_state(), net.config, record, eval_images)
