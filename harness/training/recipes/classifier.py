"""`ltrp-bench train classifier`: one label an image, by a plain ViT on whole images or on kept patches.

On photos the recipe of MAE's fine-tuning (He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
table 9), pooling over (kept) patches as there. On `shapes` neither colours nor mixtures: hue and texture are the label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.utils.data import default_collate

from ltrp_bench.harness.training.augmentation import FlipsAndTurns
from ltrp_bench.harness.training.data.labelled import Taught, TaughtStream, shapes_taught
from ltrp_bench.harness.training.fine_tuning import built, fill_from, sha256_of_init, start_from
from ltrp_bench.harness.training.loop import TrainingOptions
from ltrp_bench.harness.training.patch_policy import WHOLE, PatchPolicy
from ltrp_bench.harness.training.task_tuning import PHOTOS_TUNING, Mix, Tuning, finetune
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept


@dataclass(frozen=True)
class Mixing:
    """What is done to labels and batches.

    Attributes:
        smoothing: of the labels, in [0, 1).
        mixup, cutmix: alpha of each, 0 for none; where both, one of the two a batch, at even odds (timm's `Mixup`).
    """

    smoothing: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0


PHOTOS_MIXING = Mixing()
SHAPES_MIXING = Mixing(0.1, 0.0, 0.0)


def train_classifier(
    taught: Taught,
    init: str | Path,
    options: TrainingOptions,
    keep: PatchPolicy = WHOLE,
    tuning: Tuning = PHOTOS_TUNING,
    mixing: Mixing = PHOTOS_MIXING,
    image_size: int | None = None,
    stem: str | None = None,
    notice: Callable[[str], None] = print,
    judged: int = 500,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": for `build_vit`, "training": how it was made}.

    Args:
        taught: images with one label each.
        init: weights to start from, see `finetuning.start_from`.
        options: of the loop.
        keep: which patches the model gets.
        tuning, mixing: the recipe.
        image_size: side in pixels; None for that of the weights.
        stem: "conv" or "patch"; None for that of the weights.
        notice: told how much of the weights was used.
        judged: images of the built-in world's validation seed for the accuracy in "training"; 0 measures none.

    Raises:
        UsageError, InputError: options, images or weights that do not fit.
    """
    torch.manual_seed(options.seed)
    config, state = start_from(init, taught.categories, {"fc_norm": True}, taught.drawn, image_size, stem)
    vit = built(config, tuning.drop_path)
    notice(fill_from(vit, state))
    mix = _mix(mixing, len(taught.categories), options.batch_size)

    def objective(logits: Tensor, targets: Tensor) -> Tensor:
        # Mixed targets are shares, and smoothed already.
        return F.cross_entropy(logits, targets, label_smoothing=0.0 if targets.ndim > 1 else mixing.smoothing)

    what = {"init_sha256": sha256_of_init(init), **mixing.__dict__}
    made = finetune("classifier", vit, config, taught, keep, options, tuning, objective, what, mix)
    if taught.drawn and judged:
        made["accuracy"] = round(accuracy(vit.eval(), config, judged), 4)
    return {"state": vit.state_dict(), "config": config, "training": made}


def _mix(mixing: Mixing, classes: int, batch: int) -> Mix | None:
    if not 0 <= mixing.smoothing < 1 or min(mixing.mixup, mixing.cutmix) < 0:
        raise UsageError(
            f"--smoothing {mixing.smoothing} must be in [0, 1), --mixup {mixing.mixup} and --cutmix {mixing.cutmix} "
            "at least 0"
        )
    if not mixing.mixup and not mixing.cutmix:
        return None
    if batch % 2:
        raise UsageError(f"mixing takes images in pairs: an even --batch-size, not {batch}")
    return Mixup(mixing.mixup, mixing.cutmix, label_smoothing=mixing.smoothing, num_classes=classes)


@torch.no_grad()
def accuracy(vit: VisionTransformer, config: dict[str, Any], count: int, batch: int = 50) -> float:
    """Top-1 of whole images of the built-in world's validation seed."""
    stream = TaughtStream(shapes_taught(count, "single-object", "val"), FlipsAndTurns(), count, 0)
    device = next(vit.parameters()).device
    mean, std = (torch.tensor(config[key], device=device).view(1, 3, 1, 1) * 255 for key in ("mean", "std"))
    right = 0
    for first in range(0, count, batch):
        images, labels = default_collate([stream[i] for i in range(first, min(first + batch, count))])
        found = forward_kept(vit, (images.to(device).float() - mean) / std).argmax(1)
        right += int((found.cpu() == labels).sum())
    return right / count
