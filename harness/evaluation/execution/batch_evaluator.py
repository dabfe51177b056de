"""Evaluates the works of a batch one after another, and keeps what they share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import torch

from ltrp_bench.harness.evaluation.execution.resized_images import ResizedImages
from ltrp_bench.harness.evaluation.execution.span_evaluator import SpanEvaluator
from ltrp_bench.harness.evaluation.execution.span_work import SpanBatch, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import LoadedSpan
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.results.store.run_store import RunStore

RESIDENT: Final = 8
"""Selectors that stay on a GPU; others wait in main memory."""


class BatchEvaluator:
    """Evaluates batches on one device.

    Args:
        store: folder of the results, for scores that were computed before.
        options: device and batch size.
    """

    def __init__(self, store: RunStore, options: SweepOptions) -> None:
        self._store, self._options = store, options
        self._device = torch.device(options.device)
        self._evaluators: OrderedDict[str, tuple[CellGroup, SpanEvaluator]] = OrderedDict()

    def evaluate(
        self, batch: SpanBatch, loaded: LoadedSpan, started: Callable[[str], None]
    ) -> Iterator[tuple[SpanWork, SpanResult]]:
        """Do the works of a batch on its images, in order.

        Args:
            batch: the works.
            loaded: the images of the batch's span.
            started: called with the label of the batch.
        """
        resized = ResizedImages([sample.image for sample in loaded.samples], self._device)
        started(batch.label)
        for work in batch.works:
            yield work, self._evaluator(work.group).evaluate(work, loaded, resized)

    def clear(self) -> None:
        """Forget all selectors and tasks."""
        self._evaluators.clear()

    def _evaluator(self, group: CellGroup) -> SpanEvaluator:
        """The evaluator of a group; on a GPU, the selector that was not used for longest makes room."""
        held = self._evaluators.get(group.key)
        if held is None or held[0].selector is not group.selector or held[0].task is not group.task:
            self._evaluators[group.key] = group, SpanEvaluator(group, self._store, self._options)
        self._evaluators.move_to_end(group.key)
        if self._device.type != "cpu" and len(self._evaluators) > RESIDENT:
            _, (other, _) = self._evaluators.popitem(last=False)
            if all(other.selector is not kept.selector for kept, _ in self._evaluators.values()):
                other.selector.selector.to("cpu")
        return self._evaluators[group.key][1]
