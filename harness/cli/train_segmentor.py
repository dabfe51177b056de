"""`ltrp-bench train segmentor`."""

from __future__ import annotations

from pathlib import Path

import typer

from ltrp_bench.harness.cli.train import (
    ACCUMULATE,
    AMP,
    BATCH,
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
    training_options,
)
from ltrp_bench.harness.cli.train_selectors import train_app
from ltrp_bench.selectors.errors import UsageError

__all__ = ["train_app"]  # with this command and the rivals' on it


@train_app.command()
def segmentor(
    context: typer.Context,
    out: Path = OUT,
    data: str = typer.Option("shapes", help="`shapes`, or the folder of a data set."),
    form: str = typer.Option(
        "ade20k", "--format", metavar="ade20k | voc | context | cocostuff", help="Of that folder."
    ),
    subset: str | None = typer.Option(None, help="Of that data set; its training images if not given."),
    init: str | None = typer.Option(
        None, help="Weights to start from: a masked autoencoder, a plain ViT or a segmentor; mae.shapes on shapes."
    ),
    selector: str | None = typer.Option(None, help="Who chooses the patches; random fields, fair to all, if nobody."),
    keep_ratio: str = typer.Option(
        "1", metavar="R | random", help="Share of patches kept; random: another each batch."
    ),
    weights: str | None = typer.Option(None, metavar="FILE", help="Weights of the selector."),
    selector_option: list[str] = typer.Option([], metavar="key=value", help="Option of the selector; repeat."),
    fold: int = typer.Option(0, min=0, max=1, help="On shapes: which half supervised selectors were taught."),
    head: str = typer.Option("linear", metavar="linear | mask-transformer", help="Behind the ViT."),
    cells: int | None = typer.Option(None, min=1, help="Along a patch's side, each with a class; 4 on shapes, else 1."),
    depth: int = typer.Option(1, min=1, help="Blocks of the mask transformer."),
    stem: str | None = typer.Option(None, metavar="conv | patch", help="What makes tokens; conv on shapes."),
    missing: str = typer.Option("token", metavar="zero | token", help="What stands where nothing was kept."),
    stem_loss: float | None = typer.Option(None, min=0, help="Weight of the stem's own loss; 0.5 on shapes, else 0."),
    image_size: int | None = typer.Option(None, min=8, help="Side in pixels; that of the weights if not given."),
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
    """A plain ViT that gives every pixel a class, on whole images or on kept patches."""
    from ltrp_bench.harness.training.data.semantic import semantic_files
    from ltrp_bench.harness.training.patch_policy import patch_policy
    from ltrp_bench.harness.training.recipes.segmentor import SegmentorOptions, train_segmentor

    shapes = data == "shapes"
    if init is None and not shapes:
        raise UsageError("--init: give the weights to start from, a masked autoencoder's or a plain ViT's")
    domain = [f"shapes{fold}", "shapes"] if shapes else "photos"
    keep = patch_policy(keep_ratio, selector, weights, selector_option, domain)
    source = None if shapes else semantic_files(data, form, subset)
    if shapes and init is None and stem is None:
        stem = "conv"
    cells = cells or (4 if shapes else 1)
    early = (0.5 if shapes else 0.0) if stem_loss is None else stem_loss
    options = training_options(context)
    what = SegmentorOptions(head, cells, depth, stem, missing, early, image_size)
    made = train_segmentor(options, what, keep, init or "mae.shapes", source, num_images)
    finish("segmentor", made, out, export, context.obj)
