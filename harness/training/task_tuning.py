"""Fine-tuning of plain ViTs as classifiers, on whole images or on kept patches."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.harness.training.augmentation import Augmentation, FlipsAndTurns, PhotoAugmentation, seeded
from ltrp_bench.harness.training.data.labelled import LabelledStream, TrainingSet
from ltrp_bench.harness.training.fine_tuning import ModelRequest, averaged, layer_decay
from ltrp_bench.harness.training.loop import LoopExtras, train, use_device
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.tasks import FineTuningOptions, TaskTrainingOptions
from ltrp_bench.harness.training.options.training import Pool, TrainingOptions
from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy
from ltrp_bench.harness.training.score_maps import ScoreMaps, cached_scores
from ltrp_bench.harness.training.training_folder import trained_state
from ltrp_bench.selectors.checkpoints import load_into
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.embedding import grid_of
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept

EPOCHS, WARMUP_EPOCHS, LR_PER_256 = 100, 5, 5e-4

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C] float32, targets) -> scalar loss."""
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images [B, c, H, W], targets) -> both, mixed."""


def with_epochs(
    options: TaskTrainingOptions, count: int, *, iterations: int | None = None, lr: float | None = None
) -> TaskTrainingOptions:
    """Length, learning rate and warm-up of MAE's recipe: 100 epochs, 5 of them warm-up, 5e-4 per 256 images.

    Args:
        options: `epochs` overrides the recipe's; `iterations` and `lr` are ignored.
        count: number of images.
        iterations: length in iterations instead of epochs.
        lr: peak learning rate; None for the recipe's.

    Raises:
        UsageError: both epochs and iterations are given.
    """
    if options.epochs is not None and iterations:
        raise UsageError("give --epochs or --iterations, not both")
    together = options.batch_size * int(os.environ.get("WORLD_SIZE", "1"))
    per_epoch = count / together
    length = iterations or math.ceil((options.epochs or EPOCHS) * per_epoch)
    rate = LR_PER_256 * together * options.accumulate / 256 if lr is None else lr
    return replace(options, iterations=length, lr=rate, warmup=max(1, round(WARMUP_EPOCHS * per_epoch)))


def model_request(
    dataset: TrainingSet,
    options: FineTuningOptions,
    head: Mapping[str, Any],
    pool: Pool | Literal["weights"] | None = None,
) -> ModelRequest:
    """The model to make for a training set; `head` are further arguments for its head, `pool` is what it reads."""
    return ModelRequest(
        classes=dataset.categories,
        head=head,
        synthetic=dataset.synthetic,
        image_size=options.image_size,
        stem=options.stem,
        pool=pool,
    )


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """One fine-tuning: model, images, patches and loss.

    Attributes:
        kind: name of the command.
        vit: model with [B, C] logits through `forward_head`; it has the trained weights in the end.
        config: arguments that build it.
        dataset: images and targets.
        policy: patches of an image that it gets.
        options: options of the fine-tuning.
        objective: the loss.
        extra: further entries of the record of the training, JSON-able.
        assumptions: one line for each thing that was assumed of the initial weights.
        mix: mixes a batch and its targets before patches are chosen.
        crop: True to crop photos at random, False to squash them.
    """

    kind: str
    vit: VisionTransformer
    config: Mapping[str, Any]
    dataset: TrainingSet
    policy: PatchPolicy
    options: FineTuningOptions
    objective: Objective
    extra: Mapping[str, Any]
    assumptions: tuple[str, ...] = ()
    mix: Mix | None = None
    crop: bool = True

    def augmentation(self) -> Augmentation:
        """Augmentation of the images."""
        if self.dataset.synthetic:
            return FlipsAndTurns()
        return PhotoAugmentation(
            int(self.config["image_size"]), tuple(self.config["mean"]), self.options.augment, self.crop
        )


def fine_tune(job: FineTuning, training: TrainingOptions) -> dict[str, Any]:
    """Train `job.vit`; returns the record of the training.

    Raises:
        UsageError, InputError: options, images or weights do not fit.
    """
    size = int(job.config["image_size"])
    mean, std = tuple(job.config["mean"]), tuple(job.config["std"])
    grid = grid_of(job.vit, size, size)
    augment, options = job.augmentation(), job.options
    keeper = PatchKeeper(job.policy, grid, mean, std)
    scores = _scores(job, training, size, grid) if options.cache_scores else None
    record = {
        "what": job.kind,
        "data": job.dataset.name,
        "pictures": job.dataset.count,
        "revision": job.dataset.revision,
        **job.policy.identity(),
        **augment.identity(),
        "layer_decay": options.layer_decay,
        "drop_path": options.drop_path,
        "erasing": options.erasing,
        "ema": options.ema,
        "cache_scores": options.cache_scores,
        **job.extra,
        **training.recipe(),
    }
    stream = LabelledStream(job.dataset, augment, training.images_drawn, training.seed, scores)
    model = LossModel(job.vit, _loss(keeper, job.objective, options.erasing, job.mix), mean, std, training.seed)
    extras = LoopExtras(
        hooks=averaged(options.ema),
        optim_wrapper=layer_decay(options.layer_decay),
        assumptions=(*job.assumptions, *keeper.assumptions),
    )
    train(model, stream, training, {**record, "model": dict(job.config)}, extras)
    load_into(job.vit, trained_state(training.out), f"the {job.kind} trained in {training.out.name}")
    return record


def _scores(job: FineTuning, training: TrainingOptions, size: int, grid: tuple[int, int]) -> np.ndarray:
    if job.policy.selector is None:
        raise UsageError("--cache-scores needs a selector: add --selector NAME")
    maps = ScoreMaps(
        dataset=job.dataset,
        selector=job.policy.selector,
        size=size,
        grid=grid,
        seed=training.seed,
        skip_unreadable=training.skip_bad_images,
    )
    device = use_device(training.device)
    return cached_scores(maps, training.out / "scores", device=device, workers=max(1, training.workers))


def _loss(keeper: PatchKeeper, objective: Objective, erasing: float, mix: Mix | None) -> Callable[..., Tensor]:
    """Loss for `LossModel`; a closure, as averaging copies the model and must not copy the selector."""
    if not 0 <= erasing <= 1:
        raise UsageError(f"--erasing {erasing} is not in [0, 1]")
    eraser = RandomErasing(erasing, mode="pixel", max_count=1, device="cpu")

    def loss(module: Any, images: Tensor, targets: Tensor, *rest: Any) -> Tensor:
        generator: torch.Generator = rest[-1]
        scores = rest[0] if len(rest) > 1 else None
        # Mixing, erasing, stochastic depth and dropout draw from the global generators.
        with seeded(int(torch.randint(2**31, (), generator=generator)), images.device):
            if erasing:
                eraser.device = images.device
                images = eraser(images)
            if mix is not None:
                images, targets, scores = mixed(mix, images, targets, scores)
            kept = keeper(images, generator, scores)
            return objective(forward_kept(module, images, kept).float(), targets)

    return loss


def mixed(mix: Mix, images: Tensor, targets: Tensor, scores: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mix images and targets, and the images' scores [B, gh, gw] in the same way."""
    if scores is None:
        return *mix(images, targets), None
    # Scores are a fourth channel, so that they are mixed and cut like the colors.
    plane = torch.nn.functional.interpolate(scores[:, None].to(images.dtype), size=images.shape[2:], mode="nearest")
    both, targets = mix(torch.cat([images, plane], 1), targets)
    after = torch.nn.functional.adaptive_avg_pool2d(both[:, 3:], (scores.shape[1], scores.shape[2]))[:, 0]
    return both[:, :3].contiguous(memory_format=torch.channels_last), targets, after
