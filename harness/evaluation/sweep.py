"""The sweep: measures every cell of a plan once and continues after an interruption.

The cells of one selector, task and seed form a group. A group is measured span by span, a span being 64 images: its
images are loaded once, scored once (or their scores are read from the cache) and ranked once; each keep ratio takes a
prefix of the ranking, and the task turns the reduced images into rows. The rows of a span are on disk before the next
one begins. When all spans are there, each cell's metrics, resampling summary and record are made from its rows.

Results do not depend on `SweepOptions`: on a CPU to the last bit, on a GPU up to the rounding of its kernels at another
batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ltrp_bench.harness.evaluation.cell_writer import CellWriter
from ltrp_bench.harness.evaluation.cost import CostMeter
from ltrp_bench.harness.evaluation.environment import device_name
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
        """Called when `images` images are done; `worked` is False for those that were done before."""

    def notice(self, line: str) -> None:
        """Called with a line for the user."""


def run_sweep(
    groups: Sequence[CellGroup],
    store: RunStore,
    options: SweepOptions,
    progress: Progress,
    provenance: Callable[[], dict[str, Any]] = dict,
) -> list[CellRecord]:
    """Measure every cell of `groups` that is not stored yet.

    Groups that another process works on come last, after that process has released them.

    Args:
        groups: as returned by `plan.plan`.
        store: folder of the results.
        options: device, batch size and other resources.
        progress: receives the progress.
        provenance: returns plain JSON about this machine, which is stored beside each cell.

    Returns:
        The records of all cells of `groups`, including those that were stored before, in order.

    Raises:
        BenchError: with a one-line message; everything finished before is kept.
    """
    store.prepare()
    progress.start(sum(group.task.images for group in groups))
    busy = []
    for group in groups:
        with store.lock(group.key, wait=False) as held:
            if held:
                _run_group(group, store, options, progress, provenance)
            else:
                busy.append(group)
    for group in busy:
        progress.notice(f"{group.label}: another process works on it; waiting for it")
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
    """Measure the pending cells of one selector, task and seed; the caller holds the group's lock."""
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
        # Once per group: looking up versions takes as long as an image or two.
        about = {**provenance(), "group_seconds": round(time.monotonic() - began, 3)}
        for cell in writer.pending:
            writer.finish(cell, {**about, "cost": costs.summary(cell.fingerprint)})
    if gallery.missing:  # an older version measured the cells, or their first span was on disk
        for loaded in load_spans(task, writer.spans[:1], options.workers, options.skip_bad_images):
            gallery.add(loaded, score_stage.rank(loaded))
    if writer.pending:
        writer.drop_spans()
