"""`ltrp-bench train`: the commands that make weights, each ending in a safetensors file and a card beside it."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ltrp_bench.selectors.errors import UsageError

if TYPE_CHECKING:
    from ltrp_bench.harness.training.loop import TrainingOptions

train_app = typer.Typer(
    name="train", no_args_is_help=True, help="Train what the bench needs; the same command again goes on after a kill."
)

DATA = typer.Option("shapes", help="`shapes` or a folder of images (searched through).")
OUT = typer.Option(..., help="Folder of checkpoints, logs and TensorBoard events.")
EXPORT = typer.Option(None, help="Write the trained weights here (.safetensors), with a card beside them.")
NUM_IMAGES = typer.Option(40_000, "--pictures", min=1, help="How many different images of shapes.")
ITERATIONS = typer.Option(3_400, min=1, help="Iterations; optimiser steps are as many over --accumulate.")
BATCH = typer.Option(64, min=1, help="Images an iteration and process.")
LR = typer.Option(1.5e-3, help="Peak learning rate (linear warm-up, cosine decay to zero).")
ACCUMULATE = typer.Option(1, min=1, help="Iterations an optimiser step.")
AMP = typer.Option("none", metavar="none | float16 | bfloat16", help="Mixed precision; float16 needs a GPU.")
WORKERS = typer.Option(1, min=0, help="Loader processes. Changes speed alone.")
SAVE = typer.Option(500, min=1, help="Iterations between checkpoints.")
SEED = typer.Option(0, min=0, help="Of weights, order, augmentation and masks.")
DEVICE = typer.Option("auto", metavar="auto | cpu | cuda", help="Where to train; several GPUs through torchrun.")
THREADS = typer.Option(0, min=0, help="CPU threads; 0 leaves it to torch.")
DEBUG = typer.Option(False, "--debug", help="Show where an error came from.")


@train_app.command()
def mae(
    context: typer.Context,
    out: Path = OUT,
    data: str = DATA,
    export: Path | None = EXPORT,
    preset: str = typer.Option("tiny", help="tiny, small, base, large or huge."),
    size: int = typer.Option(96, min=16, help="Side of the images in pixels."),
    patch: int = typer.Option(8, min=2, help="Side of a patch in pixels."),
    mask_ratio: float = typer.Option(0.75, help="Share of patches hidden, in (0, 1)."),
    init: str | None = typer.Option(None, help="Start from these weights: a file or a shipped tag."),
    norm_pix: bool = typer.Option(True, help="Predict pixels normalised per patch (He et al., section 4.1)."),
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
    """A masked autoencoder from scratch, without labels."""
    from ltrp_bench.harness.training.recipes.mae import train_mae

    options = training_options(context)
    made = train_mae(data, options, preset, size, patch, mask_ratio, norm_pix, num_images, init)
    finish("mae", made, out, export, context.obj)


@train_app.command()
def ltrp(
    context: typer.Context,
    out: Path = OUT,
    mae: str = typer.Option(..., help="The frozen teacher: a file or a shipped tag such as mae.shapes."),
    data: str = DATA,
    export: Path | None = EXPORT,
    ranker: str = typer.Option("s", metavar="ti | s | b | mae", help="Size; `mae` copies the teacher's encoder."),
    loss: str = typer.Option("list_mle", help="list_mle, list_net, rank_net, focused_rank or pointwise."),
    distance: str = typer.Option("l1", help="Of reconstructions: l1, l2, ssim, psnr or lpips."),
    hide: str = typer.Option("decoder", metavar="decoder | encoder_decoder", help="Where a patch is taken away."),
    mask_ratio: float = typer.Option(0.9, help="Share of patches the teacher does not see, in (0, 1)."),
    asymmetric: bool = typer.Option(True, help="The ranker sees the visible patches only, not the whole image."),
    sublist: int = typer.Option(20, min=0, help="Patches a random sub-list of ListMLE; 0 takes all."),
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
    """LTRP's ranker, without labels, from the semantic density of a frozen masked autoencoder."""
    from ltrp_bench.harness.training.recipes.ltrp import RankingOptions, train_ltrp

    options = training_options(context)
    # Unknown words are refused where they are used, with a list of the known ones.
    how: Any = (ranker, loss, distance, hide, mask_ratio, asymmetric, sublist)
    ranking = RankingOptions(*how)
    made = train_ltrp(data, mae, options, ranking, num_images)
    finish("ltrp", made, out, export, context.obj)


