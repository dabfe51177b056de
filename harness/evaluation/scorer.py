"""Scores images with any selector, on the task's patch grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltrp_bench.harness.evaluation.execution.resized_images import ResizedImages
from ltrp_bench.selectors.base import BatchContext, Selector, as_selector, check_scores
from ltrp_bench.selectors.errors import BenchError, InputError, UsageError, unknown_name
from ltrp_bench.selectors.normalization import normalize
from ltrp_bench.selectors.topk import resample_scores
from ltrp_bench.tasks.base import Sample, Task

Grid = tuple[int, int]
"""(gh, gw): number of patches along the height and the width of an image."""


class Scorer:
    """Runs one selector on one device, batch by batch.

    Args:
        selector: a `Selector`, or any object that `as_selector` accepts.
        device: device of the selector; it is moved there before the first batch.
        batch_size: most images per batch; affects speed, not scores.
    """

    def __init__(self, selector: Any, device: torch.device, batch_size: int) -> None:
        self.selector = as_selector(selector)
        self.device = device
        self.batch_size = max(1, batch_size)
        self._moved = False

    @property
    def needs_context(self) -> bool:
        """True if the selector needs ground truth or ids in addition to the images."""
        return self.selector.needs_context

    def scores(
        self,
        samples: Sequence[Sample],
        grids: Sequence[Grid],
        seed: int,
        objects: Sequence[np.ndarray] | None = None,
        resized: ResizedImages | None = None,
    ) -> list[np.ndarray]:
        """Score the patches of images of any sizes.

        Each image is resized (antialiased bilinear) to the selector's input size or, if it has none, to the grid times
        its patch size; normalized by the selector's mean and std; and scored. Scores are resampled to the grid.

        Args:
            samples: images.
            grids: (gh, gw) of the task for each image.
            seed: seed of the cell, for selectors with chance.
            objects: [gh, gw] ground truth of each image as `Task.oracle_scores` returns it, for the oracle.
            resized: sizes of these images that other selectors asked for; None resizes them for this one alone.

        Returns:
            [gh, gw] float32 of each image, in order.

        Raises:
            InputError: the selector failed, or returned NaN, infinities or a wrong shape; names it and the image.
        """
        if not self._moved:
            self.selector.to(self.device)
            self._moved = True
        resized = resized or ResizedImages([sample.image for sample in samples], self.device)
        out: dict[int, np.ndarray] = {}
        shapes = [(sample.image.shape, grid) for sample, grid in zip(samples, grids, strict=True)]
        for batch in batches_by(shapes, self.batch_size):
            grid = grids[batch[0]]
            ids = tuple(samples[i].image_id for i in batch)
            truth = None if objects is None else torch.from_numpy(np.stack([objects[i] for i in batch]))
            images = self._prepare(batch, grid, resized)
            scores = self.query(images, BatchContext(ids, seed, truth, grid))
            out.update(zip(batch, resample_scores(scores, grid).cpu().numpy(), strict=True))
        return [out[i] for i in range(len(samples))]

    def _prepare(self, batch: Sequence[int], grid: Grid, resized: ResizedImages) -> Tensor:
        """[B, 3, H, W] normalized images of a batch; a selector that uses no pixels gets zeros without memory."""
        selector = self.selector
        if not selector.uses_pixels:
            return torch.zeros((), device=self.device).expand(len(batch), 3, *selector.input_size_on(grid))
        if type(selector).prepare is not Selector.prepare:
            return selector.prepare([resized.images[i] for i in batch], grid, self.device)
        return normalize(resized.get(batch, selector.input_size_on(grid)), selector.mean, selector.std)

    def query(self, images: Tensor, context: BatchContext) -> Tensor:
        """Call the selector.

        Args:
            images: [B, 3, H, W] as returned by `Selector.prepare`.
            context: ids, seed, ground truth and grid of the batch.

        Returns:
            [B, h, w] float32 finite scores on the selector's grid.

        Raises:
            InputError: the selector failed; any other error than a `BenchError` is its `__cause__`.
        """
        name = self.selector.name
        try:
            with torch.inference_mode():
                scores = self.selector.scores(images, context)
        except BenchError:
            raise
        except Exception as error:
            ids = context.image_ids
            where = f"image {ids[0]!r}" if len(ids) == 1 else f"images {ids[0]!r} to {ids[-1]!r}"
            raise InputError(f"selector {name!r} failed on {where}: {type(error).__name__}: {error}") from error
        return check_scores(scores, len(images), name, context)


def oracle_scores(selector: Selector, task: Task, sample: Sample) -> np.ndarray:
    """[gh, gw] float32 ground truth of a sample for a selector that needs it: of all objects, or of its groups."""
    groups = selector.oracle_groups
    scores = task.group_oracle_scores(sample, groups) if groups else task.oracle_scores(sample)
    return np.asarray(scores, dtype=np.float32)


def check_oracle_groups(selector: Selector, task: Task) -> None:
    """Raise UsageError if a selector ranks for groups of objects that a task with groups does not have."""
    known = list(task.oracle_groups)
    for group in selector.oracle_groups:
        if group not in known:
            raise unknown_name(f"group of {task.name}'s objects", group, known)


def check_ranks_all_objects(selector: Selector) -> None:
    """Raise UsageError for a selector that ranks for a group of objects, where ground truth is of all of them."""
    if selector.oracle_groups:
        raise UsageError(
            f"selector {selector.name!r} ranks for {'+'.join(selector.oracle_groups)} alone, which only "
            "`ltrp-bench run` on a coverage task can do; use plain 'oracle' here"
        )


def batches_by(kinds: Iterable[object], batch_size: int) -> Iterator[list[int]]:
    """Split indices into batches of equal kind.

    Args:
        kinds: a hashable value per index.
        batch_size: most indices per batch.

    Yields:
        Indices in ascending order; kinds in the order of their first index.
    """
    by_kind: dict[object, list[int]] = {}
    for index, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(index)
    for indices in by_kind.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]
