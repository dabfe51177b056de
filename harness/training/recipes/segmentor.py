"""`ltrp-bench train segmentor`: a plain ViT with a light head, on whole images or on kept patches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from ltrp_bench.harness.training.data.semantic import IGNORED, SemanticFiles, SemanticShapes
from ltrp_bench.harness.training.fine_tuning import start_from
from ltrp_bench.harness.training.loop import LossModel, TrainingOptions, train, trained_state
from ltrp_bench.harness.training.patch_policy import WHOLE, PatchKeeper, PatchPolicy
from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, resolve, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.semantic import BACKGROUND, MaskSemanticDataset
from ltrp_bench.tasks.data.shapes.world import CATEGORIES, WORLD_SEEDS
from ltrp_bench.tasks.models.segmentors.plain_vit import LinearHead, PlainSegmentor, build_segmentor, on_grid, upsampled
from ltrp_bench.tasks.models.vit.token_dropping import grid_of


@dataclass(frozen=True)
class SegmentorOptions:
    """What is trained. Where `init` is a segmentor of the same classes, its own head and stem stay.

    Attributes:
        head: "linear" or "mask-transformer".
        cells: along a patch's side.
        depth: blocks of a mask transformer.
        stem: "conv" or "patch"; None for that of the weights it starts from.
        missing: what stands for dropped patches: "zero" or "token".
        stem_loss: weight of the loss of a linear head on the stem's tokens, which is left behind after training.
        image_size: side of the input in pixels; None for that of the weights.
    """

    head: str = "linear"
    cells: int = 4
    depth: int = 1
    stem: str | None = None
    missing: str = "token"
    stem_loss: float = 0.5
    image_size: int | None = None


def train_segmentor(
    options: TrainingOptions,
    what: SegmentorOptions,
    keep: PatchPolicy = WHOLE,
    init: str | Path = "mae.shapes",
    source: MaskSemanticDataset | None = None,
    num_images: int = 40_000,
    judged: int = 300,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": for `build_segmentor`, "training": how it was made}.

    Args:
        options: of the loop.
        what: the model.
        keep: which patches of an image it gets.
        init: a masked autoencoder, a plain ViT or a segmentor to start from.
        source: images with class maps; None for scenes of the built-in world's training images.
        images: of the built-in world, how many different ones.
        judged: images of the validation world for the accuracy in "training"; 0 measures none.

    Raises:
        UsageError, InputError: options, images or weights that do not fit.
    """
    torch.manual_seed(options.seed)
    classes = (BACKGROUND, *CATEGORIES) if source is None else source.classes
    config, state = _start(init, what, classes, source is None)
    net = build_segmentor(config)
    taken = {k: v for k, v in state.items() if k in net.state_dict() and v.shape == net.state_dict()[k].shape}
    load_into(net, {**net.state_dict(), **taken}, "a segmentor")
    if net.encoder.pos_embed is not None and source is None:
        net.encoder.pos_embed.requires_grad_(False)  # sine-cosine, as the autoencoder knew them
    size, (mean, std) = int(config["image_size"]), (tuple(config["mean"]), tuple(config["std"]))
    stream: Dataset[Any]
    if source is None:
        stream = SemanticShapes(num_images, options.draws, options.seed)
        training: dict[str, Any] = {"data": "shapes, scenes", "pictures": num_images, "revision": stream.revision}
    else:
        stream = SemanticFiles(source, size, mean, options.draws, options.seed)
        training = {"data": "files", "pictures": len(source), "revision": source.revision}
    training |= {
        "what": "segmentor",
        "init_sha256": sha256_of(resolve(init)),
        "init_tensors": len(taken),
        "stem": config["stem"],
        "stem_loss": what.stem_loss,
        **keep.identity(),
        **config["segmentor"],
        **options.recipe(),
    }
    taught = TaughtSegmentor(net)
    keeper = PatchKeeper(keep, grid_of(net.encoder, size, size), mean, std)
    train(LossModel(taught, _loss(what.stem_loss, keeper), mean, std, options.seed), stream, options, training)
    load_into(taught, trained_state(options.out), f"the segmentor trained in {options.out.name}")
    if judged and source is None:
        training["accuracy"] = round(object_accuracy(net.eval(), judged, mean, std), 4)
    return {"state": net.state_dict(), "config": config, "training": training}


def _start(
    init: str | Path, what: SegmentorOptions, classes: tuple[str, ...], shapes: bool
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """`build_segmentor`'s words, and tensors to start from under the segmentor's names."""
    path = resolve(init)
    own = json.loads(load_metadata(path).get("config", "{}"))
    if own.get("classes") == list(classes) and "segmentor" in own and what.image_size in (None, own["image_size"]):
        if what.stem not in (None, own.get("stem", "patch")):
            raise UsageError(f"--stem {what.stem}: {path.name} has a stem of its own, which stays")
        return {**own, "segmentor": {**own["segmentor"], "missing": what.missing}}, load_state(path)
    config, state = start_from(path, classes, {}, shapes, what.image_size, what.stem)
    head: dict[str, Any] = {"head": what.head, "cells": what.cells, "missing": what.missing}
    if what.head == "mask-transformer":
        head |= {"dim": config["embed_dim"], "depth": what.depth, "heads": config["heads"]}
    bare = {key: value for key, value in state.items() if not key.startswith("head.")}
    return {**config, "segmentor": head}, {f"encoder.{key}": value for key, value in bare.items()}


class TaughtSegmentor(nn.Module):
    """A segmentor and a linear head on its stem's tokens (deep supervision), as they are trained."""

    def __init__(self, net: PlainSegmentor) -> None:
        super().__init__()
        self.net = net
        self.stem_head = LinearHead(net.encoder.embed_dim, net.decoder.classes, cells=net.decoder.cells)


def _loss(stem_loss: float, keeper: PatchKeeper) -> Callable[..., Tensor]:
    """For `LossModel`: every pixel's class, of dropped patches too."""

    def loss(module: Any, images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        total = _cross_entropy(module.net(images, keeper(images, generator)), classes)
        if stem_loss:
            tokens = module.net.encoder.patch_embed(images)
            total = total + stem_loss * _cross_entropy(on_grid(module.stem_head(tokens), keeper.grid), classes)
        return total

    return loss


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    size = (int(classes.shape[1]), int(classes.shape[2]))
    return F.cross_entropy(upsampled(logits.float(), size), classes.long(), ignore_index=IGNORED)


@torch.no_grad()
def object_accuracy(
    net: PlainSegmentor, count: int, mean: tuple[float, ...], std: tuple[float, ...], batch: int = 50
) -> float:
    """Share of the objects' pixels that are called by their category, on whole images of the validation world."""
    stream = SemanticShapes(count, count, 0, WORLD_SEEDS["val"])
    device = next(net.parameters()).device
    shift, scale = (torch.tensor(x, device=device).view(1, 3, 1, 1) * 255 for x in (mean, std))
    right = whole = 0
    for first in range(0, count, batch):
        pairs = [stream[i] for i in range(first, min(first + batch, count))]
        images, classes = (torch.stack(part).to(device) for part in zip(*pairs, strict=True))
        logits = net((images.float() - shift) / scale)
        found = upsampled(logits, (int(classes.shape[1]), int(classes.shape[2]))).argmax(1)
        objects = classes > 0
        right += int((found == classes)[objects].sum())
        whole += int(objects.sum())
    return right / whole
