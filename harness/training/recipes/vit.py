"""`ltrp-bench train vit`: a plain ViT classifier, the backbone of Grad-CAM and attention rollout.

An object fills a twentieth of an image, and a small plain ViT that is trained on whole images stays at chance for a
long time. Two things help: a convolutional stem instead of the patch projection, with a linear classifier on the mean
of its tokens during training (deep supervision, Lee et al., AISTATS 2015), and windows: at first only the patches
around the labeled object are shown, with their own positions; the windows then widen to the whole image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.harness.training.data.single_label import CLASSES
from ltrp_bench.harness.training.options.selectors import SupervisedOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.recipes.supervised import GRID, fit_supervised, initial_vit, trained_selector
from ltrp_bench.harness.training.training_folder import TrainedModel
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.backbones import embedded
from ltrp_bench.selectors.vit.blocks import config_of
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.tasks.data.shapes.world import PATCH


class ViTWithStemHead(nn.Module):
    """A ViT, and a classifier of its stem's tokens that is dropped after training."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit
        self.stem_head = nn.Linear(vit.embed_dim, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, classes] logits of the ViT."""
        logits: Tensor = self.vit(images)
        return logits


def train_vit(options: SupervisedOptions, training: TrainingOptions, *, eval_images: int = 1000) -> TrainedModel:
    """Train a ViT classifier; its config is for `build_vit`.

    Args:
        options: options of the recipe.
        training: options of the loop.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options or weights do not fit.
    """
    windows = options.window
    if not windows or any(not 2 <= side <= GRID for side in windows):
        raise UsageError(f"--window: sides of 2 to {GRID} patches, not {list(windows)}")
    torch.manual_seed(training.seed)
    vit = initial_vit(options)
    net = ViTWithStemHead(vit)

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        side = windows[min(len(windows) - 1, int(progress * len(windows)))]
        seen = None if side == GRID else window_around(boxes, side, generator).to(images.device)
        logits, patches = forward_patches(module.vit, images, seen)
        early = F.cross_entropy(module.stem_head(patches.mean(1)).float(), labels)
        final = F.cross_entropy(logits.float(), labels, label_smoothing=options.smoothing)
        return final + options.stem_loss * early

    used = {"smoothing": options.smoothing, "windows": list(windows), "stem_loss": options.stem_loss}
    record = fit_supervised("vit", net, vit, loss, used, options, training)
    return trained_selector(net, vit.state_dict(), config_of(vit), record, eval_images)


def forward_patches(vit: VisionTransformer, images: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Logits [B, classes] and embeddings [B, n, D] of all patches, or of those in `seen` ([B, n] raster indices)."""
    patches = vit.patch_embed(images)
    x = embedded(vit, patches)
    if seen is not None:
        x, patches = torch.cat([x[:, :1], take(x[:, 1:], seen)], dim=1), take(patches, seen)
    return vit.forward_head(vit.norm(vit.blocks(x))), patches


def window_around(boxes: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Patches of a random square window that contains the box, or as much of it as fits.

    Args:
        boxes: [B, 4] (x, y, width, height) in pixels.
        side: side of the window in patches.
        generator: randomness of the window's position.

    Returns:
        [B, side * side] int64 raster indices.
    """
    start, end = boxes[:, :2].cpu() / PATCH, (boxes[:, :2] + boxes[:, 2:]).cpu() / PATCH
    least = (end - side).ceil().clamp(0, GRID - side)
    most = start.floor().clamp(0, GRID - side)
    # A box larger than the window: the window lies in the middle of the box.
    middle = ((start + end - side) / 2).round().clamp(0, GRID - side)
    least, most = torch.where(most < least, middle, least), torch.where(most < least, middle, most)
    corner = least + (torch.rand(least.shape, generator=generator) * (most - least + 1)).floor().minimum(most - least)
    column, row = corner.long().unbind(1)
    step = torch.arange(side)
    return ((row[:, None] + step)[:, :, None] * GRID + (column[:, None] + step)[:, None, :]).flatten(1)
