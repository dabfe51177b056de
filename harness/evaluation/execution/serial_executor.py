"""Does the work of a sweep in this process, one span after another."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final

import torch

from ltrp_bench.harness.evaluation.execution.resized_images import ResizedImages
from ltrp_bench.harness.evaluation.execution.span_evaluator import SpanEvaluator
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import Span, load_spans
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.tasks.base import Task

RESIDENT: Final = 8
"""Selectors that stay on a GPU; others wait in main memory."""


class SerialExecutor:
    """Evaluates batches in order, while threads read the images of the next one.

    Args:
        store: folder of the results, for scores that were computed before.
        options: device, batch size, number of threads that read images.
    """

    def __init__(self, store: RunStore, options: SweepOptions) -> None:
        self._store, self._options = store, options
        self._device = torch.device(options.device)
        self._evaluators: OrderedDict[str, tuple[CellGroup, SpanEvaluator]] = OrderedDict()

    def __enter__(self) -> SerialExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._evaluators.clear()

    def run(
        self, batches: Iterable[SpanBatch], started: Callable[[str], None]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """See `Executor.run`; one result after another, in the order of the batches."""
        ahead: deque[SpanBatch] = deque()

        def wanted() -> Iterator[tuple[Task, Span]]:
            for batch in batches:
                ahead.append(batch)
                yield batch.task.task, batch.span

        for loaded in load_spans(wanted(), self._options.workers, self._options.skip_bad_images):
            resized = ResizedImages([sample.image for sample in loaded.samples], self._device)
            for work in ahead.popleft().works:
                started(work.group.label)
                yield work, self._evaluator(work.group).evaluate(work, loaded, resized)

    def _evaluator(self, group: CellGroup) -> SpanEvaluator:
        """The evaluator of a group; on a GPU, the selector that was not used for longest makes room."""
        if group.key not in self._evaluators:
            self._evaluators[group.key] = group, SpanEvaluator(group, self._store, self._options)
        self._evaluators.move_to_end(group.key)
        if self._device.type != "cpu" and len(self._evaluators) > RESIDENT:
            _, (other, _) = self._evaluators.popitem(last=False)
            if all(other.selector is not kept.selector for kept, _ in self._evaluators.values()):
                other.selector.selector.to("cpu")
        return self._evaluators[group.key][1]
