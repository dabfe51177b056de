"""`ltrp-bench train classifier|multilabel`: plain ViTs for tasks, on whole images or on kept patches."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ltrp_bench.harness.cli.train import (
    ACCUMULATE,
    AMP,
    DEBUG,
    DEVICE,
    EXPORT,
    NUM_IMAGES,
    OUT,
    SAVE,
    SEED,
    THREADS,
    WORKERS,
    finish,
    training_options,
)
from ltrp_bench.harness.cli.train_segmentor import train_app

if TYPE_CHECKING:
    from ltrp_bench.harness.training.data.labelled import Taught
    from ltrp_bench.harness.training.loop import TrainingOptions
    from ltrp_bench.harness.training.patch_policy import PatchPolicy

__all__ = ["train_app"]  # with these commands and all others on it

SHAPES_ITERATIONS = 3_400

INIT = typer.Option(
    None, help="Weights to start from: a masked autoencoder, a plain ViT or a segmentor; mae.shapes on shapes."
)
SELECTOR = typer.Option(None, help="Who chooses the patches; random fields, fair to all, if nobody.")
KEEP_RATIO = typer.Option("1", metavar="R | random", help="Share of patches kept; random: another each batch.")
WEIGHTS = typer.Option(None, metavar="FILE", help="Weights of the selector.")
SELECTOR_OPTION = typer.Option([], metavar="key=value", help="Option of the selector; repeat.")
CACHE = typer.Option(False, "--cache-scores", help="Ask the selector once an image; its scores move with the crop.")
FOLD = typer.Option(0, min=0, max=1, help="On shapes: which half of the categories supervised selectors were taught.")
IMAGE_SIZE = typer.Option(None, min=8, help="Side in pixels; that of the weights if not given.")
STEM = typer.Option(None, metavar="conv | patch", help="What makes tokens of pixels; that of the weights.")
LAYER_DECAY = typer.Option(None, help="Factor a layer of the learning rate; 0.65, on shapes 1.")
DROP_PATH = typer.Option(None, help="Stochastic depth; 0.1, on shapes 0.")
AUGMENT = typer.Option(None, help="RandAugment in timm's words, or none; photos only.")
ERASING = typer.Option(None, help="Probability that a rectangle is erased.")
EMA = typer.Option(None, help="Decay of averaged weights; 0 for none.")
BATCH = typer.Option(64, min=1, help="Images an iteration and process.")
ITERATIONS = typer.Option(None, min=1, help=f"Iterations; {SHAPES_ITERATIONS} on shapes.")
EPOCHS = typer.Option(None, min=1, help="Passes over the images, in the place of --iterations; 100 on photos.")
LR = typer.Option(None, help="Peak learning rate; 1e-3 on shapes, 5e-4 a batch of 256 on photos.")
WEIGHT_DECAY = typer.Option(0.05, min=0, help="Of AdamW.")


@train_app.command()
def classifier(
    context: typer.Context,
    out: Path = OUT,
    data: str = typer.Option("shapes", help="`shapes`, or a folder with train/CLASS/ (ImageNet-1K or your own)."),
    subset: str = typer.Option("train", help="Folder of the training images in it."),
    init: str | None = INIT,
    selector: str | None = SELECTOR,
    keep_ratio: str = KEEP_RATIO,
    weights: str | None = WEIGHTS,
    selector_option: list[str] = SELECTOR_OPTION,
    cache_scores: bool = CACHE,
    fold: int = FOLD,
    image_size: int | None = IMAGE_SIZE,
    stem: str | None = STEM,
    layer_decay: float | None = LAYER_DECAY,
    drop_path: float | None = DROP_PATH,
    augment: str | None = AUGMENT,
    erasing: float | None = ERASING,
    ema: float | None = EMA,
    smoothing: float = typer.Option(0.1, help="Of the labels."),
    mixup: float | None = typer.Option(None, help="Alpha of mixup; 0.8, on shapes 0 for none."),
    cutmix: float | None = typer.Option(None, help="Alpha of CutMix; 1, on shapes 0 for none."),
    export: Path | None = EXPORT,
    num_images: int = NUM_IMAGES,
    epochs: int | None = EPOCHS,
    iterations: int | None = ITERATIONS,
    batch_size: int = BATCH,
    lr: float | None = LR,
    weight_decay: float = WEIGHT_DECAY,
    accumulate: int = ACCUMULATE,
    amp: str = AMP,
    workers: int = WORKERS,
    save_every: int = SAVE,
    seed: int = SEED,
    device: str = DEVICE,
    threads: int = THREADS,
    debug: bool = DEBUG,
) -> None:
    """A plain ViT with one label an image, by the recipe of MAE's fine-tuning."""
    from ltrp_bench.harness.training.data.labelled import SHAPES, labelled_files, shapes_taught
    from ltrp_bench.harness.training.recipes.classifier import PHOTOS_MIXING, SHAPES_MIXING, train_classifier
    from ltrp_bench.harness.training.task_tuning import PHOTOS_TUNING, SHAPES_TUNING

    shapes = data == SHAPES
    keep = _patch_policy(context)
    start = _init(init, shapes)
    taught = shapes_taught(num_images, "single-object") if shapes else labelled_files(data, subset)
    tuning = _given(SHAPES_TUNING if shapes else PHOTOS_TUNING, context)
    mixing = _given(SHAPES_MIXING if shapes else PHOTOS_MIXING, context)
    options = _options(context, taught)
    made = train_classifier(taught, start, options, keep, tuning, mixing, image_size, stem, typer.echo)
    finish("classifier", made, out, export, context.obj)


