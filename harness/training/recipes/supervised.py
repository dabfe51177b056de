"""Supervised selectors (ViT, EViT, DynamicViT, Cropr): common parts of their training.

They are trained on one fold's single-label view of `shapes`, and start from the same masked autoencoder's
encoder, or from a ViT trained by this command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ltrp_bench.harness.training.data.single_label import CLASSES, LabelledShapes, label_set, seen_accuracy, vit_or_mae
from ltrp_bench.harness.training.loop import train
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.selectors import SupervisedOptions
from ltrp_bench.harness.training.options.training import TrainingOptions
from ltrp_bench.harness.training.training_folder import TrainedModel, trained_state
from ltrp_bench.selectors.checkpoints import load_into, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.backbones import Backbone, build_vit
from ltrp_bench.selectors.vit.blocks import config_of
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, MEAN, PATCH, SIZE, STD, seen_categories

GRID = SIZE // PATCH

Kind = Literal["vit", "evit", "dynamicvit", "cropr"]
Loss = Callable[..., Tensor]
"""(module, images, labels, boxes, generator, progress=share of the training done) -> scalar loss."""


def initial_vit(options: SupervisedOptions) -> VisionTransformer:
    """A classifier of the fold's seen categories: a trained ViT, or a new one on a masked autoencoder's encoder.

    Raises:
        UsageError: the ViT was trained on other labels.
    """
    found = vit_or_mae(options.init, options.fold)
    if isinstance(found, Backbone):
        vit = found.model.train().requires_grad_(True)
    else:
        own = found.config
        shape = {key: own[key] for key in ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio")}
        vit = build_vit({**shape, "classes": CLASSES, "stem": options.stem})
        mine = vit.state_dict()
        left_out = "patch_embed." if options.stem == "conv" else "-"
        taken = {k: v for k, v in found.state_dict().items() if k in mine and not k.startswith(left_out)}
        load_into(vit, {**mine, **taken}, "the encoder of a MAE")
    # Sine-cosine position embeddings stay frozen, as in the autoencoder.
    vit.pos_embed.requires_grad_(False)
    return vit


def require_whole_images(kind: Kind, options: SupervisedOptions) -> None:
    """`UsageError` if windows are given to a method that is trained on whole images."""
    if set(options.window) != {GRID}:
        raise UsageError(f"--window: {kind} is trained on whole images; windows are for vit")


def fit_supervised(
    kind: Kind,
    net: nn.Module,
    vit: VisionTransformer,
    loss: Loss,
    used: Mapping[str, Any],
    options: SupervisedOptions,
    training: TrainingOptions,
) -> dict[str, Any]:
    """Train `net`, which has the trained weights in the end; returns the record of the training.

    Args:
        kind: name of the command.
        net: the module that is trained.
        vit: the ViT inside.
        loss: its loss.
        used: options of the recipe that determine the weights, besides those that all kinds share.
        options: options of the recipe.
        training: options of the loop.
    """
    record = {
        "what": kind,
        "data": f"shapes, single-label/{options.fold}",
        "pictures": options.num_images,
        "init_sha256": sha256_of(located(options.init)),
        "fold": options.fold,
        "stem": config_of(vit)["stem"],
        **used,
        **training.recipe(),
    }
    stream = LabelledShapes(options.fold, options.num_images, training.images_drawn, training.seed, boxes=True)

    def loss_at_iteration(*given: Any) -> Tensor:
        return loss(*given, progress=model.iteration / training.iterations)

    model = LossModel(net, loss_at_iteration, MEAN, STD, training.seed)
    train(model, stream, training, record)
    load_into(net, trained_state(training.out), f"the {kind} trained in {training.out.name}")
    return record


def trained_selector(
    net: nn.Module, state: dict[str, Tensor], config: Mapping[str, Any], record: dict[str, Any], eval_images: int
) -> TrainedModel:
    """Result of a supervised training, with its accuracy on `eval_images` validation images of `shapes` (0: none)."""
    fold = int(record["fold"])
    if eval_images:
        device = next(net.eval().parameters()).device
        record = {**record, "accuracy": round(float(seen_accuracy(net, fold, eval_images, device=device)), 4)}
    names = sorted(seen_categories(fold), key=CATEGORIES.index)
    full = {**config, "classes": names, "label_set": label_set(fold), "mean": list(MEAN), "std": list(STD)}
    return {"state": state, "config": full, "training": record}
