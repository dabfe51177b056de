"""Fine-tuning plain ViTs for tasks, on whole images or on kept patches: what all tasks share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.data.random_erasing import RandomErasing
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ltrp_bench.harness.training.augmentation import Augmentation, FlipsAndTurns, PhotoAugmentation, seeded
from ltrp_bench.harness.training.data.labelled import Taught, TaughtStream
from ltrp_bench.harness.training.fine_tuning import averaged, layer_decay
from ltrp_bench.harness.training.loop import LoopExtras, LossModel, TrainingOptions, train, trained_state, use_device
from ltrp_bench.harness.training.patch_policy import PatchKeeper, PatchPolicy
from ltrp_bench.harness.training.score_maps import whole_scores
from ltrp_bench.selectors.checkpoints import load_into
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.models.vit.token_dropping import forward_kept, grid_of

EPOCHS, WARMUP_EPOCHS, LR_OF_256 = 100, 5, 5e-4

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C] float32, targets) -> scalar."""
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images [B, c, H, W], targets) -> the same, mixed."""


@dataclass(frozen=True)
class Tuning:
    """What every task's fine-tuning shares; the defaults are MAE's (He et al., 2022, table 9).

    Attributes:
        layer_decay: factor a layer of the learning rate, in (0, 1].
        drop_path: stochastic depth of the last block.
        augment: RandAugment in timm's words, or "none"; photos only.
        erasing: probability that a rectangle of an image is erased with noise (timm's "pixel" mode).
        ema: decay of the averaged weights that are kept in the end; 0 keeps the last ones.
        cache_scores: ask the selector once about each whole image, and move the scores with the augmentation's
            geometry; else it looks at every augmented image.
    """

    layer_decay: float = 0.65
    drop_path: float = 0.1
    augment: str = "rand-m9-mstd0.5-inc1"
    erasing: float = 0.25
    ema: float = 0.0
    cache_scores: bool = False


PHOTOS_TUNING = Tuning()
SHAPES_TUNING = Tuning(layer_decay=1.0, drop_path=0.0, augment="none", erasing=0.0)
"""Of the built-in world: hue and texture are its labels, so colours stay; a small net, so all layers learn alike."""


def with_epochs(options: TrainingOptions, count: int, epochs: int | None, lr: float | None) -> TrainingOptions:
    """The recipe's length and learning rate where none is given: 100 epochs, 5 of them warm-up, 5e-4 a batch of 256.

    Args:
        options: `iterations` of 0 stands for "not given".
        count: images.
        epochs: passes over them; None for 100. UsageError together with iterations.
        lr: peak learning rate; None for the recipe's.
    """
    if epochs is not None and options.iterations:
        raise UsageError("give --epochs or --iterations, not both")
    together = options.batch_size * int(os.environ.get("WORLD_SIZE", "1"))
    an_epoch = count / together
    iterations = options.iterations or math.ceil((epochs or EPOCHS) * an_epoch)
    rate = LR_OF_256 * together * options.accumulate / 256 if lr is None else lr
    return replace(options, iterations=iterations, lr=rate, warmup=max(1, round(WARMUP_EPOCHS * an_epoch)))


def finetune(
    what: str,
    vit: VisionTransformer,
    config: Mapping[str, Any],
    taught: Taught,
    keep: PatchPolicy,
    options: TrainingOptions,
    tuning: Tuning,
    objective: Objective,
    training: dict[str, Any],
    mix: Mix | None = None,
    crop: bool = True,
) -> dict[str, Any]:
    """Train `vit`, which then has the trained weights; returns how it was made.

    Args:
        what: the command's name.
        vit: gives [B, C] logits through `forward_head`.
        config: its words.
        taught: images and targets.
        keep: which patches of an image it gets.
        options: of the loop.
        tuning: of the fine-tuning.
        objective: the loss.
        training: what else makes the result, JSON-able.
        mix: what is done to a batch and its targets before patches are chosen.
        crop: photos are cropped at random, else squashed.

    Raises:
        UsageError, InputError: options, images or weights that do not fit.
    """
    size, (mean, std) = int(config["image_size"]), (tuple(config["mean"]), tuple(config["std"]))
    grid = grid_of(vit, size, size)
    augment: Augmentation = FlipsAndTurns() if taught.drawn else PhotoAugmentation(size, mean, tuning.augment, crop)
    keeper = PatchKeeper(keep, grid, mean, std)
    scores = None
    if tuning.cache_scores:
        if keep.selector is None:
            raise UsageError("--cache-scores keeps a selector's scores: name it with --selector")
        place = use_device(options.device)
        folder, workers = options.out / "scores", max(1, options.workers)
        scores = whole_scores(taught, keep.selector, size, grid, folder, options.seed, place, workers=workers)
    made = {
        "what": what,
        "data": taught.name,
        "pictures": taught.count,
        "revision": taught.revision,
        **keep.identity(),
        **augment.identity(),
        **{key: getattr(tuning, key) for key in ("layer_decay", "drop_path", "erasing", "ema", "cache_scores")},
        **training,
        **options.recipe(),
    }
    stream = TaughtStream(taught, augment, options.draws, options.seed, scores)
    model = LossModel(vit, _loss(keeper, objective, tuning.erasing, mix), mean, std, options.seed)
    train(
        model,
        stream,
        options,
        {**made, "model": dict(config)},
        LoopExtras(averaged(tuning.ema), layer_decay(tuning.layer_decay)),
    )
    load_into(vit, trained_state(options.out), f"the {what} trained in {options.out.name}")
    return made


def _loss(keeper: PatchKeeper, objective: Objective, erasing: float, mix: Mix | None) -> Callable[..., Tensor]:
    """For `LossModel`; a closure, as averaging copies the model and must not copy the selector."""
    if not 0 <= erasing <= 1:
        raise UsageError(f"--erasing {erasing}: a probability in [0, 1]")
    eraser = RandomErasing(erasing, mode="pixel", max_count=1, device="cpu")

    def loss(module: Any, images: Tensor, targets: Tensor, *more: Any) -> Tensor:
        generator: torch.Generator = more[-1]
        scores = more[0] if len(more) > 1 else None
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
    """Images and targets, and the images' scores [B, gh, gw] in just the same way."""
    if scores is None:
        return *mix(images, targets), None
    # As one more channel: mixing and cutting are the same for all of them.
    plane = torch.nn.functional.interpolate(scores[:, None].to(images.dtype), size=images.shape[2:], mode="nearest")
    both, targets = mix(torch.cat([images, plane], 1), targets)
    after = torch.nn.functional.adaptive_avg_pool2d(both[:, 3:], (scores.shape[1], scores.shape[2]))[:, 0]
    return both[:, :3].contiguous(memory_format=torch.channels_last), targets, after
