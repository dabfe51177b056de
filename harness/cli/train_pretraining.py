"""`ltrp-bench train mae|ltrp|dino`: training without labels."""

from __future__ import annotations

import typer

from ltrp_bench.harness.cli.train_card import ExportOptions, export_weights
from ltrp_bench.harness.training.options.pretraining import (
    CropOptions,
    DinoOptions,
    DinoTrainingOptions,
    LtrpOptions,
    MaeOptions,
)
from ltrp_bench.harness.training.options.training import TrainingOptions


def mae(context: typer.Context, options: MaeOptions, training: TrainingOptions, export: ExportOptions) -> None:
    """Train a masked autoencoder, without labels."""
    from ltrp_bench.harness.training.recipes.mae import train_mae

    export.set_up()
    export_weights("mae", train_mae(options, training), training.out, export, context.obj)


def ltrp(context: typer.Context, options: LtrpOptions, training: TrainingOptions, export: ExportOptions) -> None:
    """Train LTRP's ranker, without labels, on the semantic density of a frozen masked autoencoder."""
    from ltrp_bench.harness.training.recipes.ltrp import train_ltrp

    export.set_up()
    export_weights("ltrp", train_ltrp(options, training), training.out, export, context.obj)


def dino(
    context: typer.Context,
    options: DinoOptions,
    crops: CropOptions,
    training: DinoTrainingOptions,
    export: ExportOptions,
) -> None:
    """Train DINO, without labels: a student matches its own moving average on crops of an image."""
    from ltrp_bench.harness.training.recipes.dino import train_dino

    export.set_up()
    export_weights("dino", train_dino(options, training, crops), training.out, export, context.obj)
