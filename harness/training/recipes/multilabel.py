"""`ltrp-bench train multilabel`: every category an image shows, by a plain ViT with an ML-Decoder.

Ridnik et al., "ML-Decoder: Scalable and Versatile Classification Head", WACV 2023, with the asymmetric loss of
Ridnik et al., ICCV 2021, and averaged weights; the backbone is fine-tuned as MAE's are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils.data import default_collate

from ltrp_bench.harness.training.augmentation import FlipsAndTurns
from ltrp_bench.harness.training.data.labelled import Taught, TaughtStream, shapes_taught
from ltrp_bench.harness.training.fine_tuning import fill_from, set_drop_path, sha256_of_init, start_from
from ltrp_bench.harness.training.loop import TrainingOptions
from ltrp_bench.harness.training.losses import AsymmetricLoss
from ltrp_bench.harness.training.patch_policy import WHOLE, PatchPolicy
from ltrp_bench.harness.training.task_tuning import SHAPES_TUNING as PLAIN_SHAPES
from ltrp_bench.harness.training.task_tuning import Tuning, finetune
from ltrp_bench.tasks.metrics.multilabel import average_precision
from ltrp_bench.tasks.models.vit.ml_decoder import DIM, HEADS, HIDDEN
from ltrp_bench.tasks.models.vit.multilabel_models import build_multilabel_vit
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

EMA = 0.9997


@dataclass(frozen=True)
class MultiLabelOptions:
    """Head and loss, as published.

    Attributes:
        gamma_neg, gamma_pos, shift: of the asymmetric loss; `shift` is its probability margin.
        dim, heads, hidden: of the ML-Decoder.
    """

    gamma_neg: float = 4.0
    gamma_pos: float = 0.0
    shift: float = 0.05
    dim: int = DIM
    heads: int = HEADS
    hidden: int = HIDDEN


PHOTOS_TUNING = Tuning(erasing=0.0, ema=EMA)
SHAPES_TUNING = replace(PLAIN_SHAPES, ema=EMA)
PHOTOS_HEAD = MultiLabelOptions()
SHAPES_HEAD = MultiLabelOptions(dim=128, heads=4, hidden=256)


def train_multilabel(
    taught: Taught,
    init: str | Path,
    options: TrainingOptions,
    keep: PatchPolicy = WHOLE,
    tuning: Tuning = PHOTOS_TUNING,
    what: MultiLabelOptions = PHOTOS_HEAD,
    image_size: int | None = None,
    stem: str | None = None,
    notice: Callable[[str], None] = print,
    judged: int = 500,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": for `build_multilabel_vit`, "training": how it was made}.

    Args:
        taught: images with several labels each.
        init, options, keep, tuning, image_size, stem, notice, judged: as of `train_cls.train_classifier`.
        what: head and loss.

    Raises:
        UsageError, InputError: options, images or weights that do not fit.
    """
    # A mean over images rather than the published sum: to AdamW they are the same, to clipping they are not.
    loss = AsymmetricLoss(what.gamma_neg, what.gamma_pos, what.shift, "mean", focus_gradient=False)
    torch.manual_seed(options.seed)
    words = {"decoder": {"dim": what.dim, "heads": what.heads, "hidden": what.hidden}}
    config, state = start_from(init, taught.categories, words, taught.drawn, image_size, stem)
    vit = build_multilabel_vit(config)
    set_drop_path(vit, tuning.drop_path)
    notice(fill_from(vit, state))
    more = {"init_sha256": sha256_of_init(init), **asdict(what)}
    made = finetune("multilabel", vit, config, taught, keep, options, tuning, loss, more, crop=False)
    if taught.drawn and judged:
        made["mAP"] = round(mean_average_precision(vit.eval(), config, judged), 4)
    return {"state": vit.state_dict(), "config": config, "training": made}


@torch.no_grad()
def mean_average_precision(vit: VisionTransformer, config: dict[str, Any], count: int, batch: int = 50) -> float:
    """mAP over the categories, of whole scenes of the built-in world's validation seed."""
    stream = TaughtStream(shapes_taught(count, "scenes", "val"), FlipsAndTurns(), count, 0)
    device = next(vit.parameters()).device
    mean, std = (torch.tensor(config[key], device=device).view(1, 3, 1, 1) * 255 for key in ("mean", "std"))
    scores, present = [], []
    for first in range(0, count, batch):
        images, labels = default_collate([stream[i] for i in range(first, min(first + batch, count))])
        scores.append(forward_kept(vit, (images.to(device).float() - mean) / std).cpu().numpy())
        present.append(labels.numpy() == 1)
    columns = zip(np.concatenate(scores).T, np.concatenate(present).T, strict=True)
    return float(np.nanmean([average_precision(found, true) for found, true in columns]))
