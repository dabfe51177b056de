"""`ltrp-bench train segmentor`: a plain ViT with a light head, on whole pictures or on kept patches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from ltrp_bench.harness.pictures import ShapesStream, turned
from ltrp_bench.harness.training import LossModel, TrainingOptions, train, trained_state
from ltrp_bench.selectors.backbones import load_backbone
from ltrp_bench.selectors.checkpoints import load_into, load_metadata, load_state, resolve, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae_files import load_mae
from ltrp_bench.selectors.token_vit import config_of
from ltrp_bench.selectors.topk import count_kept
from ltrp_bench.tasks.data.shapes import CATEGORIES, MEAN, PATCH, SIZE, STD, WORLD_SEEDS
from ltrp_bench.tasks.data.shapes_draw import power_noise
from ltrp_bench.tasks.segmentors.plain_vit import LinearHead, PlainSegmentor, build_segmentor, on_grid, upsampled

GRID = SIZE // PATCH
BACKGROUND = "background"
LEAST_RATIO = 0.1


@dataclass(frozen=True)
class SegmentorOptions:
    """What is trained.

    Attributes:
        head: "linear" or "mask-transformer".
        cells: along a patch's side.
        depth: blocks of a mask transformer.
        stem: "conv" or "patch"; where `init` is a segmentor, its own stays.
        missing: what stands for dropped patches: "zero" or "token".
        keep_ratio: 1 for whole pictures, "random" for a ratio a batch in [0.1, 1] and patches by random fields.
        stem_loss: weight of the loss of a linear head on the stem's tokens, which is left behind after training.
    """

    head: str = "mask-transformer"
    cells: int = 4
    depth: int = 1
    stem: str = "conv"
    missing: str = "token"
    keep_ratio: str = "1"
    stem_loss: float = 0.5


class SemanticShapes(Dataset[tuple[Tensor, Tensor]]):
    """Scenes of the training world with their class maps, flipped and turned; a sample depends on (seed, position).

    Items are (image [3, 96, 96] uint8, classes [96, 96] uint8: 0 background, 1 + category elsewhere).
    """

    def __init__(self, pictures: int, length: int, seed: int, world_seed: int = WORLD_SEEDS["train"]) -> None:
        self._stream = ShapesStream(pictures, length, seed, world_seed)
        self.revision = self._stream.revision
        self._kept = np.zeros((pictures, SIZE, SIZE, 4), np.uint8)
        self._drawn = np.zeros(pictures, bool)

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        index, rng = self._stream.draw(position)
        if not self._drawn[index]:
            picture = self._stream.world.picture(index)
            self._kept[index, ..., :3], self._kept[index, ..., 3] = picture.image, picture.semantic
            self._drawn[index] = True
        both = turned(self._kept[index], int(rng.integers(4)), bool(rng.integers(2)))
        planes = torch.from_numpy(np.ascontiguousarray(both.transpose(2, 0, 1)))
        return planes[:3], planes[3]


def train_segmentor(
    options: TrainingOptions,
    what: SegmentorOptions,
    init: str | Path = "mae.shapes",
    pictures: int = 40_000,
    judged: int = 300,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": for `build_segmentor`, "training": how it was made}.

    Args:
        options: of the loop.
        what: model and reduction.
        init: a masked autoencoder, whose encoder is taken; or a segmentor made by this command.
        pictures: how many different ones.
        judged: pictures of the validation world for the pixel accuracy in "training"; 0 measures none.

    Raises:
        UsageError, InputError: options or weights that do not fit.
    """
    if what.keep_ratio not in ("1", "random"):
        raise UsageError(f"--keep-ratio {what.keep_ratio}: write 1 or random")
    torch.manual_seed(options.seed)
    config = _config(init, what)
    net = build_segmentor(config)
    taken = start(net, init)
    training = {
        "what": "segmentor",
        "data": "shapes, scenes",
        "pictures": pictures,
        "init_sha256": sha256_of(resolve(init)),
        "init_tensors": taken,
        "keep_ratio": what.keep_ratio,
        "stem_loss": what.stem_loss,
        **config["segmentor"],
        **options.recipe(),
    }
    taught = TaughtSegmentor(net)
    model = LossModel(taught, _loss(what), MEAN, STD, options.seed)
    train(model, SemanticShapes(pictures, options.draws, options.seed), options, training)
    load_into(taught, trained_state(options.out), f"the segmentor trained in {options.out.name}")
    if judged:
        training["accuracy"] = round(pixel_accuracy(net.eval(), judged), 4)
    return {"state": net.state_dict(), "config": config, "training": training}


