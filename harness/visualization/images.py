"""Images to look at: of a task, or files of one's own, with their patch grid and ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from ltrp_bench.harness.evaluation.scorer import Grid
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Sample, Task
from ltrp_bench.tasks.data.decoding import open_image
from ltrp_bench.tasks.data.masks import read_mask
from ltrp_bench.tasks.metrics.patch_coverage import covered_share, even_edges

SIDE: Final = 640
"""Most pixels along a side that are drawn; selectors are shown all of them."""

FILES_GRID: Final = 14
"""Patches along each side of a file, as a ViT of 224 pixels and patches of 16 cuts it."""

Edges = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Outline:
    """An object of the ground truth: [h, w] bool on the drawn pixels, its category, and "seen", "unseen" or "narrow".

    Category and state are "" where nobody knows them.
    """

    mask: np.ndarray
    category: str = ""
    state: str = ""


@dataclass(frozen=True)
class DisplayImage:
    """One image.

    Attributes:
        sample: what selectors are shown.
        grid: (gh, gw) of its patches.
        edges: gh + 1 and gw + 1 borders of the patches, in pixels of `pixels`.
        pixels: [h, w, 3] uint8 to draw: `sample.image`, no side longer than `SIDE`.
        outlines: its objects.
        labels: categories it shows where nobody says where.
        share: [gh, gw] share of objects, for the oracle; None where it was not asked for.
    """

    sample: Sample
    grid: Grid
    edges: Edges
    pixels: np.ndarray
    outlines: tuple[Outline, ...] = ()
    labels: tuple[str, ...] = ()
    share: np.ndarray | None = None

    def spread(self, patches: np.ndarray) -> np.ndarray:
        """[gh, gw, ...] values of patches -> [h, w, ...] of pixels; a pixel is its centre's patch's."""
        places = [
            np.clip(np.searchsorted(edges, np.arange(side) + 0.5, side="right") - 1, 0, len(edges) - 2)
            for edges, side in zip(self.edges, self.pixels.shape, strict=False)
        ]
        return patches[places[0]][:, places[1]]


def task_images(task: Task, indices: Sequence[int], with_share: bool) -> list[DisplayImage]:
    """Images of a task, as `run` gives them to selectors.

    Args:
        task: any.
        indices: positions in it.
        with_share: ask the task for the oracle's ground truth.

    Raises:
        UsageError: no such position, or a task that knows no ground truth. InputError: an image that cannot be read.
    """
    for index in indices:
        if not 0 <= index < len(task):
            raise UsageError(f"--index {index}: task {task.name!r} has images 0 to {len(task) - 1}")
    return [_task_image(task, index, with_share) for index in indices]


def file_images(files: Sequence[Path], grid: Grid, truths: Sequence[Path]) -> list[DisplayImage]:
    """Images from files, turned as their EXIF says.

    Args:
        files: of any format that Pillow reads.
        grid: (gh, gw) of the patches, over the whole image.
        truths: none, or a mask of each image: a PNG whose values other than 0 are objects, one value each.

    Raises:
        UsageError: another number of masks than of images. InputError: a file that is missing, corrupt, or has fewer
            pixels than patches; a mask of another size, or of several channels.
    """
    if truths and len(truths) != len(files):
        raise UsageError(f"{len(truths)} --truth for {len(files)} images: give one mask for each, in their order")
    masks: Sequence[Path | None] = truths or [None] * len(files)
    return [_file_image(file, grid, truth) for file, truth in zip(files, masks, strict=True)]


def _file_image(file: Path, grid: Grid, truth: Path | None) -> DisplayImage:
    if file.is_dir():
        raise InputError(f"image {file} is a folder: name the images in it (a data set: --task coco-coverage --data)")
    image = open_image(
        file, "image", lambda opened: np.asarray((ImageOps.exif_transpose(opened) or opened).convert("RGB"))
    )
    height, width = image.shape[:2]
    if height < grid[0] or width < grid[1]:
        raise InputError(
            f"image {file} has {height}x{width} pixels (height x width), too few for {grid[0]}x{grid[1]} patches: "
            "give a larger one or a smaller --grid"
        )
    pixels, edges = _view(image), (even_edges(height, grid[0]), even_edges(width, grid[1]))
    outlines: tuple[Outline, ...] = ()
    share = None
    if truth is not None:
        values = read_mask(truth)
        if values.shape != (height, width):
            raise InputError(f"mask {truth} has {values.shape[0]}x{values.shape[1]} pixels, {file} {height}x{width}")
        found = [int(value) for value in np.unique(values) if value]
        outlines = tuple(Outline(_resized(values == value, pixels.shape)) for value in found)
        share = covered_share((values != 0).astype(np.uint8), *edges)
    # Its name alone: neither the folder nor where one stands may change what is drawn by chance.
    sample = Sample(file.name, image)
    return DisplayImage(sample, grid, _scaled(edges, image, pixels), pixels, outlines, (), share)


def _task_image(task: Task, index: int, with_share: bool) -> DisplayImage:
    sample = task.load(index)
    grid = task.grid(sample)
    share = np.asarray(task.oracle_scores(sample), dtype=np.float32) if with_share else None
    pixels = _view(sample.image)
    edges = _scaled(task.patch_edges(sample), sample.image, pixels)
    states = {} if task.split is None else task.split.states
    outlines = tuple(
        Outline(_resized(mask, pixels.shape), category, states.get(category, ""))
        for category, mask in task.object_masks(sample)
    )
    return DisplayImage(sample, grid, edges, pixels, outlines, task.image_labels(sample), share)


def _view(image: np.ndarray) -> np.ndarray:
    """The image, no side longer than `SIDE`."""
    if max(image.shape[:2]) <= SIDE:
        return image
    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(small)


def _scaled(edges: Edges, image: np.ndarray, pixels: np.ndarray) -> Edges:
    """Borders in pixels of `image` as borders in those of `pixels`."""
    rows, columns = (
        tuple(edge * drawn / side for edge in own)
        for own, side, drawn in zip(edges, image.shape, pixels.shape, strict=False)
    )
    return rows, columns


def _resized(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A [H, W] bool mask on `shape`'s height and width."""
    if mask.shape == shape[:2]:
        return mask
    resized = Image.fromarray(mask.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized) > 0
