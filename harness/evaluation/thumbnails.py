"""Keeps, while a group of cells runs, what the report's gallery shows (`results/store/gallery.py`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from PIL import Image

from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.scorer import Grid
from ltrp_bench.results.store.gallery import Thumbnail, images_path, ranks_path, write_images, write_ranks
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.topk import rank_patches
from ltrp_bench.tasks.base import Sample

THUMBNAILS: Final = 8
"""Images of a task that are kept small; ranks are kept of the whole first chunk."""

LONGEST: Final = 256
"""Pixels along a small image's longer side."""


class GalleryWriter:
    """Of one group of cells: its task's first images and its selector's ranks on them."""

    def __init__(self, store: RunStore, group: CellGroup) -> None:
        self._store, self._group = store, group
        self._task_id = group.task.info.identity.short
        self._selector_id = group.selector.info.identity.short

    @property
    def missing(self) -> bool:
        """Whether this group has something to add; `downsample` never has."""
        if self._group.selector.reduces_by_downsampling:
            return False
        ranks = ranks_path(self._store, self._task_id, self._selector_id, self._group.seed)
        return not ranks.exists() or not images_path(self._store, self._task_id).exists()

    def saw(self, samples: Sequence[Sample], grids: Sequence[Grid], scores: Sequence[np.ndarray]) -> None:
        """Keep what is missing of the first chunk's images.

        Args:
            samples: the images.
            grids: (gh, gw) of each.
            scores: [gh, gw] of each.
        """
        if not samples or not self.missing:
            return
        ranks = {}
        for sample, grid, score in zip(samples, grids, scores, strict=True):
            order = rank_patches(torch.from_numpy(score)[None], [sample.image_id], self._group.seed)[0].numpy()
            places = np.empty(len(order), np.int32)
            places[order] = np.arange(len(order))
            ranks[sample.image_id] = places.reshape(grid)
        write_ranks(self._store, self._task_id, self._selector_id, self._group.seed, ranks)
        if not images_path(self._store, self._task_id).exists():
            write_images(self._store, self._task_id, [_small(sample) for sample in samples[:THUMBNAILS]])


def _small(sample: Sample) -> Thumbnail:
    height, width = sample.image.shape[:2]
    image = Image.fromarray(sample.image)
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=80)
    return Thumbnail(sample.image_id, width, height, buffer.getvalue())
