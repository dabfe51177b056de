"""`ltrp-bench train vit|evit|dynamicvit|gfnet|dino`: the rivals, on the built-in world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from ltrp_bench.harness.cli.train import (
    ACCUMULATE,
    AMP,
    BATCH,
    DATA,
    DEBUG,
    DEVICE,
    EXPORT,
    ITERATIONS,
    LR,
    NUM_IMAGES,
    OUT,
    SAVE,
    SEED,
    THREADS,
    WORKERS,
    finish,
    train_app,
    training_options,
)

__all__ = ["train_app"]  # with the rivals' commands on it

FOLD = typer.Option(0, min=0, max=1, help="Which half of the categories is labelled.")
INIT = typer.Option("mae.shapes", help="Start from this masked autoencoder's encoder, or a ViT of the same fold.")


def _classifier(kind: str, what: str) -> Callable[..., None]:
    def command(
        context: typer.Context,
        out: Path = OUT,
        fold: int = FOLD,
        init: str = INIT,
        stem: str = typer.Option("conv", metavar="conv | patch", help="What makes tokens of pixels."),
        window: list[int] = typer.Option(
            [12], help="Side, in patches, of what is shown around the labelled object; repeats, in order (vit alone)."
        ),
        smoothing: float = typer.Option(0.1, min=0, max=0.9, help="Of the labels."),
        stem_loss: float = typer.Option(0.5, min=0, help="Weight of the stem's own loss (vit alone)."),
        export: Path | None = EXPORT,
        num_images: int = NUM_IMAGES,
        iterations: int = ITERATIONS,
        batch_size: int = BATCH,
        lr: float = LR,
        accumulate: int = ACCUMULATE,
        amp: str = AMP,
        workers: int = WORKERS,
        save_every: int = SAVE,
        seed: int = SEED,
        device: str = DEVICE,
        threads: int = THREADS,
        debug: bool = DEBUG,
    ) -> None:
        from ltrp_bench.harness.training.recipes.supervised import ClassifierOptions, train_classifier

        options = training_options(context)
        teaching = ClassifierOptions(fold, stem, tuple(window), smoothing, stem_loss)
        finish(kind, train_classifier(kind, options, teaching, init, num_images), out, export, context.obj)

    command.__doc__ = what
    return command


for _kind, _what in (
    ("vit", "A ViT classifier: what Grad-CAM and attention rollout read."),
    ("evit", "EViT, its keep rate falling as published."),
    ("dynamicvit", "DynamicViT, distilled from the ViT it starts from."),
):
    train_app.command(_kind)(_classifier(_kind, _what))


@train_app.command()
def gfnet(
    context: typer.Context,
    out: Path = OUT,
    fold: int = FOLD,
    init: str = INIT,
    stage_iterations: tuple[int, int, int] = typer.Option((3000, 1500, 1000), min=0, help="Of the three stages."),
    stage_lr: tuple[float, float, float] = typer.Option((1e-3, 1e-3, 3e-4), help="Peak learning rate of each stage."),
    crop: int = typer.Option(48, min=8, help="Side of a crop in pixels."),
    glances: int = typer.Option(5, min=2, help="Looks in all: the glance and the crops."),
    pool: str = typer.Option("avg", metavar="avg | max | token", help="What the classifier reads of a crop's tokens."),
    export: Path | None = EXPORT,
    num_images: int = NUM_IMAGES,
    batch_size: int = BATCH,
    amp: str = AMP,
    workers: int = WORKERS,
    save_every: int = SAVE,
    seed: int = SEED,
    device: str = DEVICE,
    threads: int = THREADS,
    debug: bool = DEBUG,
) -> None:
    """GFNet (glance and focus) in its three stages; the second teaches where to look, by PPO."""
    from typing import Any, cast

    from ltrp_bench.harness.training.recipes.gfnet import GFNetOptions, train_gfnet

    # Iterations and learning rate are each stage's own.
    options = training_options(context, iterations=1)
    teaching = GFNetOptions(fold, stage_iterations, stage_lr, crop, glances, pool=cast(Any, pool))
    finish("gfnet", train_gfnet(options, teaching, num_images, init), out, export, context.obj)


@train_app.command()
def dino(
    context: typer.Context,
    out: Path = OUT,
    data: str = DATA,
    mae: str = typer.Option("mae.shapes", help="The masked autoencoder whose encoder it starts from."),
    local_crops: int = typer.Option(4, min=0, help="Small crops an image, beside the two large ones."),
    export: Path | None = EXPORT,
    num_images: int = NUM_IMAGES,
    iterations: int = typer.Option(2000, min=1, help="Optimiser steps."),
    batch_size: int = BATCH,
    lr: float = typer.Option(2e-4, help="Peak learning rate."),
    weight_decay: float = typer.Option(0.04, min=0, help="Of AdamW."),
    amp: str = AMP,
    workers: int = WORKERS,
    save_every: int = SAVE,
    seed: int = SEED,
    device: str = DEVICE,
    threads: int = THREADS,
    debug: bool = DEBUG,
) -> None:
    """DINO, without labels: a student that agrees with its own slow average on crops of an image."""
    from ltrp_bench.harness.training.data.multi_crop import CropOptions
    from ltrp_bench.harness.training.recipes.dino import DinoOptions, train_dino

    options = training_options(context)
    how = DinoOptions(crops=CropOptions(local_crops=local_crops))
    finish("dino", train_dino(data, options, how, mae, num_images), out, export, context.obj)
