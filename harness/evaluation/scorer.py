"""From images to scores on the task's patch grid: the one way in which every selector is asked."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltrp_bench.selectors.base import BatchContext, Selector, check_scores
from ltrp_bench.selectors.errors import BenchError, InputError
from ltrp_bench.selectors.topk import resample_scores
from ltrp_bench.tasks.base import Sample

Grid = tuple[int, int]

DEFAULT_PATCH: Final = 16


class Scorer:
    """Asks one selector for scores, batch by batch, on one device.

    Args:
        selector: a `Selector`, or any object with `name`, `supervision`, `mean`, `std`, `scores(images)`.
        device: where the images are sent.
        batch_size: most images at a time; changes speed, not what is asked.
    """

    def __init__(self, selector: Any, device: torch.device, batch_size: int) -> None:
        self.selector = selector
        self.device = device
        self.batch_size = max(1, batch_size)
        self.needs_context = bool(getattr(selector, "needs_context", False))
        self._takes_context = _takes_context(selector)
        self._moved = False

    def scores(
        self,
        samples: Sequence[Sample],
        grids: Sequence[Grid],
        seed: int,
        objects: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Scores of each sample on its grid.

        Each image is resized (antialiased bilinear) to the selector's input size, or, where it has none, to
        the grid times its patch size; normalised by the selector's own mean and std; scored; and the scores
        resampled to the grid.

        Args:
            samples: images of any sizes.
            grids: the task's (gh, gw) of each.
            seed: the cell's seed, for controls.
            objects: [gh, gw] share of objects of each, for the oracle.

        Returns:
            [gh, gw] float32 of each sample, in order.

        Raises:
            InputError: the selector failed, or gave NaN, infinities or a wrong shape; names it and the image.
        """
        if not self._moved and hasattr(self.selector, "to"):
            self.selector.to(self.device)
            self._moved = True
        out: list[np.ndarray | None] = [None] * len(samples)
        for batch in _batches(samples, grids, self.batch_size):
            grid = grids[batch[0]]
            ids = tuple(samples[i].image_id for i in batch)
            share = None if objects is None else torch.from_numpy(np.stack([objects[i] for i in batch]))
            context = BatchContext(ids, seed, share, grid)
            images = self._images([samples[i].image for i in batch], grid)
            scores = resample_scores(self._ask(images, context), grid).cpu().numpy()
            for place, row in zip(batch, scores, strict=True):
                out[place] = row
        return [row for row in out if row is not None]

    def _images(self, images: Sequence[np.ndarray], grid: Grid) -> Tensor:
        """[B, 3, H, W] at the selector's size, normalised."""
        selector = self.selector
        patch = int(getattr(selector, "patch_size", DEFAULT_PATCH))
        size = getattr(selector, "input_size", None) or (grid[0] * patch, grid[1] * patch)
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255.0
        if tuple(pixels.shape[2:]) != tuple(size):
            pixels = F.interpolate(pixels, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
            # Rounding can pass 0 or 1 by an ulp.
            pixels = pixels.clamp_(0.0, 1.0)
        mean = torch.tensor(selector.mean, device=self.device).view(1, 3, 1, 1)
        std = torch.tensor(selector.std, device=self.device).view(1, 3, 1, 1)
        return (pixels - mean) / std

    def _ask(self, images: Tensor, context: BatchContext) -> Tensor:
        name = str(self.selector.name)
        try:
            with torch.inference_mode():
                if self._takes_context:
                    scores = self.selector.scores(images, context=context)
                else:
                    scores = self.selector.scores(images)
        except BenchError:
            raise
        except Exception as error:
            ids = context.image_ids
            where = f"image {ids[0]!r}" if len(ids) == 1 else f"images {ids[0]!r} to {ids[-1]!r}"
            raise InputError(f"selector {name!r} failed on {where}: {type(error).__name__}: {error}") from error
        return check_scores(scores, len(images), name, context)


def _takes_context(selector: Any) -> bool:
    if isinstance(selector, Selector):
        return True
    try:
        return "context" in inspect.signature(selector.scores).parameters
    except (TypeError, ValueError):
        return False


def _batches(samples: Sequence[Sample], grids: Sequence[Grid], most: int) -> Iterator[list[int]]:
    """Indices of samples that share image size and grid, at most `most` at a time, in order."""
    return batches_by([(sample.image.shape, grid) for sample, grid in zip(samples, grids, strict=True)], most)


def batches_by(kinds: Iterable[object], most: int) -> Iterator[list[int]]:
    """Indices of equal `kinds`, at most `most` at a time; first come, first served."""
    by_kind: dict[object, list[int]] = {}
    for index, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(index)
    for indices in by_kind.values():
        for start in range(0, len(indices), most):
            yield indices[start : start + most]
