"""`ltrp-bench show`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ltrp_bench.selectors.errors import InputError, UsageError

if TYPE_CHECKING:
    from ltrp_bench.harness.evaluation.options import Request
    from ltrp_bench.harness.evaluation.plan import SelectorEntry
    from ltrp_bench.harness.visualization.images import DisplayImage
    from ltrp_bench.harness.visualization.panel_grid import PanelGrid

_SUFFIXES = (".png", ".svg", ".pdf")
_DATA = "Where the task's data set lies."


def show(
    image: list[Path] | None = typer.Argument(None, metavar="[IMAGE]...", help="Images of your own."),
    selector: list[str] = typer.Option([], help="A selector; repeat. `ltrp-bench list selectors` shows them."),
    keep_ratio: list[float] = typer.Option([], help="Share of the patches kept, in (0, 1]; repeat.  [default: 0.25]"),
    task: str | None = typer.Option(None, help="Pictures, patch grid and objects of this task instead of files."),
    index: list[int] = typer.Option([], min=0, help="Which of the task's images; repeat.  [default: 0]"),
    data: str | None = typer.Option(None, metavar="DIR", help=_DATA),
    model: str | None = typer.Option(None, help="Model of a task that has one: its resize makes the patch grid."),
    model_weights: Path | None = typer.Option(None, help="Checkpoint of that model."),
    task_option: list[str] = typer.Option([], metavar="key=value", help="Option of the task; repeat."),
    weights: list[str] = typer.Option([], metavar="FILE | NAME=FILE", help="Weights of a selector; repeat."),
    selector_option: list[str] = typer.Option([], metavar="NAME.key=value", help="Option of a selector; repeat."),
    grid: str | None = typer.Option(
        None, metavar="N | ROWSxCOLUMNS", help="Patches of files, over the whole image.  [default: 14]"
    ),
    truth: list[Path] = typer.Option([], metavar="FILE", help="A mask for each file: a PNG, 0 where no object is."),
    reconstruct: bool = typer.Option(
        False, "--reconstruct", help="A masked autoencoder's reconstruction with and without a visible patch."
    ),
    remove: list[int] = typer.Option(
        [], min=0, help="Which visible patch is taken away; repeat.  [default: of the highest and the lowest score]"
    ),
    seed: int = typer.Option(0, min=0, help="Of selectors with chance, and of the visible patches."),
    layout: str | None = typer.Option(
        None, metavar="row | block", help="All of an image in a row, or kept patches below scores.  [default: fitting]"
    ),
    by: str = typer.Option("score", metavar="score | rank", help="What colours the maps."),
    dark: bool = typer.Option(False, "--dark", help="For a dark page."),
    width: float | None = typer.Option(None, min=1, max=40, help="Inches.  [default: a paper's text, 7, or fitting]"),
    dpi: int = typer.Option(200, min=40, max=1200, help="Pixels an inch."),
    out: Path = typer.Option(Path("show.png"), help="A .png, .svg or .pdf."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
) -> None:
    """Draw score maps and kept patches of images side by side, as a run would score and keep them."""
    from ltrp_bench.harness.evaluation.environment import usable_device
    from ltrp_bench.harness.evaluation.options import Request
    from ltrp_bench.results.schema.atomic_io import atomic_write

    files = image or []
    _check_dataset(files, task, index, data, model, model_weights, task_option, grid, truth)
    _check_kind(reconstruct, selector, keep_ratio, remove, layout, by, grid, truth)
    suffix = out.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(f"--out {out}: name a {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file")
    request = Request(
        selectors=tuple(selector or ["ltrp-teacher"]),
        tasks=() if task is None else (task,),
        weights=tuple(weights),
        selector_options=tuple(selector_option),
        data=() if data is None else (data,),
        task_options=tuple(task_option),
        shared={"model": model, "model_weights": model_weights},
        device=usable_device(device),
    )
    entries, images = _built(request, files, index or [0], grid, truth)
    page = "dark" if dark else "light"
    if reconstruct:
        figure = _removals(request, entries, images, remove, seed, page, width)
    else:
        figure = _scores(request, entries, images, keep_ratio or [0.25], seed, layout, by, page, width)
    atomic_write(out, figure.encode(suffix, dpi))
    count = f"{len(images)} image{'s' if len(images) > 1 else ''}"
    typer.echo(f"{out}: {count}, {', '.join(entry.info.name for entry in entries)}", err=True)


def _built(
    request: Request, files: list[Path], indices: list[int], grid: str | None, truth: list[Path]
) -> tuple[list[SelectorEntry], list[DisplayImage]]:
    """The selectors and the images."""
    from ltrp_bench.harness.visualization.images import FILES_GRID, load_image_files, load_task_images
    from ltrp_bench.harness.visualization.selections import (
        build_selectors,
        build_selectors_and_task,
        needs_oracle_scores,
    )

    if not request.tasks:
        # Before any weights are read: an image that is not there is found at once.
        images = load_image_files(files, (FILES_GRID, FILES_GRID) if grid is None else _grid(grid), truth)
        return build_selectors(request), images
    entries, task = build_selectors_and_task(request, lambda line: typer.echo(f"note: {line}", err=True))
    return entries, load_task_images(task.task, indices, with_oracle_scores=needs_oracle_scores(entries))


def _scores(
    request: Request,
    entries: list[SelectorEntry],
    images: list[DisplayImage],
    keep_ratios: list[float],
    seed: int,
    layout: str | None,
    by: str,
    page: str,
    width: float | None,
) -> PanelGrid:
    from ltrp_bench.harness.evaluation.plan import check_ratios
    from ltrp_bench.harness.visualization.score_figure import ScoreFigureOptions, score_figure
    from ltrp_bench.harness.visualization.selections import select_patches

    ratios = check_ratios(keep_ratios)
    selections = [select_patches(entry, images, ratios, seed=seed, device=request.device) for entry in entries]
    options = ScoreFigureOptions(layout=layout, color_by=by, theme=page, width=width)  # type: ignore[arg-type]
    return score_figure(images, selections, options)


def _removals(
    request: Request,
    entries: list[SelectorEntry],
    images: list[DisplayImage],
    remove: list[int],
    seed: int,
    page: str,
    width: float | None,
) -> PanelGrid:
    from ltrp_bench.harness.visualization.reconstruction import reconstruct
    from ltrp_bench.harness.visualization.reconstruction_figure import reconstruction_figure
    from ltrp_bench.selectors.ltrp.selector import LTRPTeacher

    teacher = entries[0].selector
    if not isinstance(teacher, LTRPTeacher):
        raise UsageError(f"--reconstruct shows a masked autoencoder: --selector ltrp-teacher, not {entries[0].name}")
    rebuilt = reconstruct(teacher, images, remove, seed=seed, device=request.device)
    return reconstruction_figure(images, rebuilt, theme=page, width=width)  # type: ignore[arg-type]


def _check_dataset(
    files: list[Path],
    task: str | None,
    index: list[int],
    data: str | None,
    model: str | None,
    model_weights: Path | None,
    task_option: list[str],
    grid: str | None,
    truth: list[Path],
) -> None:
    """`UsageError` unless images come from one place, with options of that place alone."""
    if files and task is not None:
        raise UsageError("give images or --task, not both")
    if not files and task is None:
        raise UsageError("what is to be shown? name images, or a task: --task shapes-coverage --index 3")
    of_task = {
        "--index": index,
        "--data": data,
        "--model": model,
        "--model-weights": model_weights,
        "--task-option": task_option,
    }
    of_files = {"--grid": grid, "--truth": truth}
    for flag, value in (of_task if task is None else of_files).items():
        if value not in (None, []):
            where = "needs --task" if task is None else "is for images of your own: a task brings its own"
            raise UsageError(f"{flag} {where}")
    if model_weights is not None and not model_weights.is_file():
        raise InputError(f"--model-weights {model_weights}: no such file")


def _check_kind(
    reconstruct: bool,
    selector: list[str],
    keep_ratio: list[float],
    remove: list[int],
    layout: str | None,
    by: str,
    grid: str | None,
    truth: list[Path],
) -> None:
    """`UsageError` for options of the other figure."""
    if layout not in (None, "row", "block"):
        raise UsageError(f"--layout {layout}: write row or block")
    if by not in ("score", "rank"):
        raise UsageError(f"--by {by}: write score or rank")
    if not reconstruct and remove:
        raise UsageError("--remove goes with --reconstruct")
    if not reconstruct and not selector:
        raise UsageError("give at least one --selector; `ltrp-bench list selectors` shows them")
    if not reconstruct:
        return
    others = {"--keep-ratio": keep_ratio, "--layout": layout, "--grid": grid, "--truth": truth}
    for flag, value in others.items():
        if value not in (None, []):
            raise UsageError(f"{flag} does not go with --reconstruct: it shows the masked autoencoder alone")
    if len(set(selector)) > 1:
        raise UsageError("--reconstruct shows one masked autoencoder: give one --selector, or none")


def _grid(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if found is None or int(found[1]) < 1 or int(found[2] or 1) < 1:
        raise UsageError(f"--grid {text}: write a number of patches along each side, or ROWSxCOLUMNS")
    return int(found[1]), int(found[2] or found[1])
