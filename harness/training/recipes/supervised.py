"""`ltrp-bench train vit|evit|dynamicvit`: the supervised rivals, on one fold's single-label view of the built-in world.

All start from the same masked autoencoder's encoder, or from a ViT made so. An object fills a twentieth of an image,
and a small plain ViT that is shown whole images stays at chance for a long time. Two things help: a convolutional
stem in the place of the patch projection, with a classifier of its own in training (the mean of its tokens, linear;
deep supervision, Lee et al., AISTATS 2015), and windows: at first only the patches around the labelled object are
shown, at their own places; the windows then widen to the whole image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.harness.training.data.single_label import CLASSES, LabelledShapes, label_set, seen_accuracy, vit_or_mae
from ltrp_bench.harness.training.loop import LossModel, TrainingOptions, train, trained_state
from ltrp_bench.selectors.checkpoints import load_into, load_state, resolve, sha256_of
from ltrp_bench.selectors.dynamicvit.losses import dynamicvit_loss, teacher_outputs
from ltrp_bench.selectors.dynamicvit.selector import DynamicViT
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.evit import KEEP_RATE, EViT, shrinking_keep_rate
from ltrp_bench.selectors.pruning_stages import quarter_stages
from ltrp_bench.selectors.vit.backbones import Backbone, build_vit, embedded
from ltrp_bench.selectors.vit.blocks import config_of
from ltrp_bench.selectors.vit.layers import take
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD, seen_categories

GRID = SIZE // PATCH

Loss = Callable[..., Tensor]
"""(module, images, labels, boxes, generator, progress=share of the training done) -> scalar."""


@dataclass(frozen=True)
class ClassifierOptions:
    """How a supervised rival is taught.

    Attributes:
        fold: 0 or 1: which half of the categories is labelled.
        stem: "conv" (see `selectors.stem`) or "patch", the masked autoencoder's own projection; where `init` is a ViT,
            its own stays.
        windows: sides, in patches, of what is shown of an image, each for an equal share of the training; 12 is the
            whole image. Only "vit" can be shown less.
        smoothing: of the labels.
        stem_loss: weight of the loss of the stem's own classifier, which is left behind after training ("vit").
    """

    fold: int = 0
    stem: str = "conv"
    windows: tuple[int, ...] = (GRID,)
    smoothing: float = 0.1
    stem_loss: float = 0.5


def train_classifier(
    kind: str,
    options: TrainingOptions,
    teaching: ClassifierOptions,
    init: str | Path = "mae.shapes",
    num_images: int = 40_000,
    judged: int = 1000,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": for `build_vit`, "training": how it was made}.

    Args:
        kind: "vit", "evit" or "dynamicvit".
        options: of the loop.
        teaching: how it is taught.
        init: a masked autoencoder, whose encoder is taken, or a ViT made by this command, of the same fold; for
            "dynamicvit" such a ViT is the teacher too, as published (none otherwise).
        images: how many different ones.
        judged: images of the validation world for the accuracy in "training"; 0 measures none.
    """
    _check(kind, teaching)
    torch.manual_seed(options.seed)
    vit = start_from(init, teaching)
    # An autoencoder's encoder under a new classifier has nothing to teach a DynamicViT.
    taught = "mask_token" not in load_state(resolve(init))
    net, loss = _OBJECTIVES[kind](vit, teaching, taught)
    training = {
        "what": kind,
        "data": f"shapes, single-label/{teaching.fold}",
        "pictures": num_images,
        "init_sha256": sha256_of(resolve(init)),
        **_used(kind, teaching, net),
        **options.recipe(),
    }
    stream = LabelledShapes(teaching.fold, num_images, options.draws, options.seed, boxes=True)

    def at_this_point(*given: Any) -> Tensor:
        return loss(*given, progress=model.iteration / options.iterations)

    model = LossModel(net, at_this_point, MEAN, STD, options.seed)
    train(model, stream, options, training)
    load_into(net, trained_state(options.out), f"the {kind} trained in {options.out.name}")
    if isinstance(net, EViT):
        net.keep_rate = KEEP_RATE
    if judged:
        device = next(net.eval().parameters()).device
        training["accuracy"] = round(float(seen_accuracy(net, teaching.fold, judged, device=device)), 4)
    return {"state": _published(net), "config": _config(net, teaching.fold), "training": training}


def _used(kind: str, teaching: ClassifierOptions, net: nn.Module) -> dict[str, Any]:
    """The options that made a net, and no others."""
    vit = cast(VisionTransformer, net.vit)
    used: dict[str, Any] = {"fold": teaching.fold, "stem": config_of(vit)["stem"]}
    if kind != "dynamicvit":
        used["smoothing"] = teaching.smoothing
    if kind == "vit":
        used |= {"windows": list(teaching.windows), "stem_loss": teaching.stem_loss}
    return used


def _check(kind: str, teaching: ClassifierOptions) -> None:
    if kind not in _OBJECTIVES:
        raise UsageError(f"no classifier {kind!r}; there are {', '.join(_OBJECTIVES)}")
    if teaching.fold not in (0, 1):
        raise UsageError(f"shapes has folds 0 and 1, got {teaching.fold}")
    if teaching.stem not in ("conv", "patch"):
        raise UsageError(f"a stem is conv or patch, got {teaching.stem!r}")
    if not teaching.windows or any(not 2 <= side <= GRID for side in teaching.windows):
        raise UsageError(f"windows are sides of 2 to {GRID} patches, got {list(teaching.windows)}")
    if kind != "vit" and set(teaching.windows) != {GRID}:
        raise UsageError(f"{kind} ranks whole images: windows are for vit")


