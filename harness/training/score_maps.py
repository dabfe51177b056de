"""A selector's scores of whole training images, asked once and kept on disk, whatever the number of epochs."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ltrp_bench.harness.evaluation.scorer import Grid, Scorer
from ltrp_bench.harness.training.data.labelled import Taught
from ltrp_bench.harness.training.loop import write_text
from ltrp_bench.results.schema.record import digest
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.selectors.registry import SelectorSpec
from ltrp_bench.tasks.base import Sample


def whole_scores(
    taught: Taught,
    spec: SelectorSpec,
    size: int,
    grid: Grid,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    batch: int = 64,
    workers: int = 2,
) -> np.ndarray:
    """Scores of every image, squashed to size x size pixels, without augmentation.

    They are written to `folder` as they come; a run that was killed goes on where it was, and a later training with
    the same selector, images and grid asks nothing anew. Of several processes the first asks, the others wait.

    Args:
        taught: the images.
        spec: the selector.
        size: side in pixels.
        grid: (gh, gw) of the model.
        folder: where they are kept; 4 * gh * gw bytes an image.
        seed: of selectors with chance.
        device: of torch.
        batch: images at a time.
        workers: threads that read images.

    Returns:
        [count, gh, gw] float32, mapped from the file.
    """
    what = {"selector": spec.identity(), "data": taught.revision, "count": taught.count, "size": size, "seed": seed}
    path = folder / f"{digest({**what, 'grid': list(grid)})[:24]}.npy"
    if int(os.environ.get("RANK", "0")):
        while not path.is_file():
            time.sleep(1)
    elif not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _ask(taught, spec, size, grid, path, seed, device, batch, workers)
    found: np.ndarray = np.load(path, mmap_mode="r")
    if found.shape != (taught.count, *grid):
        raise InputError(f"cached scores in {path} are not of these images: delete the file")
    return found


def _ask(
    taught: Taught,
    spec: SelectorSpec,
    size: int,
    grid: Grid,
    path: Path,
    seed: int,
    device: str,
    batch: int,
    workers: int,
) -> None:
    """Fill the file, from where it was left."""
    part, progress = path.with_suffix(".part"), path.with_suffix(".done")
    done = int(progress.read_text()) if part.is_file() and progress.is_file() else 0
    mode, shape = ("r+" if done else "w+"), (taught.count, *grid)
    scores = np.lib.format.open_memmap(part, mode=mode, dtype=np.float32, shape=shape)  # type: ignore[no-untyped-call]
    scorer = Scorer(spec.create(), torch.device(device), batch)

    def sample(index: int) -> Sample:
        pixels = taught.sample(index)[0]
        if pixels.shape[:2] != (size, size):
            pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
        return Sample(f"{index}", pixels, None)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for first in range(done, taught.count, batch):
            places = range(first, min(first + batch, taught.count))
            samples = list(pool.map(sample, places))
            scores[first : places.stop] = np.stack(scorer.scores(samples, [grid] * len(samples), seed))
            if first // batch % 50 == 0 or places.stop == taught.count:
                scores.flush()
                write_text(progress, f"{places.stop}")
    del scores
    part.replace(path)
    progress.unlink(missing_ok=True)
