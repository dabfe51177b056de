"""`ltrp-bench show`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import typer

from ltrp_bench.harness.cli.option_groups import (
    SELECTOR_HELP,
    DeviceOptions,
    ImageLimit,
    ModelOptions,
    SelectorOptions,
    check_names,
)
from ltrp_bench.harness.cli.terminal.messages import counted, print_note
from ltrp_bench.harness.evaluation.options import Request
from ltrp_bench.selectors.errors import UsageError

if TYPE_CHECKING:
    from ltrp_bench.harness.evaluation.plan import SelectorEntry
    from ltrp_bench.harness.visualization.images import DisplayImage
    from ltrp_bench.harness.visualization.panel_grid import PanelGrid

SUFFIXES: Final = (".png", ".svg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Images from files."""

    image: list[Path] | None = field(
        default=None, metadata={"help": "Image files.", "metavar": "[IMAGE]...", "argument": True}
    )
    grid: str | None = field(
        default=None,
        metadata={
            "help": "Number of patches along each side of an image file; 14 by default.",
            "metavar": "N | ROWSxCOLUMNS",
        },
    )
    truth: tuple[Path, ...] = field(
        default=(),
        metadata={
            "help": "Ground-truth mask of an image file, a PNG with 0 for background; repeat, one for each image.",
            "metavar": "FILE",
        },
    )


