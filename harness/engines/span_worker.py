"""The worker of every engine: builds selectors and tasks once, and evaluates spans of images."""

from __future__ import annotations

import json
import platform
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from ltrp_bench.harness.engines.work_order import UnfitWorkerError, WorkOrder
from ltrp_bench.harness.evaluation.environment import cpu_threads
from ltrp_bench.harness.evaluation.execution.batch_evaluator import BatchEvaluator
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import SpanLoading
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup, SelectorEntry, TaskEntry
from ltrp_bench.harness.evaluation.request import build_selector, build_task
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import BenchError

SELECTORS: Final = 16
TASKS: Final = 3
"""Selectors and tasks that a worker holds; those that were not used for longest make room for others."""

Entry = TypeVar("Entry", SelectorEntry, TaskEntry)


class SpanWorker:
    """Evaluates work orders, on one device.

    Args:
        root: folder of the results; scores are read from it where this machine has it. Nothing is written.
        options: device, batch size, threads.
    """

    def __init__(self, root: Path, options: SweepOptions) -> None:
        self._options = options
        self._evaluator = BatchEvaluator(RunStore(root), options)
        self._readers = ThreadPoolExecutor(options.workers, "load") if options.workers > 0 else None
        self._ahead: dict[tuple[str, tuple[int, int]], SpanLoading] = {}
        self._selectors: OrderedDict[str, SelectorEntry] = OrderedDict()
        self._tasks: OrderedDict[str, TaskEntry] = OrderedDict()

    def prefetch(self, order: WorkOrder) -> None:
        """Begin to read the images of an order that `evaluate` gets later."""
        if self._readers is not None and (order.identity, order.span) not in self._ahead:
            self._ahead[order.identity, order.span] = self._loading(order)

    def evaluate(self, order: WorkOrder) -> list[SpanResult]:
        """Results of an order's works, in their order.

        Raises:
            BenchError: the selector or the task failed, or its files are not those of the driver.
        """
        loading = self._ahead.pop((order.identity, order.span), None) or self._loading(order)
        batch = self._batch(order)
        with cpu_threads(self._options.threads):
            return [result for _, result in self._evaluator.evaluate(batch, loading.result(), lambda label: None)]

    def _loading(self, order: WorkOrder) -> SpanLoading:
        return SpanLoading(self._task(order).task, order.span, self._readers, self._options.skip_bad_images)

    def _batch(self, order: WorkOrder) -> SpanBatch:
        task, works = self._task(order), []
        for one in order.works:
            selector = _held(self._selectors, one.identity, partial(build_selector, one.selector), SELECTORS)
            group = CellGroup(selector, task, one.seed, one.cells)
            works.append(SpanWork(group=group, span=order.span, cells=one.cells, gallery=one.gallery))
        return SpanBatch(task=task, span=order.span, works=works)

    def _task(self, order: WorkOrder) -> TaskEntry:
        recipe = order.task.on(self._options.device)
        return _held(self._tasks, order.identity, partial(build_task, recipe), TASKS)


def _held(held: OrderedDict[str, Entry], identity: str, build: Callable[[], Entry], limit: int) -> Entry:
    """The entry of an identity, built at first use. Raises UnfitWorkerError if that fails, or another one is built."""
    if identity not in held:
        try:
            entry = build()
        except BenchError as error:
            raise UnfitWorkerError(f"{platform.node()}: {error}") from error
        if entry.info.identity.text != identity:
            raise UnfitWorkerError(
                f"{platform.node()}: {entry.info.name} has other files than where the run was started: "
                f"{_difference(identity, entry.info.identity.text)}"
            )
        held[identity] = entry
    held.move_to_end(identity)
    while len(held) > limit:
        held.popitem(last=False)
    return held[identity]


def _difference(ordered: str, found: str) -> str:
    """The parts of two identities that differ, as "data: x instead of y"."""
    expected, built = json.loads(ordered), json.loads(found)
    names = sorted(name for name in {*expected, *built} if expected.get(name) != built.get(name))
    return "; ".join(f"{name}: {built.get(name)} instead of {expected.get(name)}" for name in names)
