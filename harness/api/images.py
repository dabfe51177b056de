"""Scores of single images, and figures of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from ltrp_bench.harness.api.figures import for_notebooks
from ltrp_bench.harness.api.objects import SelectorLike, TaskLike, as_list, selector_entries, task_sources
from ltrp_bench.harness.api.wording import python_messages
from ltrp_bench.harness.evaluation.environment import usable_device
from ltrp_bench.harness.evaluation.plan import TaskEntry
from ltrp_bench.harness.evaluation.recipes import check_ratios
from ltrp_bench.harness.evaluation.request import build_task, weights_tags
from ltrp_bench.harness.visualization.images import (
    FILES_GRID,
    DisplayImage,
    load_array,
    load_image_files,
    load_task_images,
)
from ltrp_bench.harness.visualization.score_figure import ScoreFigureOptions, score_figure
from ltrp_bench.harness.visualization.selections import FILES_DOMAIN, needs_oracle_scores, select_patches
from ltrp_bench.results.report.style import plot_style
from ltrp_bench.selectors.errors import InputError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ImageLike = str | Path | Image.Image | np.ndarray
"""Path of an image file, a PIL image, or an array [H, W, 3] or [H, W], uint8 or floats in [0, 1]."""

Grid = int | tuple[int, int]
"""Patches along each side of an image, or (along its height, along its width)."""


@python_messages
def score(
    selector: SelectorLike, image: ImageLike, *, grid: Grid = FILES_GRID, seed: int = 0, device: str = "auto"
) -> np.ndarray:
    """Score the patches of one image, as a run does.

    Args:
        selector: a name, which takes weights for photographs where there are several, or an object.
        image: path, PIL image or array.
        grid: patches along each side, or (gh, gw).
        seed: of selectors with chance.
        device: "auto", "cpu", "cuda", ...

    Returns:
        [gh, gw] float32; greater is kept first.

    Raises:
        UsageError: an unknown selector, or one that scores no patches. InputError: an image that cannot be read.
    """
    entry = selector_entries([selector], (FILES_DOMAIN,))[0]
    loaded = _images([image], grid)
    found = select_patches(entry, loaded, (1.0,), seed=seed, device=usable_device(device))[0].scores
    if found is None:
        raise UsageError(f"selector {entry.name!r} shrinks the whole image: it scores no patches")
    return found


@python_messages
def show(
    images: Any,
    *,
    selectors: Any,
    keep_ratio: float | Sequence[float] = 0.25,
    task: TaskLike | None = None,
    grid: Grid = FILES_GRID,
    seed: int = 0,
    device: str = "auto",
    width: float | None = None,
    dark: bool = False,
) -> Figure:
    """Draw score maps and kept patches of images side by side.

    Args:
        images: one image or a sequence: paths, PIL images or arrays; with `task`, positions of its images.
        selectors: one or several names or objects.
        keep_ratio: share of the patches to keep, in (0, 1], or several.
        task: a task whose images, patch grid and objects are shown.
        grid: patches along each side, or (gh, gw); a task has its own.
        seed: of selectors with chance.
        device: "auto", "cpu", "cuda", ...
        width: of the figure in inches; by default 7, or as the panels need.
        dark: True to draw for a dark background.

    Returns:
        A figure, which notebooks show; `figure.savefig("name.png")` writes it.

    Raises:
        UsageError: an unknown name, a keep ratio or position out of range. InputError: an image that cannot be read.
    """
    chosen = as_list(selectors, "selector")
    ratios = check_ratios(keep_ratio)
    where = usable_device(device)
    several = list(images) if isinstance(images, (list, tuple, range)) else [images]
    if task is None:
        loaded = _images(several, grid)
        entries = selector_entries(chosen, (FILES_DOMAIN,))
    else:
        if not all(isinstance(one, (int, np.integer)) for one in several):
            raise UsageError("with a task, images are positions of its images, such as [0, 3]")
        source = task_sources([task], where, 1)[0]
        entry = source if isinstance(source, TaskEntry) else build_task(source)
        entries = selector_entries(chosen, weights_tags(entry.task))
        loaded = load_task_images(
            entry.task, [int(one) for one in several], with_oracle_scores=needs_oracle_scores(entries)
        )
    selections = [select_patches(entry, loaded, ratios, seed=seed, device=where) for entry in entries]
    panels = score_figure(loaded, selections, ScoreFigureOptions(theme="dark" if dark else "light", width=width))
    with plot_style():
        return for_notebooks(panels.figure())


def _images(given: Sequence[ImageLike], grid: Grid) -> list[DisplayImage]:
    shape = (grid, grid) if isinstance(grid, int) else (int(grid[0]), int(grid[1]))
    if min(shape) < 1:
        raise UsageError(f"grid {grid}: give a number of patches along each side, or (along height, along width)")
    if not given:
        raise UsageError("give at least one image: a path, a PIL image or an array")
    return [_image(one, shape, number) for number, one in enumerate(given, start=1)]


def _image(given: ImageLike, grid: tuple[int, int], number: int) -> DisplayImage:
    if isinstance(given, (str, Path)):
        return load_image_files([Path(given).expanduser()], grid, ())[0]
    if isinstance(given, Image.Image):
        file = str(getattr(given, "filename", "") or "")
        return load_array(np.asarray(given.convert("RGB")), grid, Path(file).name or f"image {number}")
    return load_array(_pixels(given), grid, f"image {number}")


def _pixels(given: Any) -> np.ndarray:
    """[H, W, 3] uint8 of an array. Raises InputError for other shapes, types and ranges."""
    array = np.asarray(given)
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"an image is an array [height, width, 3], not {list(array.shape)}")
    if array.dtype == np.uint8:
        return cast(np.ndarray, array)
    if array.dtype.kind != "f" or not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise InputError(f"an image is an array of uint8, or of floats in [0, 1], not of {array.dtype} beyond that")
    return cast(np.ndarray, np.rint(array * 255).astype(np.uint8))
