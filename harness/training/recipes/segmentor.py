"""`ltrp-bench train segmentor`: a plain ViT with a light head, on whole images or on kept patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltrp_bench.harness.training.data.order import TrainingStream, batches
from ltrp_bench.harness.training.data.semantic import IGNORE_INDEX, SemanticFiles, SemanticShapes, semantic_files
from ltrp_bench.harness.training.fine_tuning import InitialState, ModelRequest, fitting, initial_state, initial_weights
from ltrp_bench.harness.training.loop import LoopExtras, train
from ltrp_bench.harness.training.loss_model import LossModel
from ltrp_bench.harness.training.options.tasks import SegmentorOptions
from ltrp_bench.harness.training.options.training import SHAPES, TrainingOptions
from ltrp_bench.harness.training.patch_policy import WHOLE, PatchKeeper, PatchPolicy
from ltrp_bench.harness.training.pixels import normalize_bytes
from ltrp_bench.harness.training.training_folder import TrainedModel, trained_state
from ltrp_bench.selectors.checkpoints import load_into, load_state, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.vit.embedding import grid_of
from ltrp_bench.selectors.vit.hub import located
from ltrp_bench.selectors.vit.vit_files import own_config
from ltrp_bench.tasks.data.semantic import BACKGROUND
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, WORLD_SEEDS
from ltrp_bench.tasks.models.segmentors.plain_vit import LinearHead, PlainSegmentor, build_segmentor, on_grid, upsampled


def train_segmentor(
    options: SegmentorOptions, training: TrainingOptions, policy: PatchPolicy = WHOLE, *, eval_images: int = 300
) -> TrainedModel:
    """Train a segmentor; its config is for `build_segmentor`.

    Args:
        options: options of the recipe.
        training: options of the loop.
        policy: patches of an image that the model gets.
        eval_images: validation images of `shapes` for the accuracy in "training"; 0 skips it.

    Raises:
        UsageError, InputError: options, images or weights do not fit.
    """
    shapes = options.data == SHAPES
    init = initial_weights(options.init, shapes)
    source = None if shapes else semantic_files(options.data, options.form, options.subset, options)
    torch.manual_seed(training.seed)
    classes = (BACKGROUND, *CATEGORIES) if source is None else source.classes
    config, state, assumptions = _initial_segmentor(init, options, classes)
    net = build_segmentor(config)
    taken = fitting(state, net)
    load_into(net, {**net.state_dict(), **taken}, "a segmentor")
    if net.encoder.pos_embed is not None and shapes:
        net.encoder.pos_embed.requires_grad_(False)  # sine-cosine, as in the autoencoder
    size, (mean, std) = int(config["image_size"]), (tuple(config["mean"]), tuple(config["std"]))
    stream: TrainingStream
    if source is None:
        stream = SemanticShapes(options.num_images, training.images_drawn, training.seed)
        data = {"data": "shapes, scenes", "pictures": options.num_images}
    else:
        stream = SemanticFiles(source, size, mean, training.images_drawn, training.seed)
        data = {"data": "files", "pictures": len(source)}
    record = {
        **data,
        "revision": stream.revision,
        "what": "segmentor",
        "init_sha256": sha256_of(located(init)),
        "init_tensors": len(taken),
        "stem": config["stem"],
        "stem_loss": options.stem_loss,
        **policy.identity(),
        **config["segmentor"],
        **training.recipe(),
    }
    module = SupervisedSegmentor(net)
    keeper = PatchKeeper(policy, grid_of(net.encoder, size, size), mean, std)
    model = LossModel(module, _loss(options.stem_loss, keeper), mean, std, training.seed)
    train(model, stream, training, record, LoopExtras(assumptions=(*assumptions, *keeper.assumptions)))
    load_into(module, trained_state(training.out), f"the segmentor trained in {training.out.name}")
    if eval_images and shapes:
        record["accuracy"] = round(object_accuracy(net.eval(), eval_images, mean, std), 4)
    return {"state": net.state_dict(), "config": config, "training": record}


def _initial_segmentor(init: str, options: SegmentorOptions, classes: tuple[str, ...]) -> InitialState:
    """Arguments of `build_segmentor`, the tensors to start from under the segmentor's names, and what was assumed."""
    path = located(init)
    own = own_config(path)
    if own.get("classes") == list(classes) and "segmentor" in own and options.image_size in (None, own["image_size"]):
        if options.stem not in (None, own.get("stem", "patch")):
            raise UsageError(f"--stem {options.stem}: {path.name} already has a stem; leave out --stem")
        segmentor = {**own["segmentor"], "missing": options.missing}
        return InitialState({**own, "segmentor": segmentor}, load_state(path), ())
    request = ModelRequest(
        classes=classes, synthetic=options.data == SHAPES, image_size=options.image_size, stem=options.stem
    )
    config, state, assumptions = initial_state(path, request)
    head: dict[str, Any] = {"head": options.head, "cells": options.cells, "missing": options.missing}
    if options.head == "mask-transformer":
        head |= {"dim": config["embed_dim"], "depth": options.depth, "heads": config["heads"]}
    bare = {key: value for key, value in state.items() if not key.startswith("head.")}
    tensors = {f"encoder.{key}": value for key, value in bare.items()}
    return InitialState({**config, "segmentor": head}, tensors, assumptions)


class SupervisedSegmentor(nn.Module):
    """A segmentor, and a linear head on its stem's tokens that is dropped after training (deep supervision)."""

    def __init__(self, net: PlainSegmentor) -> None:
        super().__init__()
        self.net = net
        self.stem_head = LinearHead(net.encoder.embed_dim, net.decoder.classes, cells=net.decoder.cells)


def _loss(stem_loss: float, keeper: PatchKeeper) -> Callable[..., Tensor]:
    """Loss for `LossModel`: cross-entropy of all pixels, those of dropped patches included."""

    def loss(module: Any, images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        total = _cross_entropy(module.net(images, keeper(images, generator)), classes)
        if stem_loss:
            tokens = module.net.encoder.patch_embed(images)
            total = total + stem_loss * _cross_entropy(on_grid(module.stem_head(tokens), keeper.grid), classes)
        return total

    return loss


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    size = (int(classes.shape[1]), int(classes.shape[2]))
    return F.cross_entropy(upsampled(logits.float(), size), classes.long(), ignore_index=IGNORE_INDEX)


@torch.no_grad()
def object_accuracy(net: PlainSegmentor, count: int, mean: tuple[float, ...], std: tuple[float, ...]) -> float:
    """Share of the objects' pixels that are classified correctly, on whole validation images of `shapes`."""
    stream = SemanticShapes(count, count, 0, WORLD_SEEDS["val"])
    device = next(net.parameters()).device
    correct = total = 0
    for images, classes in batches(stream, count):
        logits = net(normalize_bytes(images.to(device), mean, std))
        found = upsampled(logits, (int(classes.shape[1]), int(classes.shape[2]))).argmax(1).cpu()
        objects = classes > 0
        correct += int((found == classes)[objects].sum())
        total += int(objects.sum())
    return correct / total
