"""Does the work of a sweep in this process, one span after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from ltrp_bench.harness.evaluation.execution.batch_evaluator import BatchEvaluator
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import Span, load_spans
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.tasks.base import Task


class SerialExecutor:
    """Evaluates batches in order, while threads read the images of the next one.

    Args:
        store: folder of the results, for scores that were computed before.
        options: device, batch size, number of threads that read images.
    """

    def __init__(self, store: RunStore, options: SweepOptions) -> None:
        self._options = options
        self._evaluator = BatchEvaluator(store, options)

    def __enter__(self) -> SerialExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._evaluator.clear()

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None], left: Callable[[], int]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run`; results come in the order of the batches."""
        ahead: deque[SpanBatch] = deque()

        def wanted() -> Iterator[tuple[Task, Span]]:
            for batch in batches:
                ahead.append(batch)
                yield batch.task.task, batch.span

        for loaded in load_spans(wanted(), self._options.workers, self._options.skip_bad_images):
            yield from self._evaluator.evaluate(ahead.popleft(), loaded, started)
