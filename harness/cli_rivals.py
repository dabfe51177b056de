"""`ltrp-bench train vit|evit|dynamicvit|gfnet|dino`: the rivals, on the built-in world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

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
    train_app,
    use_threads,
)

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
        from ltrp_bench.harness.train_classifier import ClassifierOptions, train_classifier
        from ltrp_bench.harness.training import TrainingOptions

        use_threads(threads)
        options = TrainingOptions(
            out=out,
            iterations=iterations,
            batch_size=batch_size,
            lr=lr,
            accumulate=accumulate,
            amp=amp,
            workers=workers,
            save_every=save_every,
            seed=seed,
            device=device,
        )
        teaching = ClassifierOptions(fold, stem, tuple(window), smoothing)
        finish(kind, train_classifier(kind, options, teaching, init, pictures), out, export, context.obj)

    command.__doc__ = what
    return command


for _kind, _what in (
    ("vit", "A ViT classifier: what Grad-CAM and attention rollout read."),
    ("evit", "EViT, its keep rate falling as published."),
    ("dynamicvit", "DynamicViT, distilled from the ViT it starts from."),
):
    train_app.command(_kind)(_classifier(_kind, _what))
