"""`ltrp-bench train multilabel`: a plain ViT with an ML-Decoder that predicts every category in an image.

Ridnik et al., "ML-Decoder: Scalable and Versatile Classification Head", WACV 2023, with the asymmetric loss of
Ridnik et al., ICCV 2021, and averaged weights; the backbone is fine-tuned by MAE's recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

from ltrp_bench.harness.training.augmentation import FlipsAndTurns
from ltrp_bench.harness.training.data.labelled import LabelledStream, TrainingSet, labelled_shapes, multilabel_files
from ltrp_bench.harness.training.data.order import batches
from ltrp_bench.harness.training.fine_tuning import (
    fill_from,
    initial_state,
    initial_weights,
    set_drop_path,
    sha256_of_init,
)
from ltrp_bench.harness.training.losses import AsymmetricLoss
from ltrp_bench.harness.training.options.tasks import MultiLabelOptions
from ltrp_bench.harness.training.options.training import SHAPES, TrainingOptions
from ltrp_bench.harness.training.patch_policy import WHOLE, PatchPolicy
from ltrp_bench.harness.training.pixels import normalize_bytes
from ltrp_bench.harness.training.task_tuning import FineTuning, fine_tune, model_request
from ltrp_bench.harness.training.training_folder import TrainedModel
from ltrp_bench.tasks.metrics.multilabel import average_precision
from ltrp_bench.tasks.models.vit.multilabel_models import build_multilabel_vit
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept


def multilabel_data(options: MultiLabelOptions) -> TrainingSet:
    """The training images that the options name; `InputError` if they are missing."""
    if options.data == SHAPES:
        return labelled_shapes(options.num_images, "scenes")
    return multilabel_files(options.data, options.form, options.subset, options)


def train_multilabel(
    dataset: TrainingSet,
    options: MultiLabelOptions,
    training: TrainingOptions,
    policy: PatchPolicy = WHOLE,
    *,
    notice: Callable[[str], None] = print,
    eval_images: int = 500,
) -> TrainedModel:
    """Train a multi-label classifier; its config is for `build_multilabel_vit`.

    Args:
        dataset: images with several labels each.
        options: options of the recipe.
        training: options of the loop.
        policy: patches of an image that the model gets.
        notice: called with a line about the weights that were used.
        eval_images: validation images of `shapes` for the mAP in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options, images or weights do not fit.
    """
    # The mean over images rather than the published sum: equal for AdamW, but not for gradient clipping.
    loss = AsymmetricLoss(options.gamma_neg, options.gamma_pos, options.shift, "mean", focus_gradient=False)
    torch.manual_seed(training.seed)
    init = initial_weights(options.init, dataset.synthetic)
    decoder = {"dim": options.dim, "heads": options.heads, "hidden": options.hidden}
    config, state, assumptions = initial_state(init, model_request(dataset, options, {"decoder": decoder}))
    vit = build_multilabel_vit(config)
    set_drop_path(vit, options.drop_path)
    notice(fill_from(vit, state))
    asymmetric = {"gamma_neg": options.gamma_neg, "gamma_pos": options.gamma_pos, "shift": options.shift}
    job = FineTuning(
        kind="multilabel",
        vit=vit,
        config=config,
        dataset=dataset,
        policy=policy,
        options=options,
        objective=loss,
        extra={"init_sha256": sha256_of_init(init), **asymmetric, **decoder},
        assumptions=assumptions,
        crop=False,
    )
    record = fine_tune(job, training)
    if dataset.synthetic and eval_images:
        record["mAP"] = round(mean_average_precision(vit.eval(), config, eval_images), 4)
    return {"state": vit.state_dict(), "config": config, "training": record}


@torch.no_grad()
def mean_average_precision(vit: VisionTransformer, config: dict[str, Any], count: int) -> float:
    """mAP over the categories, on whole validation scenes of `shapes`."""
    stream = LabelledStream(labelled_shapes(count, "scenes", "val"), FlipsAndTurns(), count, 0)
    device = next(vit.parameters()).device
    scores, present = [], []
    for images, labels in batches(stream, count):
        logits = forward_kept(vit, normalize_bytes(images.to(device), config["mean"], config["std"]))
        scores.append(logits.cpu().numpy())
        present.append(labels.numpy() == 1)
    columns = zip(np.concatenate(scores).T, np.concatenate(present).T, strict=True)
    return float(np.nanmean([average_precision(found, true) for found, true in columns]))