def _config(init: str | Path, what: SegmentorOptions) -> dict[str, Any]:
    """For `build_segmentor`: of a segmentor its own, else the encoder's shape under a new head."""
    path = resolve(init)
    own = json.loads(load_metadata(path).get("config", "{}"))
    names = [BACKGROUND, *CATEGORIES]
    if "segmentor" in own:
        return {**own, "segmentor": {**own["segmentor"], "missing": what.missing}}
    found = load_mae(path).config if "mask_token" in load_state(path) else config_of(load_backbone(path).model)
    shape = {key: found[key] for key in ("image_size", "patch_size", "embed_dim", "depth", "heads", "mlp_ratio")}
    head = {"head": what.head, "cells": what.cells, "missing": what.missing}
    if what.head == "mask-transformer":
        head |= {"dim": shape["embed_dim"], "depth": what.depth, "heads": shape["heads"]}
    return {
        **shape,
        "stem": what.stem,
        "classes": names,
        "mean": list(MEAN),
        "std": list(STD),
        "crop_pct": 1.0,
        "segmentor": head,
    }


def start(net: PlainSegmentor, init: str | Path) -> int:
    """Take what fits by name and shape from a masked autoencoder, a ViT or a segmentor; returns how many tensors."""
    state = load_state(resolve(init))
    if not any(key.startswith("encoder.") for key in state):
        state = {f"encoder.{key}": value for key, value in state.items()}
    mine = net.state_dict()
    taken = {key: value for key, value in state.items() if key in mine and value.shape == mine[key].shape}
    load_into(net, {**mine, **taken}, "a segmentor")
    if net.encoder.pos_embed is not None:
        net.encoder.pos_embed.requires_grad_(False)  # sine-cosine, as the autoencoder knew them
    return len(taken)


class TaughtSegmentor(nn.Module):
    """A segmentor and a linear head on its stem's tokens (deep supervision), as they are trained."""

    def __init__(self, net: PlainSegmentor) -> None:
        super().__init__()
        self.net = net
        self.stem_head = LinearHead(net.encoder.embed_dim, net.decoder.classes, net.decoder.cells)


def _loss(what: SegmentorOptions) -> Any:
    def loss(module: Any, images: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        indices = random_patches(len(images), generator).to(images.device) if what.keep_ratio == "random" else None
        total = _cross_entropy(module.net(images, indices), classes)
        if what.stem_loss:
            tokens = module.net.encoder.patch_embed(images)
            total = total + what.stem_loss * _cross_entropy(on_grid(module.stem_head(tokens), (GRID, GRID)), classes)
        return total

    return loss


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(upsampled(logits.float(), (SIZE, SIZE)), classes.long())


def random_patches(batch: int, generator: torch.Generator) -> Tensor:
    """[B, k] int64: patches kept at one ratio drawn from [0.1, 1], each picture's by a random field of its own.

    The fields lie between white noise and smooth blobs, so that no selector's way of choosing is favoured.
    """
    ratio = LEAST_RATIO + (1 - LEAST_RATIO) * float(torch.rand((), generator=generator))
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    kept = count_kept(ratio, GRID * GRID)
    fields = [power_noise(rng, GRID, float(rng.uniform(0, 2)), 1)[0].ravel() for _ in range(batch)]
    return torch.from_numpy(np.stack([np.sort(np.argsort(-field)[:kept]) for field in fields]))


@torch.no_grad()
def pixel_accuracy(net: PlainSegmentor, count: int, batch: int = 50) -> float:
    """Share of the objects' pixels that are called by their category, on whole pictures of the validation world."""
    stream = SemanticShapes(count, count, 0, WORLD_SEEDS["val"])
    device = next(net.parameters()).device
    mean, std = (torch.tensor(x, device=device).view(1, 3, 1, 1) * 255 for x in (MEAN, STD))
    right = whole = 0
    for first in range(0, count, batch):
        pairs = [stream[i] for i in range(first, min(first + batch, count))]
        images, classes = (torch.stack(part).to(device) for part in zip(*pairs, strict=True))
        found = upsampled(net((images.float() - mean) / std), (SIZE, SIZE)).argmax(1)
        objects = classes > 0
        right += int((found == classes)[objects].sum())
        whole += int(objects.sum())
    return right / whole
