"""A selector's scores of whole training images, computed once and kept on disk."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ltrp_bench.harness.evaluation.scorer import Grid, Scorer
from ltrp_bench.harness.training.data.labelled import TrainingSet
from ltrp_bench.harness.training.training_folder import write_text
from ltrp_bench.results.schema.record import digest
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.registry import SelectorSpec
from ltrp_bench.tasks.base import Sample


@dataclass(frozen=True, kw_only=True)
class ScoreMaps:
    """Scores of every image of a training set, squashed to size x size pixels, without augmentation.

    Attributes:
        dataset: the images.
        selector: the selector.
        size: side in pixels.
        grid: (gh, gw) of the model's patches.
        seed: seed of stochastic selectors.
        skip_unreadable: True to score an empty image instead of one that cannot be read, which is never drawn.
    """

    dataset: TrainingSet
    selector: SelectorSpec
    size: int
    grid: Grid
    seed: int = 0
    skip_unreadable: bool = False

    def file_name(self) -> str:
        """Name of the file, a hash of everything that the scores depend on."""
        identity = {
            "selector": self.selector.identity(),
            "data": self.dataset.revision,
            "count": self.dataset.count,
            "size": self.size,
            "seed": self.seed,
            "grid": list(self.grid),
        }
        return f"{digest(identity)[:24]}.npy"

    def sample(self, index: int) -> Sample:
        """An image at the size of the model's input."""
        try:
            pixels = self.dataset.sample(index)[0]
        except InputError:
            if not self.skip_unreadable:
                raise
            pixels = np.zeros((self.size, self.size, 3), np.uint8)
        if pixels.shape[:2] != (self.size, self.size):
            pixels = np.asarray(Image.fromarray(pixels).resize((self.size, self.size), Image.Resampling.BICUBIC))
        return Sample(f"{index}", pixels, None)


def cached_scores(
    maps: ScoreMaps, folder: Path, *, device: str = "cpu", batch: int = 64, workers: int = 2
) -> np.ndarray:
    """Compute the scores of a training set, or read them from `folder`.

    Scores are written as they are computed: a run that was killed resumes, and a later training with the same
    selector, images and grid reads them. In a distributed training the first process computes them.

    Args:
        maps: selector and images.
        folder: where the scores are kept; 4 * gh * gw bytes per image.
        device: device of the selector.
        batch: images per batch.
        workers: threads that read images.

    Returns:
        [count, gh, gw] float32, memory-mapped.
    """
    path = folder / maps.file_name()
    if int(os.environ.get("RANK", "0")):
        while not path.is_file():
            time.sleep(1)
    elif not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _compute(maps, path, device, batch, workers)
    found: np.ndarray = np.load(path, mmap_mode="r")
    if found.shape != (maps.dataset.count, *maps.grid):
        raise InputError(f"cached scores in {path} have another shape than these images need: delete the file")
    return found


def _compute(maps: ScoreMaps, path: Path, device: str, batch: int, workers: int) -> None:
    """Fill the file, from where an earlier run stopped."""
    part, progress, count = path.with_suffix(".part"), path.with_suffix(".done"), maps.dataset.count
    done = int(progress.read_text()) if part.is_file() and progress.is_file() else 0
    mode, shape = ("r+" if done else "w+"), (count, *maps.grid)
    scores = np.lib.format.open_memmap(part, mode=mode, dtype=np.float32, shape=shape)  # type: ignore[no-untyped-call]
    scorer = Scorer(maps.selector.create(), torch.device(device), batch)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for first in range(done, count, batch):
            indices = range(first, min(first + batch, count))
            samples = list(pool.map(maps.sample, indices))
            scores[first : indices.stop] = np.stack(scorer.scores(samples, [maps.grid] * len(samples), maps.seed))
            if first // batch % 50 == 0 or indices.stop == count:
                scores.flush()
                write_text(progress, f"{indices.stop}")
    del scores
    part.replace(path)
    progress.unlink(missing_ok=True)
