"""`ltrp-bench train vit|evit|dynamicvit|cropr|gfnet`: supervised selectors, trained on `shapes`."""

from __future__ import annotations

import typer

from ltrp_bench.harness.cli.train_card import ExportOptions, export_weights
from ltrp_bench.harness.training.options.selectors import (
    CroprOptions,
    GFNetOptions,
    GFNetTrainingOptions,
    SupervisedOptions,
)
from ltrp_bench.harness.training.options.training import TrainingOptions


def vit(context: typer.Context, options: SupervisedOptions, training: TrainingOptions, export: ExportOptions) -> None:
    """Train a plain ViT classifier, the backbone of Grad-CAM and attention rollout."""
    from ltrp_bench.harness.training.recipes.vit import train_vit

    export.set_up()
    export_weights("vit", train_vit(options, training), training.out, export, context.obj)


def evit(context: typer.Context, options: SupervisedOptions, training: TrainingOptions, export: ExportOptions) -> None:
    """Train EViT, with a keep rate that falls during training as published."""
    from ltrp_bench.harness.training.recipes.evit import train_evit

    export.set_up()
    export_weights("evit", train_evit(options, training), training.out, export, context.obj)


def dynamicvit(
    context: typer.Context, options: SupervisedOptions, training: TrainingOptions, export: ExportOptions
) -> None:
    """Train DynamicViT, distilled from the ViT that it starts from."""
    from ltrp_bench.harness.training.recipes.dynamicvit import train_dynamicvit

    export.set_up()
    export_weights("dynamicvit", train_dynamicvit(options, training), training.out, export, context.obj)


def cropr(context: typer.Context, options: CroprOptions, training: TrainingOptions, export: ExportOptions) -> None:
    """Train Cropr: after each block a query learns, by a classifier of its own, which tokens to drop."""
    from ltrp_bench.harness.training.recipes.cropr import train_cropr

    export.set_up()
    export_weights("cropr", train_cropr(options, training), training.out, export, context.obj)


def gfnet(context: typer.Context, options: GFNetOptions, training: GFNetTrainingOptions, export: ExportOptions) -> None:
    """Train GFNet (glance and focus) in three stages; in the second, PPO trains the policy that places the crops."""
    from ltrp_bench.harness.training.recipes.gfnet import train_gfnet

    export.set_up()
    export_weights("gfnet", train_gfnet(options, training), training.out, export, context.obj)
