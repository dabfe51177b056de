"""`ltrp-bench train classifier`: a plain ViT with one label per image, on whole images or on kept patches.

On photos by the recipe of MAE's fine-tuning (He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
table 9). The classifier of a checkpoint keeps its pooling; a new one gets MAE's, over the (kept) patches. On `shapes`
without color augmentation or mixing: hue and texture are the labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.harness.training.augmentation import FlipsAndTurns
from ltrp_bench.harness.training.data.labelled import LabelledStream, TrainingSet, class_folders, labelled_shapes
from ltrp_bench.harness.training.data.order import batches
from ltrp_bench.harness.training.fine_tuning import (
    build_with_drop_path,
    fill_from,
    initial_state,
    initial_weights,
    sha256_of_init,
)
from ltrp_bench.harness.training.options.tasks import ClassifierOptions
from ltrp_bench.harness.training.options.training import SHAPES, TrainingOptions
from ltrp_bench.harness.training.patch_policy import WHOLE, PatchPolicy
from ltrp_bench.harness.training.pixels import normalize_bytes
from ltrp_bench.harness.training.task_tuning import FineTuning, Mix, fine_tune, model_request
from ltrp_bench.harness.training.training_folder import TrainedModel
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept


def classifier_data(options: ClassifierOptions) -> TrainingSet:
    """The training images that the options name; `InputError` if they are missing."""
    if options.data == SHAPES:
        return labelled_shapes(options.num_images, "single-object")
    return class_folders(options.data, options.subset, options)


def train_classifier(
    dataset: TrainingSet,
    options: ClassifierOptions,
    training: TrainingOptions,
    policy: PatchPolicy = WHOLE,
    *,
    notice: Callable[[str], None] = print,
    eval_images: int = 500,
) -> TrainedModel:
    """Train a classifier; its config is for `build_vit`.

    Args:
        dataset: images with one label each.
        options: options of the recipe.
        training: options of the loop.
        policy: patches of an image that the model gets.
        notice: called with a line about the weights that were used.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options, images or weights do not fit.
    """
    torch.manual_seed(training.seed)
    init = initial_weights(options.init, dataset.synthetic)
    config, state, assumptions = initial_state(init, model_request(dataset, options, {}, options.pool or "weights"))
    vit = build_with_drop_path(config, options.drop_path)
    reads = "the mean of the patches" if config["fc_norm"] else "the class token"
    notice(f"{fill_from(vit, state)}; the classifier reads {reads}")
    job = FineTuning(
        kind="classifier",
        vit=vit,
        config=config,
        dataset=dataset,
        policy=policy,
        options=options,
        objective=_objective(options.smoothing),
        extra={
            "init_sha256": sha256_of_init(init),
            "smoothing": options.smoothing,
            "mixup": options.mixup,
            "cutmix": options.cutmix,
        },
        assumptions=assumptions,
        mix=_mix(options, len(dataset.categories), training.batch_size),
    )
    record = fine_tune(job, training)
    if dataset.synthetic and eval_images:
        record["accuracy"] = round(accuracy(vit.eval(), config, eval_images), 4)
    return {"state": vit.state_dict(), "config": config, "training": record}


def _objective(smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    def objective(logits: Tensor, targets: Tensor) -> Tensor:
        # Mixed targets are probabilities that are already smoothed.
        return F.cross_entropy(logits, targets, label_smoothing=0.0 if targets.ndim > 1 else smoothing)

    return objective


def _mix(options: ClassifierOptions, classes: int, batch: int) -> Mix | None:
    if not 0 <= options.smoothing < 1 or min(options.mixup, options.cutmix) < 0:
        raise UsageError(
            f"--smoothing {options.smoothing} must be in [0, 1), --mixup {options.mixup} and --cutmix "
            f"{options.cutmix} at least 0"
        )
    if not options.mixup and not options.cutmix:
        return None
    if batch % 2:
        raise UsageError(f"--batch-size {batch}: mixup and CutMix pair the images, so it must be even")
    return Mixup(options.mixup, options.cutmix, label_smoothing=options.smoothing, num_classes=classes)


@torch.no_grad()
def accuracy(vit: VisionTransformer, config: dict[str, Any], count: int) -> float:
    """Top-1 accuracy on whole validation images of `shapes`."""
    stream = LabelledStream(labelled_shapes(count, "single-object", "val"), FlipsAndTurns(), count, 0)
    device = next(vit.parameters()).device
    correct = 0
    for images, labels in batches(stream, count):
        found = forward_kept(vit, normalize_bytes(images.to(device), config["mean"], config["std"])).argmax(1)
        correct += int((found.cpu() == labels).sum())
    return correct / count