@train_app.command()
def multilabel(
    context: typer.Context,
    out: Path = OUT,
    data: str = typer.Option("shapes", help="`shapes`, or the folder of a data set."),
    form: str = typer.Option("coco", "--format", metavar="coco | voc | nuswide", help="Of that folder."),
    subset: str | None = typer.Option(None, help="Its training images: train2017, trainval, train."),
    init: str | None = INIT,
    selector: str | None = SELECTOR,
    keep_ratio: str = KEEP_RATIO,
    weights: str | None = WEIGHTS,
    selector_option: list[str] = SELECTOR_OPTION,
    cache_scores: bool = CACHE,
    fold: int = FOLD,
    image_size: int | None = IMAGE_SIZE,
    stem: str | None = STEM,
    layer_decay: float | None = LAYER_DECAY,
    drop_path: float | None = DROP_PATH,
    augment: str | None = AUGMENT,
    erasing: float | None = ERASING,
    ema: float | None = EMA,
    gamma_neg: float = typer.Option(4.0, help="Asymmetric loss: focus on absent categories that are hard."),
    gamma_pos: float = typer.Option(0.0, help="The same of present ones."),
    shift: float = typer.Option(0.05, help="Its probability margin: absent categories below cost nothing."),
    dim: int | None = typer.Option(None, min=1, help="Width of the ML-Decoder; 768, on shapes 128."),
    heads: int | None = typer.Option(None, min=1, help="Its attention heads; 8, on shapes 4."),
    hidden: int | None = typer.Option(None, min=1, help="Width of its feed-forward layer; 2048, on shapes 256."),
    export: Path | None = EXPORT,
    num_images: int = NUM_IMAGES,
    epochs: int | None = EPOCHS,
    iterations: int | None = ITERATIONS,
    batch_size: int = BATCH,
    lr: float | None = LR,
    weight_decay: float = WEIGHT_DECAY,
    accumulate: int = ACCUMULATE,
    amp: str = AMP,
    workers: int = WORKERS,
    save_every: int = SAVE,
    seed: int = SEED,
    device: str = DEVICE,
    threads: int = THREADS,
    debug: bool = DEBUG,
) -> None:
    """A plain ViT with an ML-Decoder: every category that an image shows."""
    from ltrp_bench.harness.training.data.labelled import SHAPES, label_set_files, shapes_taught
    from ltrp_bench.harness.training.recipes.multilabel import (
        PHOTOS_HEAD,
        PHOTOS_TUNING,
        SHAPES_HEAD,
        SHAPES_TUNING,
        train_multilabel,
    )

    shapes = data == SHAPES
    keep = _patch_policy(context)
    start = _init(init, shapes)
    taught = shapes_taught(num_images, "scenes") if shapes else label_set_files(data, form, subset)
    tuning = _given(SHAPES_TUNING if shapes else PHOTOS_TUNING, context)
    head = _given(SHAPES_HEAD if shapes else PHOTOS_HEAD, context)
    options = _options(context, taught)
    made = train_multilabel(taught, start, options, keep, tuning, head, image_size, stem, typer.echo)
    finish("multilabel", made, out, export, context.obj)


def _given(recipe: Any, context: typer.Context) -> Any:
    """A recipe, with the command's options of the same names in its place where they were given."""
    named = {f.name: context.params[f.name] for f in fields(recipe) if context.params.get(f.name) is not None}
    return replace(recipe, **named)


def _init(init: str | None, shapes: bool) -> str:
    """The weights to start from."""
    from ltrp_bench.selectors.errors import UsageError

    if init is None and not shapes:
        raise UsageError("give the weights to start from with --init: MAE's ViT-B (mae_pretrain_vit_base.pth), say")
    return init or "mae.shapes"


def _patch_policy(context: typer.Context) -> PatchPolicy:
    """Who keeps how much."""
    from ltrp_bench.harness.training.patch_policy import patch_policy

    given = context.params
    domain = ("shapes", f"shapes{given['fold']}") if given["data"] == "shapes" else ("photos",)
    return patch_policy(given["keep_ratio"], given["selector"], given["weights"], given["selector_option"], domain)


def _options(context: typer.Context, taught: Taught) -> TrainingOptions:
    """The loop's; on photos of the recipe's length and learning rate where none is given."""
    from ltrp_bench.harness.training.task_tuning import with_epochs

    given = context.params
    asked, lr, epochs = given["iterations"] or 0, given["lr"], given["epochs"]
    betas = {"betas": (0.9, 0.999), "lr": 0.0}
    if not taught.drawn:
        return with_epochs(training_options(context, iterations=asked, clip=0.0, **betas), taught.count, epochs, lr)
    if epochs is None:
        return replace(training_options(context, iterations=asked or SHAPES_ITERATIONS, **betas), lr=lr or 1e-3)
    made = with_epochs(training_options(context, iterations=asked, **betas), taught.count, epochs, lr or 1e-3)
    return replace(made, warmup=200)