@dataclass(frozen=True, kw_only=True)
class TaskImages:
    """Images of a task."""

    task: str | None = field(
        default=None, metadata={"help": "Task whose images, patch grid and objects to show, instead of image files."}
    )
    index: tuple[int, ...] = field(
        default=(),
        metadata={"help": "Index of an image of the task; several as 0,1 or repeated; 0 by default.", "min": 0},
    )
    data: str | None = field(default=None, metadata={"help": "Directory of the task's data set.", "metavar": "DIR"})
    task_option: tuple[str, ...] = field(
        default=(), metadata={"help": "Option of the task; repeat for several.", "metavar": "key=value"}
    )


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Score maps and kept patches."""

    selector: tuple[str, ...] = field(default=(), metadata={"help": SELECTOR_HELP, "commas": True})
    keep_ratio: tuple[float, ...] = field(
        default=(),
        metadata={"help": "Share of patches to keep, in (0, 1]; several as .25,.5 or repeated; 0.25 by default."},
    )
    by: Literal["score", "rank"] = field(default="score", metadata={"help": "Color patches by score or by rank."})
    layout: Literal["row", "block"] | None = field(
        default=None,
        metadata={
            "help": "All panels of an image in one row (default up to 8 panels), or kept patches below the scores."
        },
    )


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """Reconstructions instead of score maps."""

    reconstruct: bool = field(
        default=False,
        metadata={"help": "Show a masked autoencoder's reconstructions with and without single visible patches."},
    )
    remove: tuple[int, ...] = field(
        default=(),
        metadata={
            "help": "Number of a visible patch to remove; several as 3,7 or repeated; by default those with the "
            "highest and the lowest score.",
            "min": 0,
        },
    )


@dataclass(frozen=True, kw_only=True)
class FigureFile:
    """Figure file."""

    seed: int = field(
        default=0, metadata={"help": "Seed of stochastic selectors and of the visible patches.", "min": 0}
    )
    out: Path = field(default=Path("show.png"), metadata={"help": "Path of the figure: a .png, .svg or .pdf file."})
    width: float | None = field(
        default=None,
        metadata={"help": "Width of the figure in inches; by default 7, or as the panels need.", "min": 1, "max": 40},
    )
    dpi: int = field(default=200, metadata={"help": "Resolution in pixels per inch.", "min": 40, "max": 1200})
    dark: bool = field(default=False, metadata={"help": "Draw for a dark background."})

    @property
    def theme(self) -> Literal["light", "dark"]:
        """Theme of the figure."""
        return "dark" if self.dark else "light"

    @property
    def suffix(self) -> str:
        """Suffix of the file in lower case; `UsageError` for an unknown one."""
        suffix = self.out.suffix.lower()
        if suffix not in SUFFIXES:
            raise UsageError(f"--out {self.out}: name a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
        return suffix


def show(
    scores: ScoreOptions,
    selectors: SelectorOptions,
    files: ImageFiles,
    images: TaskImages,
    models: ModelOptions,
    reconstruction: ReconstructionOptions,
    figure: FigureFile,
    compute: DeviceOptions,
    limit: ImageLimit,
) -> None:
    """Draw score maps and kept patches of images side by side, computed as in `ltrp-bench run`."""
    check_names(
        scores.selector or ("ltrp-teacher",),
        () if images.task is None else (images.task,),
        selectors.weights,
        () if images.data is None else (images.data,),
        images.task_option,
    )

    from ltrp_bench.harness.evaluation.environment import usable_device
    from ltrp_bench.results.schema.atomic_io import atomic_write

    limit.set_limit()
    _check_image_options(files, images, models)
    _check_figure_options(files, scores, reconstruction)
    suffix = figure.suffix
    request = Request(
        selectors=scores.selector or ("ltrp-teacher",),
        tasks=() if images.task is None else (images.task,),
        weights=selectors.weights,
        selector_options=selectors.selector_option,
        data=() if images.data is None else (images.data,),
        task_options=images.task_option,
        shared={"model": models.model, "model_weights": models.model_weights},
        device=usable_device(compute.device),
    )
    entries, display_images = _load(request, files, images)
    if reconstruction.reconstruct:
        panels = _reconstruction_figure(request, entries[0], display_images, reconstruction, figure)
    else:
        panels = _score_figure(request, entries, display_images, scores, figure)
    atomic_write(figure.out, panels.encode(suffix, figure.dpi))
    names = ", ".join(entry.info.name for entry in entries)
    typer.echo(f"{figure.out}: {counted(len(display_images), 'image')}, {names}", err=True)


def _load(request: Request, files: ImageFiles, images: TaskImages) -> tuple[list[SelectorEntry], list[DisplayImage]]:
    """Build the selectors and load the images."""
    from ltrp_bench.harness.visualization.images import FILES_GRID, load_image_files, load_task_images
    from ltrp_bench.harness.visualization.selections import (
        build_selectors,
        build_selectors_and_task,
        needs_oracle_scores,
    )

    if images.task is None:
        # Before any weights are read, so that a missing image is reported at once.
        grid = (FILES_GRID, FILES_GRID) if files.grid is None else _parse_grid(files.grid)
        loaded = load_image_files(files.image or [], grid, files.truth)
        return build_selectors(request, print_note), loaded
    entries, task = build_selectors_and_task(request, print_note)
    for omission in task.task.omissions({}):  # of the whole data set: no rows were measured
        print_note(f"{images.task}: {omission.line}")
    with_oracle_scores = needs_oracle_scores(entries)
    return entries, load_task_images(task.task, images.index or (0,), with_oracle_scores=with_oracle_scores)


def _score_figure(
    request: Request,
    entries: list[SelectorEntry],
    images: list[DisplayImage],
    scores: ScoreOptions,
    figure: FigureFile,
) -> PanelGrid:
    from ltrp_bench.harness.evaluation.recipes import check_ratios
    from ltrp_bench.harness.visualization.score_figure import ScoreFigureOptions, score_figure
    from ltrp_bench.harness.visualization.selections import select_patches

    ratios = check_ratios(scores.keep_ratio or (0.25,))
    selections = [select_patches(entry, images, ratios, seed=figure.seed, device=request.device) for entry in entries]
    options = ScoreFigureOptions(layout=scores.layout, color_by=scores.by, theme=figure.theme, width=figure.width)
    return score_figure(images, selections, options)


def _reconstruction_figure(
    request: Request,
    entry: SelectorEntry,
    images: list[DisplayImage],
    options: ReconstructionOptions,
    figure: FigureFile,
) -> PanelGrid:
    from ltrp_bench.harness.visualization.reconstruction import reconstruct
    from ltrp_bench.harness.visualization.reconstruction_figure import reconstruction_figure
    from ltrp_bench.selectors.ltrp.selector import LTRPTeacher

    teacher = entry.selector
    if not isinstance(teacher, LTRPTeacher):
        raise UsageError(f"--reconstruct needs a masked autoencoder: --selector ltrp-teacher, not {entry.name}")
    if teacher.tiles != 1:
        raise UsageError("--reconstruct shows the masking of one image, not of its tiles: leave out the option tiles")
    reconstructions = reconstruct(teacher, images, options.remove, seed=figure.seed, device=request.device)
    return reconstruction_figure(images, reconstructions, theme=figure.theme, width=figure.width)


def _check_image_options(files: ImageFiles, images: TaskImages, models: ModelOptions) -> None:
    """Raises `UsageError` unless images come either from files or from a task, with options for that only."""
    if files.image and images.task is not None:
        raise UsageError("give image files or --task, not both")
    if not files.image and images.task is None:
        raise UsageError("no images: name image files, or a task: --task shapes-coverage --index 3")
    if images.task is None:
        _refuse(
            {
                "--index": images.index,
                "--data": images.data,
                "--model": models.model,
                "--model-weights": models.model_weights,
                "--task-option": images.task_option,
            },
            "needs --task",
        )
    else:
        _refuse({"--grid": files.grid, "--truth": files.truth}, "is for image files: a task has its own")
    models.check_files(() if images.task is None else (images.task,))


def _check_figure_options(files: ImageFiles, scores: ScoreOptions, reconstruction: ReconstructionOptions) -> None:
    """Raises `UsageError` for options of the other type of figure."""
    if not reconstruction.reconstruct:
        _refuse({"--remove": reconstruction.remove}, "needs --reconstruct")
        if not scores.selector:
            raise UsageError("give at least one --selector; `ltrp-bench list selectors` lists them")
        return
    others = {
        "--keep-ratio": scores.keep_ratio,
        "--layout": scores.layout,
        "--grid": files.grid,
        "--truth": files.truth,
    }
    _refuse(others, "does not go with --reconstruct, which shows a masked autoencoder only")
    if len(set(scores.selector)) > 1:
        raise UsageError("--reconstruct shows one masked autoencoder: give one --selector, or none")


def _refuse(options: Mapping[str, object], reason: str) -> None:
    """Raises `UsageError` if any of the options was given."""
    for flag, value in options.items():
        if value is not None and value != ():
            raise UsageError(f"{flag} {reason}")


def _parse_grid(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if found is None or int(found[1]) < 1 or int(found[2] or 1) < 1:
        raise UsageError(f"--grid {text}: write a number of patches along each side, or ROWSxCOLUMNS")
    return int(found[1]), int(found[2] or found[1])
