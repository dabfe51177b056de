"""Images for figures: from a task or from files, with their patch grid and ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from ltrp_bench.harness.evaluation.scorer import Grid
from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import PatchEdges, Sample, Task
from ltrp_bench.tasks.data.decoding import read_mask, read_rgb
from ltrp_bench.tasks.metrics.patch_coverage import coverage_scores, even_edges, patch_areas

MAX_SIDE: Final = 640
"""Longest side of a drawn image, in pixels; selectors are given the image at its full size."""

FILES_GRID: Final = 14
"""Default number of patches along each side of an image file: a ViT's at 224 pixels with patches of 16."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """An annotated object.

    Attributes:
        mask: [h, w] bool, in pixels of `DisplayImage.pixels`.
        category: category name; "" if unknown.
        state: "seen", "unseen" or "narrow"; "" if unknown.
    """

    mask: np.ndarray
    category: str = ""
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class DisplayImage:
    """An image to draw.

    Attributes:
        sample: the image as selectors are given it.
        grid: (gh, gw), the patch grid.
        edges: row and column edges of the patches, in pixels of `pixels`.
        pixels: [h, w, 3] uint8, `sample.image` with its longest side reduced to `MAX_SIDE`.
        outlines: annotated objects.
        labels: categories of an image whose objects are not localized.
        oracle_scores: [gh, gw] float32 ground truth for the oracle; None if it was not requested.
    """

    sample: Sample
    grid: Grid
    edges: PatchEdges
    pixels: np.ndarray
    outlines: tuple[Outline, ...] = ()
    labels: tuple[str, ...] = ()
    oracle_scores: np.ndarray | None = None

    @property
    def file_name(self) -> str:
        """Image id without folders."""
        return self.sample.image_id.replace("\\", "/").rpartition("/")[2]

    def to_pixels(self, patch_values: np.ndarray) -> np.ndarray:
        """Expands patch values [gh, gw, ...] to pixels [h, w, ...]; a pixel belongs to the patch at its center."""
        rows, columns = (
            np.clip(np.searchsorted(edges, np.arange(side) + 0.5, side="right") - 1, 0, len(edges) - 2)
            for edges, side in zip(self.edges, self.pixels.shape[:2], strict=True)
        )
        return patch_values[rows][:, columns]


def load_task_images(task: Task, indices: Sequence[int], *, with_oracle_scores: bool) -> list[DisplayImage]:
    """Loads images of a task as `run` gives them to selectors.

    Args:
        task: any task.
        indices: positions of the images in the task.
        with_oracle_scores: True to compute the ground truth that the oracle ranks by.

    Raises:
        UsageError: an index out of range, or oracle scores of a task without localized objects.
        InputError: an image that cannot be read.
    """
    for index in indices:
        if not 0 <= index < len(task):
            raise UsageError(f"--index {index}: task {task.name!r} has images 0 to {len(task) - 1}")
    return [_load_task_image(task, index, with_oracle_scores) for index in indices]


def load_image_files(files: Sequence[Path], grid: Grid, masks: Sequence[Path]) -> list[DisplayImage]:
    """Loads images from files and applies their EXIF orientation.

    Args:
        files: image files of any format that Pillow reads.
        grid: (gh, gw), the patch grid over the whole image.
        masks: empty, or a ground-truth mask for each image: a PNG of one channel, 0 where there is no object and one
            value for each object.

    Raises:
        UsageError: `masks` and `files` differ in number.
        InputError: a file that is missing, corrupt, or has fewer pixels than patches; a mask of another size or with
            several channels.
    """
    if masks and len(masks) != len(files):
        raise UsageError(f"{len(masks)} --truth for {len(files)} images: give one mask for each image, in their order")
    paired: Sequence[Path | None] = masks or [None] * len(files)
    return [_load_image_file(file, grid, mask) for file, mask in zip(files, paired, strict=True)]


def load_array(image: np.ndarray, grid: Grid, image_id: str) -> DisplayImage:
    """Image from an array.

    Args:
        image: [H, W, 3] uint8 RGB.
        grid: (gh, gw), the patch grid over the whole image.
        image_id: its name; seeds random selectors.

    Raises:
        InputError: fewer pixels than patches.
    """
    height, width = image.shape[:2]
    if height < grid[0] or width < grid[1]:
        raise InputError(
            f"image {image_id} has {height}x{width} pixels (height x width), too few for {grid[0]}x{grid[1]} patches: "
            "give a larger image or a smaller grid"
        )
    pixels, edges = _thumbnail(image), (even_edges(height, grid[0]), even_edges(width, grid[1]))
    return DisplayImage(
        sample=Sample(image_id, image), grid=grid, edges=_scale_edges(edges, image, pixels), pixels=pixels
    )


def _load_image_file(file: Path, grid: Grid, mask: Path | None) -> DisplayImage:
    if file.is_dir():
        raise InputError(f"image {file} is a folder: name image files, or give --task coco-coverage --data {file}")
    image = read_rgb(file, upright=True)
    height, width = image.shape[:2]
    if height < grid[0] or width < grid[1]:
        raise InputError(
            f"image {file} has {height}x{width} pixels (height x width), too few for {grid[0]}x{grid[1]} patches: "
            "give a larger image or a smaller --grid"
        )
    # The id seeds random selectors: without the folder, so that they do not depend on where the file is.
    found = load_array(image, grid, file.name)
    if mask is None:
        return found
    values = read_mask(mask)
    if values.shape != (height, width):
        raise InputError(f"mask {mask} has {values.shape[0]}x{values.shape[1]} pixels, {file} {height}x{width}")
    objects = [int(value) for value in np.unique(values) if value]
    edges = even_edges(height, grid[0]), even_edges(width, grid[1])
    # As for coverage, each object counts as much as any other.
    areas = [patch_areas(values == value, *edges) for value in objects]
    return replace(
        found,
        outlines=tuple(Outline(mask=_resize_mask(values == value, found.pixels.shape)) for value in objects),
        oracle_scores=coverage_scores(np.array(areas).reshape(-1, *grid)),
    )


def _load_task_image(task: Task, index: int, with_oracle_scores: bool) -> DisplayImage:
    sample = task.load(index)
    pixels = _thumbnail(sample.image)
    states = {} if task.split is None else task.split.states
    return DisplayImage(
        sample=sample,
        grid=task.grid(sample),
        edges=_scale_edges(task.patch_edges(sample), sample.image, pixels),
        pixels=pixels,
        outlines=tuple(
            Outline(mask=_resize_mask(mask, pixels.shape), category=category, state=states.get(category, ""))
            for category, mask in task.object_masks(sample)
        ),
        labels=task.image_labels(sample),
        oracle_scores=np.asarray(task.oracle_scores(sample), dtype=np.float32) if with_oracle_scores else None,
    )


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """The image with its longest side reduced to `MAX_SIDE`."""
    if max(image.shape[:2]) <= MAX_SIDE:
        return image
    small = Image.fromarray(image)
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
    return np.asarray(small)


def _scale_edges(edges: PatchEdges, image: np.ndarray, pixels: np.ndarray) -> PatchEdges:
    """Edges in pixels of `image`, converted to pixels of `pixels`."""
    rows, columns = (
        tuple(edge * drawn / side for edge in own)
        for own, side, drawn in zip(edges, image.shape[:2], pixels.shape[:2], strict=True)
    )
    return rows, columns


def _resize_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A [H, W] bool mask resized to the height and width of `shape`."""
    if mask.shape == shape[:2]:
        return mask
    resized = Image.fromarray(mask.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized) > 0
