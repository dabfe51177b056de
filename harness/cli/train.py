"""`ltrp-bench train`: the commands that make weights, collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import typer

from ltrp_bench.harness.cli import train_pretraining, train_selectors, train_tasks
from ltrp_bench.harness.cli.options import options_command

COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "mae": train_pretraining.mae,
    "ltrp": train_pretraining.ltrp,
    "dino": train_pretraining.dino,
    "vit": train_selectors.vit,
    "evit": train_selectors.evit,
    "dynamicvit": train_selectors.dynamicvit,
    "cropr": train_selectors.cropr,
    "gfnet": train_selectors.gfnet,
    "classifier": train_tasks.classifier,
    "multilabel": train_tasks.multilabel,
    "segmentor": train_tasks.segmentor,
    "detector": train_tasks.detector,
}

train_app = typer.Typer(
    name="train",
    no_args_is_help=True,
    help="Train selectors and task models; the same command resumes an interrupted run.",
)
for _name, _command in COMMANDS.items():
    options_command(train_app, _name)(_command)
