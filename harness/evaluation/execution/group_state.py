"""What is done and what is left of one group of cells while a sweep runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ltrp_bench.harness.evaluation.cell_writer import CellWriter
from ltrp_bench.harness.evaluation.cost import CostMeter
from ltrp_bench.harness.evaluation.execution.progress import Progress
from ltrp_bench.harness.evaluation.execution.span_work import SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import Span
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import Cell, CellGroup
from ltrp_bench.harness.evaluation.score_cache import ScoreCache
from ltrp_bench.harness.evaluation.thumbnails import GalleryWriter
from ltrp_bench.results.store.run_store import RunStore


class GroupState:
    """State of one group, on disk and in work.

    Args:
        group: the cells of one selector, task and seed.
        store: folder of the results.
        options: whether images may be left out.
        progress: told about spans that were finished before.

    Attributes:
        group: as given.
        spans: all spans of the task's images.
    """

    def __init__(self, group: CellGroup, store: RunStore, options: SweepOptions, progress: Progress) -> None:
        self.group = group
        self._store, self._progress = store, progress
        self._writer = CellWriter(group, store, skip_unreadable=options.skip_bad_images)
        self._writer.add_missing_summaries()
        self._gallery = GalleryWriter(store, group)
        self._cache = ScoreCache(store, group, progress.notice)
        self._costs = CostMeter(free=group.selector.reduces_by_downsampling)
        self._seconds = 0.0
        self._locks: dict[Span, contextlib.ExitStack] = {}
        self.spans = self._writer.spans
        self._missing: dict[Span, tuple[Cell, ...]] = self._writer.missing()
        self._finished = self._waited = False
        if self._gallery.missing:
            # The cells are from an older version, or their first span was already on disk.
            self._missing.setdefault(self.spans[0], ())
        self._advance(group.task.images - self.left, None)

    @property
    def open(self) -> bool:
        """True until all cells are finished."""
        return not self._finished

    @property
    def left(self) -> int:
        """Number of images of the spans that are left."""
        return sum(_images(span) for span, cells in self._missing.items() if cells)

    def claim(self, span: Span) -> SpanWork | None:
        """The work that is left on a span, now locked; None if there is none, or another process is doing it."""
        if span not in self._missing or span in self._locks:
            return None
        if not self._lock(span, wait=False):
            return None
        cells = self._missing[span] and self._writer.still_missing(span)
        gallery = span == self.spans[0] and self._gallery.missing
        if not cells and not gallery:
            self._done(span, None)
            return None
        return SpanWork(group=self.group, span=span, cells=cells, gallery=gallery)

    def store(self, work: SpanWork, result: SpanResult) -> None:
        """Store what came of claimed work. Raises ResultsError if it cannot be written."""
        for line in result.notices:
            self._progress.notice(line)
        if result.scores is not None:
            new = result.scores
            self._cache.put(new.ids, new.grids, new.scores, new.cost)
        if result.ranks is not None:
            self._gallery.add(result.ranks, result.thumbnails)
        self._costs.add(result.costs)
        self._seconds += result.seconds
        if work.cells:
            self._writer.write_span(work.span, result.rows, result.unreadable)
        self._done(work.span, result.seconds)

    def wait(self) -> None:
        """Wait until another process has released one of the spans that are left; this one holds no lock meanwhile."""
        if not self._waited:
            self._progress.notice(f"{self.group.label}: waiting for another process that is evaluating it")
        self._waited = True
        for span in list(self._missing)[:1]:
            self._lock(span, wait=True)
            self._unlock(span)
            if self._missing[span] and not self._writer.still_missing(span):
                self._done(span, None)

    def finish_if_complete(self, provenance: Callable[[], dict[str, Any]]) -> None:
        """Finish the cells once no span is left."""
        if self._missing or self._finished:
            return
        if self._writer.pending:
            # Once per group, because looking up package versions takes as long as evaluating one or two images.
            about = {**provenance(), "group_seconds": round(self._seconds, 3)}
            self._writer.finish(about, self._costs.summary)
        self._finished = True

    def release(self) -> None:
        """Release every lock."""
        for span in list(self._locks):
            self._unlock(span)

    def _done(self, span: Span, seconds: float | None) -> None:
        cells = self._missing.pop(span)
        self._unlock(span)
        if cells:
            self._advance(_images(span), seconds)

    def _advance(self, images: int, seconds: float | None) -> None:
        self._progress.advance(self.group.key, images, seconds)

    def _lock(self, span: Span, wait: bool) -> bool:
        stack = contextlib.ExitStack()
        if not stack.enter_context(self._store.lock(f"{self.group.key}/{span[0]:08d}-{span[1]:08d}", wait)):
            stack.close()
            return False
        self._locks[span] = stack
        return True

    def _unlock(self, span: Span) -> None:
        if (stack := self._locks.pop(span, None)) is not None:
            stack.close()


def _images(span: Span) -> int:
    return span[1] - span[0]