@train_app.command()
def detector(
    context: typer.Context,
    out: Path = OUT,
    architecture: str = typer.Option("rtmdet", metavar="rtmdet | vit", help="vit: a plain ViT that drops patches."),
    init: str = typer.Option("mae.shapes", help="Where a vit starts: an autoencoder, a ViT, a segmentor, itself."),
    selector: str | None = typer.Option(None, help="Who chooses a vit's patches; random fields if nobody."),
    keep_ratio: str = typer.Option("1", metavar="R | random", help="Share of patches that a vit keeps."),
    weights: str | None = typer.Option(None, metavar="FILE", help="Weights of the selector."),
    selector_option: list[str] = typer.Option([], metavar="key=value", help="Option of the selector; repeat."),
    fold: int = typer.Option(0, min=0, max=1, help="Which half supervised selectors were taught."),
    export: Path | None = EXPORT,
    iterations: int = typer.Option(4_000, min=1, help="Optimiser steps."),
    batch_size: int = typer.Option(32, min=1, help="Images a step."),
    lr: float = typer.Option(2e-3, help="Peak learning rate."),
    amp: str = typer.Option("none", metavar="none | bfloat16", help="Mixed precision."),
    save_every: int = typer.Option(250, min=1, help="Iterations between checkpoints."),
    seed: int = SEED,
    device: str = DEVICE,
    threads: int = THREADS,
    debug: bool = DEBUG,
) -> None:
    """The small detectors of `shapes-det`: RTMDet, half of its images with patches filled; a plain ViT that drops."""
    from dataclasses import asdict

    from ltrp_bench.harness.training.patch_policy import patch_policy
    from ltrp_bench.harness.training.recipes.detector import DetectorTraining, export_detector, train_detector

    use_threads(threads)
    options = DetectorTraining(iterations=iterations, batch_size=batch_size, lr=lr, amp=amp, seed=seed)
    if architecture not in ("rtmdet", "vit"):
        raise UsageError(f"--architecture {architecture}: write rtmdet or vit")
    keep = patch_policy(keep_ratio, selector, weights, selector_option, ("shapes", f"shapes{fold}"))
    if architecture == "vit":
        from ltrp_bench.harness.training.recipes.vit_detector import export_vit_detector, train_vit_detector

        state, more = train_vit_detector(out, options, keep, init, device, save_every)
        if export is not None:
            export_vit_detector(state, export, options, more)
            _write_card(export, "detector", {"what": "detector", **asdict(options), **more}, out, context.obj)
        return
    if not keep.whole:
        raise UsageError("--keep-ratio: rtmdet has images half of which are filled; --architecture vit drops")
    state = train_detector(out, options, device=device, save_every=save_every)
    if export is not None:
        export_detector(state, export, options)
        _write_card(export, "detector", {"what": "detector", **asdict(options)}, out, context.obj)


def training_options(context: typer.Context, **more: Any) -> TrainingOptions:
    """`TrainingOptions` from a command's options of the same names, and `more`; takes the command's threads too."""
    from dataclasses import fields

    from ltrp_bench.harness.training.loop import TrainingOptions

    use_threads(context.params["threads"])
    given = {f.name: context.params[f.name] for f in fields(TrainingOptions) if f.name in context.params}
    return TrainingOptions(**{**given, "out": Path(given["out"]), **more})


def use_threads(threads: int) -> None:
    """Let torch use so many CPU threads; 0 leaves it as it is."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def finish(kind: str, made: dict[str, Any], out: Path, export: Path | None, arguments: list[str]) -> None:
    """Write weights and card, where asked; only the first process of several does."""
    from ltrp_bench.selectors.checkpoints import save_safetensors

    if export is None or int(os.environ.get("RANK", "0")) != 0:
        return
    metadata = {"kind": kind, "config": made["config"], "training": made["training"]}
    save_safetensors(export, made["state"], metadata)
    _write_card(export, kind, made["training"], out, arguments)
    typer.echo(f"wrote {export} and {export.with_suffix('.md')}")


def _write_card(weights: Path, kind: str, training: dict[str, Any], out: Path, arguments: list[str]) -> None:
    """The card beside the weights: how they were made, how the loss fell, what they are."""
    from ltrp_bench.harness.training.loop import write_text
    from ltrp_bench.selectors.checkpoints import sha256_of

    # A training in several stages has a folder for each.
    stages = sorted(part.parent for part in out.glob("*/training.json")) or [out]
    lines = [
        f"# {weights.stem}",
        "",
        f"Weights of kind `{kind}`, sha256 `{sha256_of(weights)}`, {weights.stat().st_size:,} bytes.",
        "",
        "Command that reproduces these weights:",
        "",
        f"    ltrp-bench {shlex.join(_portable(arguments))}",
        "",
        "| option | value |",
        "| --- | --- |",
        *[f"| {key} | {value} |" for key, value in sorted(training.items())],
        "",
    ]
    for stage in stages:
        title = "iteration" if stage == out else f"iteration of {stage.name}"
        lines += [f"| {title} | loss |", "| --- | --- |"]
        lines += [*[f"| {step} | {loss:.4f} |" for step, loss in loss_curve(stage)], ""]
    write_text(weights.with_suffix(".md"), "\n".join(lines))


def _portable(arguments: list[str]) -> list[str]:
    """A command without this machine's folders: absolute paths keep their last part."""
    return [Path(a).name if a.startswith("/") else a for a in arguments]


def loss_curve(out: Path, points: int = 12) -> list[tuple[int, float]]:
    """(iteration, loss) at about `points` places, from the JSON logs that mmengine wrote under `out`."""
    found: dict[int, float] = {}
    for log in sorted(out.glob("*/vis_data/*.json")):
        for line in log.read_text().splitlines():
            entry = json.loads(line) if line.startswith("{") else {}
            if "loss" in entry and "step" in entry:
                found[int(entry["step"])] = float(entry["loss"])
    steps = sorted(found)
    stride = max(1, len(steps) // points)
    return [(s, found[s]) for s in steps[stride - 1 :: stride]]
