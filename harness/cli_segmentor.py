"""`ltrp-bench train segmentor`."""

from __future__ import annotations

from pathlib import Path

import typer

from ltrp_bench.harness.cli_rivals import train_app
from ltrp_bench.harness.cli_train import (
    ACCUMULATE,
    AMP,
    BATCH,
    DEBUG,
    DEVICE,
    EXPORT,
    ITERATIONS,
    LR,
    OUT,
    PICTURES,
    SAVE,
    SEED,
    THREADS,
    WORKERS,
    finish,
    training_options,
)

__all__ = ["train_app"]  # with this command and the rivals' on it


@train_app.command()
def segmentor(
    context: typer.Context,
    out: Path = OUT,
    init: str = typer.Option(
        "mae.shapes", help="Start from this masked autoencoder's or ViT's encoder, or a segmentor."
    ),
    keep_ratio: str = typer.Option(
        "1", metavar="1 | random", help="Whole pictures, or random patches at random ratios."
    ),
    head: str = typer.Option("mask-transformer", metavar="linear | mask-transformer", help="Behind the ViT."),
    cells: int = typer.Option(4, min=1, help="Along a patch's side, each with a class of its own."),
    depth: int = typer.Option(1, min=1, help="Blocks of the mask transformer."),
    stem: str = typer.Option("conv", metavar="conv | patch", help="What makes tokens of pixels."),
    missing: str = typer.Option("token", metavar="zero | token", help="What stands where nothing was kept."),
    stem_loss: float = typer.Option(0.5, min=0, help="Weight of the stem's own loss."),
    export: Path | None = EXPORT,
    pictures: int = PICTURES,
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
    """A plain ViT segmentor of the built-in world, on whole pictures or on kept patches."""
    from ltrp_bench.harness.train_segmentor import SegmentorOptions, train_segmentor

    options = training_options(context)
    what = SegmentorOptions(head, cells, depth, stem, missing, keep_ratio, stem_loss)
    finish("segmentor", train_segmentor(options, what, init, pictures), out, export, context.obj)