def start_from(init: str | Path, teaching: ClassifierOptions) -> VisionTransformer:
    """A classifier of the fold's seen categories: a trained ViT, or a new one on a masked autoencoder's encoder.

    Raises:
        UsageError: a ViT that was taught another label set.
    """
    found = vit_or_mae(init, teaching.fold)
    if isinstance(found, Backbone):
        vit = found.model.train().requires_grad_(True)
    else:
        own = found.config
        shape = {key: own[key] for key in ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio")}
        vit = build_vit({**shape, "classes": CLASSES, "stem": teaching.stem})
        mine = vit.state_dict()
        stem = "patch_embed." if teaching.stem == "conv" else "-"
        taken = {k: v for k, v in found.state_dict().items() if k in mine and not k.startswith(stem)}
        load_into(vit, {**mine, **taken}, "the encoder of a MAE")
    # Sine-cosine positions stay as the autoencoder knew them.
    vit.pos_embed.requires_grad_(False)
    return vit


class TaughtVit(nn.Module):
    """A ViT and the classifier of its stem's tokens, as they are trained."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit
        self.stem_head = nn.Linear(vit.embed_dim, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, classes], the ViT's."""
        return self.vit(images)


def _vit(vit: VisionTransformer, teaching: ClassifierOptions, taught: bool) -> tuple[nn.Module, Loss]:
    windows = teaching.windows

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        side = windows[min(len(windows) - 1, int(progress * len(windows)))]
        seen = None if side == GRID else window_around(boxes, side, generator).to(images.device)
        logits, patches = look(module.vit, images, seen)
        early = F.cross_entropy(module.stem_head(patches.mean(1)).float(), labels)
        return F.cross_entropy(logits.float(), labels, label_smoothing=teaching.smoothing) + teaching.stem_loss * early

    return TaughtVit(vit), loss


def _evit(vit: VisionTransformer, teaching: ClassifierOptions, taught: bool) -> tuple[nn.Module, Loss]:
    """EViT, its keep rate falling as published."""

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        module.keep_rate = shrinking_keep_rate(progress)
        return F.cross_entropy(module(images).float(), labels, label_smoothing=teaching.smoothing)

    return EViT(vit, quarter_stages(len(vit.blocks)), KEEP_RATE), loss


def _dynamicvit(vit: VisionTransformer, teaching: ClassifierOptions, taught: bool) -> tuple[nn.Module, Loss]:
    """DynamicViT, distilled from the whole ViT it starts from, where that was `taught`."""
    teacher = copy.deepcopy(vit).eval().requires_grad_(False)

    def loss(
        module: Any, images: Tensor, labels: Tensor, boxes: Tensor, generator: torch.Generator, progress: float
    ) -> Tensor:
        teacher.to(images.device)
        out = module.training_forward(images, generator)
        known = teacher_outputs(teacher, images) if taught else None
        return torch.stack([*dynamicvit_loss(out, labels, module.token_ratio, known).values()]).sum()

    return DynamicViT(vit, quarter_stages(len(vit.blocks))), loss


_OBJECTIVES = {"vit": _vit, "evit": _evit, "dynamicvit": _dynamicvit}


def look(vit: VisionTransformer, images: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Logits [B, classes] and embeddings [B, n, D] of all patches, or of the `seen` ones ([B, n] indices) alone."""
    patches = vit.patch_embed(images)
    x = embedded(vit, patches)
    if seen is not None:
        x, patches = torch.cat([x[:, :1], take(x[:, 1:], seen)], dim=1), take(patches, seen)
    return vit.forward_head(vit.norm(vit.blocks(x))), patches


def window_around(boxes: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Patches of a random square window that holds the box, or as much of it as it can.

    Args:
        boxes: [B, 4] (x, y, width, height) in pixels.
        side: of the window, in patches.
        generator: of the window's place.

    Returns:
        [B, side * side] int64 raster indices.
    """
    start, end = boxes[:, :2].cpu() / PATCH, (boxes[:, :2] + boxes[:, 2:]).cpu() / PATCH
    least = (end - side).ceil().clamp(0, GRID - side)
    most = start.floor().clamp(0, GRID - side)
    # A box larger than the window: the window lies in its middle.
    middle = ((start + end - side) / 2).round().clamp(0, GRID - side)
    least, most = torch.where(most < least, middle, least), torch.where(most < least, middle, most)
    corner = least + (torch.rand(least.shape, generator=generator) * (most - least + 1)).floor().minimum(most - least)
    column, row = corner.long().unbind(1)
    step = torch.arange(side)
    return ((row[:, None] + step)[:, :, None] * GRID + (column[:, None] + step)[:, None, :]).flatten(1)


def _published(net: nn.Module) -> dict[str, Tensor]:
    """The state dict under the keys that official files have."""
    if isinstance(net, DynamicViT):
        return net.published_state()
    return cast(nn.Module, net.vit).state_dict()


def _config(net: Any, fold: int) -> dict[str, Any]:
    """What a file says of itself, for `load_backbone`."""
    own = config_of(net.vit) if isinstance(net, TaughtVit) else net.config
    names = sorted(seen_categories(fold), key=CATEGORIES.index)
    return {**own, "classes": names, "label_set": label_set(fold), "mean": list(MEAN), "std": list(STD)}
