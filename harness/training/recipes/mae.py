"""`ltrp-bench train mae`: a masked autoencoder from scratch, on `shapes` or any folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltrp_bench.harness.training.data.unlabelled import FolderStream, ImageStream, ShapesStream
from ltrp_bench.harness.training.loop import LossModel, TrainingOptions, train, trained_state
from ltrp_bench.selectors.base import IMAGENET_MEAN, IMAGENET_STD
from ltrp_bench.selectors.checkpoints import load_into, load_state, resolve, sha256_of
from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.selectors.ltrp.mae import MAE
from ltrp_bench.tasks.data.shapes import world as shapes

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {
        "embed_dim": 128,
        "depth": 4,
        "heads": 4,
        "decoder_dim": 64,
        "decoder_depth": 3,
        "decoder_heads": 4,
    },
    "small": {
        "embed_dim": 384,
        "depth": 12,
        "heads": 6,
        "decoder_dim": 256,
        "decoder_depth": 4,
        "decoder_heads": 8,
    },
    "base": {
        "embed_dim": 768,
        "depth": 12,
        "heads": 12,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
    "large": {
        "embed_dim": 1024,
        "depth": 24,
        "heads": 16,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
    "huge": {
        "embed_dim": 1280,
        "depth": 32,
        "heads": 16,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
    },
}


def open_stream(data: str, size: int, length: int, seed: int, num_images: int) -> ImageStream:
    """Training images of `data`: "shapes" or a folder of images."""
    if data == "shapes":
        if size != shapes.SIZE:
            raise UsageError(f"images of shapes are {shapes.SIZE} pixels wide, --size {size} does not fit")
        return ShapesStream(num_images, length, seed)
    return FolderStream(Path(data), size, length, seed)


def normalisation(data: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of a training set's pixels in [0, 1]: those of `shapes`, else ImageNet's."""
    return (shapes.MEAN, shapes.STD) if data == "shapes" else (IMAGENET_MEAN, IMAGENET_STD)


def train_mae(
    data: str,
    options: TrainingOptions,
    preset: str = "tiny",
    size: int = 96,
    patch: int = 8,
    mask_ratio: float = 0.75,
    norm_pix: bool = True,
    num_images: int = 40_000,
    init: str | Path | None = None,
) -> dict[str, Any]:
    """Train, and return {"state": state dict, "config": constructor arguments, "training": how it was made}.

    Args:
        data: "shapes" or a folder of images.
        options: of the loop.
        preset: sizes, see `PRESETS`.
        size, patch: of images and patches, in pixels.
        mask_ratio: share of patches hidden.
        norm_pix: predict pixels normalised per patch.
        images: how many different images of `shapes`.
        init: weights to start from (a file or a shipped tag) instead of random ones.
    """
    if preset not in PRESETS:
        raise UsageError(f"no MAE preset {preset!r}; there are {', '.join(PRESETS)}")
    mean, std = normalisation(data)
    torch.manual_seed(options.seed)
    model = MAE(image_size=size, patch_size=patch, norm_pix_loss=norm_pix, mean=mean, std=std, **PRESETS[preset])
    if init is not None:
        load_into(model, load_state(resolve(init)), f"the MAE preset {preset!r}")

    def loss(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        assert isinstance(module, MAE)
        return module.training_loss(images, mask_ratio, generator)

    stream = open_stream(data, size, options.draws, options.seed, num_images)
    training = {
        "what": "mae",
        "data": "shapes" if data == "shapes" else "images",
        "pictures": min(stream.num_images, options.draws),
        "revision": stream.revision,
        "mask_ratio": mask_ratio,
        "init_sha256": None if init is None else sha256_of(resolve(init)),
        **options.recipe(),
    }
    train(LossModel(model, loss, mean, std, options.seed), stream, options, {**training, "model": model.config})
    return {"state": trained_state(options.out), "config": model.config, "training": training}
