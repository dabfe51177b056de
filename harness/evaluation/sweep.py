"""The sweep: evaluates every cell of a plan once and resumes after an interruption.

The cells of one selector, task and seed form a group. A task's images are taken in spans of 64, which are loaded once
for all groups. A group scores the images of a span once (or reads their scores from the cache) and ranks them once;
each keep ratio takes a prefix of the ranking, and the task turns the reduced images into rows. The rows of a span are
on disk before more than a few further spans begin. When all spans of a group are on disk, each cell's metrics,
resampling summary and record are computed from its rows.

An `Executor` decides where spans are evaluated. This process alone writes results. Several processes may share one
folder: each locks the spans that it works on.

Results do not depend on `SweepOptions` or on the executor: on a CPU to the last bit unless more than one thread is
asked for, on a GPU up to the rounding of its kernels at another batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ltrp_bench.harness.evaluation.environment import cpu_threads
from ltrp_bench.harness.evaluation.execution.group_state import GroupState
from ltrp_bench.harness.evaluation.execution.progress import Progress
from ltrp_bench.harness.evaluation.execution.serial_executor import SerialExecutor
from ltrp_bench.harness.evaluation.execution.span_work import Executor, SpanBatch
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, by_task
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore


def run_sweep(
    groups: Sequence[CellGroup],
    store: RunStore,
    options: SweepOptions,
    progress: Progress,
    provenance: Callable[[], dict[str, Any]] = dict,
    executor: Executor | None = None,
) -> list[CellRecord]:
    """Evaluate every cell of `groups` that is not stored yet.

    Spans that are locked by another process are taken last, if that process has not finished them by then.

    Args:
        groups: as returned by `plan.plan`.
        store: folder of the results.
        options: device, batch size and other resources.
        progress: receives the progress.
        provenance: returns plain JSON about this machine, which is stored with each cell.
        executor: where the work is done; by default in this process.

    Returns:
        The records of all cells of `groups`, including those that were stored before, in order.

    Raises:
        BenchError: with a one-line message; spans and cells finished before the error are kept.
    """
    store.prepare()
    progress.start({group.key: group.task.images for group in groups})
    with cpu_threads(options.threads), executor or SerialExecutor(store, options) as workers:
        states = [GroupState(group, store, options, progress) for group in groups]
        try:
            _evaluate(states, workers, progress, provenance)
        finally:
            for state in states:
                state.release()
    return [store.read_cell(cell.fingerprint) for group in groups for cell in group.cells]


def _evaluate(
    states: Sequence[GroupState], workers: Executor, progress: Progress, provenance: Callable[[], dict[str, Any]]
) -> None:
    def left() -> int:
        return sum(state.left for state in states)

    by_key = {state.group.key: state for state in states}
    for state in states:
        state.finish_if_complete(provenance)
    while any(state.open for state in states):
        for work, result in workers.run(_batches(states), progress.current, left):
            state = by_key[work.group.key]
            state.store(work, result)
            state.finish_if_complete(provenance)
        if (busy := next((state for state in states if state.open), None)) is not None:
            busy.wait()
            busy.finish_if_complete(provenance)


def _batches(states: Sequence[GroupState]) -> Iterator[SpanBatch]:
    """Work that no other process is doing: task by task, span by span, all groups of a span together."""
    for own in by_task(states, lambda state: state.group):
        for span in own[0].spans:
            works = [work for state in own if (work := state.claim(span)) is not None]
            if works:
                yield SpanBatch(task=own[0].group.task, span=span, works=works, alone=len(own) == 1)
