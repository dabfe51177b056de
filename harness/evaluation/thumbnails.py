"""Writes, while a group of cells runs, what the report's gallery shows (`results/store/gallery.py`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image

from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.results.store.gallery import Thumbnail, images_path, ranks_path, write_images, write_ranks
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.tasks.base import Sample

THUMBNAILS: Final = 8
"""Images of a task that are stored as thumbnails; ranks are stored for all images of the first span."""

LONGEST: Final = 256
"""Pixels along the longer side of a thumbnail."""


class GalleryWriter:
    """Stores thumbnails of a task's first images and the ranks that a selector gives to their patches.

    Args:
        store: the run's folder.
        group: the cells of the task, selector and seed.
    """

    def __init__(self, store: RunStore, group: CellGroup) -> None:
        self._store, self._group = store, group
        self._task_id = group.task.info.identity.short
        self._selector_id = group.selector.info.identity.short

    @property
    def missing(self) -> bool:
        """True if thumbnails or ranks are not stored yet; never for a selector that keeps no patches."""
        if self._group.selector.reduces_by_downsampling:
            return False
        ranks = ranks_path(self._store, self._task_id, self._selector_id, self._group.seed)
        return not ranks.exists() or not images_path(self._store, self._task_id).exists()

    def add(self, ranks: Mapping[str, np.ndarray], thumbnails: Sequence[Thumbnail]) -> None:
        """Store what is missing.

        Args:
            ranks: image id -> [gh, gw] rank of each patch, of the task's first span.
            thumbnails: of its first images.
        """
        if not ranks or not self.missing:
            return
        write_ranks(self._store, self._task_id, self._selector_id, self._group.seed, dict(ranks))
        if not images_path(self._store, self._task_id).exists():
            write_images(self._store, self._task_id, list(thumbnails))


def thumbnail(sample: Sample) -> Thumbnail:
    """A small copy of an image."""
    height, width = sample.image.shape[:2]
    image = Image.fromarray(sample.image)
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=80)
    return Thumbnail(sample.image_id, width, height, buffer.getvalue())
