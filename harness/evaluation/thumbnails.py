"""Writes, while a group of cells runs, what the report's gallery shows (`results/store/gallery.py`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

from PIL import Image

from ltrp_bench.harness.evaluation.loading import LoadedSpan
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.ranking import PatchRanking
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

    def add(self, loaded: LoadedSpan, rankings: Sequence[PatchRanking] | None) -> None:
        """Store what is missing, if `loaded` is the task's first span and has a readable image.

        Args:
            loaded: the images of a span.
            rankings: one per image; None if the selector keeps no patches.
        """
        if loaded.span[0] != 0 or not loaded.samples or rankings is None or not self.missing:
            return
        ranks = {one: ranking.ranks() for one, ranking in zip(loaded.image_ids, rankings, strict=True)}
        write_ranks(self._store, self._task_id, self._selector_id, self._group.seed, ranks)
        if not images_path(self._store, self._task_id).exists():
            write_images(self._store, self._task_id, [_thumbnail(sample) for sample in loaded.samples[:THUMBNAILS]])


def _thumbnail(sample: Sample) -> Thumbnail:
    height, width = sample.image.shape[:2]
    image = Image.fromarray(sample.image)
    image.thumbnail((LONGEST, LONGEST))
    buffer = io.BytesIO()
    image.save(buffer, "webp", quality=80)
    return Thumbnail(sample.image_id, width, height, buffer.getvalue())
