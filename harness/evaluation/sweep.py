"""The sweep: evaluates every cell of a plan once and resumes after an interruption.

The cells of one selector, task and seed form a group. A group is evaluated in spans of 64 images. The images of a span
are loaded once, scored once (or their scores are read from the cache) and ranked once; each keep ratio takes a prefix
of the ranking, and the task turns the reduced images into rows. The rows of a span are on disk before the next span
begins. When all spans are finished, each cell's metrics, resampling summary and record are computed from its rows.

Results do not depend on `SweepOptions`: on a CPU to the last bit unless more than one thread is asked for, on a GPU up
to the rounding of its kernels at another batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ltrp_bench.harness.evaluation.cell_writer import CellWriter
from ltrp_bench.harness.evaluation.cost import CostMeter
from ltrp_bench.harness.evaluation.environment import cpu_threads, device_name
from ltrp_bench.harness.evaluation.loading import load_spans
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.score_cache import ScoreCache
from ltrp_bench.harness.evaluation.score_stage import ScoreStage
from ltrp_bench.harness.evaluation.task_stage import TaskStage
from ltrp_bench.harness.evaluation.thumbnails import GalleryWriter
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore


class Progress(Protocol):
    """Receives the progress of a sweep (`harness/cli/terminal/progress.py` shows it)."""

    def start(self, total: int) -> None:
        """Called first, with the number of images summed over all groups."""

    def current(self, label: str) -> None:
        """Called when a group begins."""

    def advance(self, images: int, worked: bool) -> None:
        """Called when `images` images are finished; `worked` is False if an earlier run had finished them."""

    def notice(self, line: str) -> None:
        """Called with a line for the user."""


def run_sweep(
    groups: Sequence[CellGroup],
    store: RunStore,
    options: SweepOptions,
    progress: Progress,
    provenance: Callable[[], dict[str, Any]] = dict,
) -> list[CellRecord]:
    """Evaluate every cell of `groups` that is not stored yet.

    Groups that are locked by another process are evaluated last, once that process has released them.

    Args:
        groups: as returned by `plan.plan`.
        store: folder of the results.
        options: device, batch size and other resources.
        progress: receives the progress.
        provenance: returns plain JSON about this machine, which is stored with each cell.

    Returns:
        The records of all cells of `groups`, including those that were stored before, in order.

    Raises:
        BenchError: with a one-line message; spans and cells finished before the error are kept.
    """
    store.prepare()
    progress.start(sum(group.task.images for group in groups))
    busy = []
    with cpu_threads(options.threads):
        for group in groups:
            with store.lock(group.key, wait=False) as held:
                if held:
                    _run_group(group, store, options, progress, provenance)
                else:
                    busy.append(group)
        for group in busy:
            progress.notice(f"{group.label}: waiting for another process that is evaluating it")
            with store.lock(group.key, wait=True):
                _run_group(group, store, options, progress, provenance)
    return [store.read_cell(cell.fingerprint) for group in groups for cell in group.cells]


def _run_group(
    group: CellGroup,
    store: RunStore,
    options: SweepOptions,
    progress: Progress,
    provenance: Callable[[], dict[str, Any]],
) -> None:
    """Evaluate the pending cells of one selector, task and seed; the caller holds the group's lock."""
    progress.current(group.label)
    task, images = group.task.task, group.task.images
    writer = CellWriter(group, store, skip_unreadable=options.skip_bad_images)
    writer.add_missing_summaries()
    gallery = GalleryWriter(store, group)
    costs = CostMeter(device_name(options.device), progress.notice, free=group.selector.reduces_by_downsampling)
    score_stage = ScoreStage(group, ScoreCache(store, group, progress.notice), costs, options)
    task_stage = TaskStage(task, costs, options.effective_batch_size)

    began = time.monotonic()
    missing = writer.missing()
    progress.advance(images - sum(end - first for first, end in missing), worked=False)
    for loaded in load_spans(task, list(missing), options.workers, options.skip_bad_images):
        rankings = score_stage.rank(loaded)
        gallery.add(loaded, rankings)
        rows = {cell.fingerprint: task_stage.rows(cell, loaded, rankings) for cell in missing[loaded.span]}
        writer.write_span(loaded, rows)
        progress.advance(loaded.span[1] - loaded.span[0], worked=True)

    if writer.pending:
        # Once per group, because looking up package versions takes as long as evaluating one or two images.
        about = {**provenance(), "group_seconds": round(time.monotonic() - began, 3)}
        for cell in writer.pending:
            writer.finish(cell, {**about, "cost": costs.summary(cell.fingerprint)})
    if gallery.missing:  # the cells are from an older version, or their first span was already on disk
        for loaded in load_spans(task, writer.spans[:1], options.workers, options.skip_bad_images):
            gallery.add(loaded, score_stage.rank(loaded))
    if writer.pending:
        writer.drop_spans()
