"""Evaluates cells of one group on spans of images: scores, ranks, runs the model, and returns rows."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ltrp_bench.harness.evaluation.cost import CostRecorder, ScoreCost
from ltrp_bench.harness.evaluation.environment import device_name
from ltrp_bench.harness.evaluation.execution.resized_images import ResizedImages
from ltrp_bench.harness.evaluation.execution.span_work import NewScores, SpanResult, SpanWork
from ltrp_bench.harness.evaluation.loading import LoadedSpan
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.score_cache import CachedScores, ScoreCache
from ltrp_bench.harness.evaluation.score_stage import ScoreStage
from ltrp_bench.harness.evaluation.scorer import Grid
from ltrp_bench.harness.evaluation.task_stage import TaskStage
from ltrp_bench.harness.evaluation.thumbnails import THUMBNAILS, thumbnail
from ltrp_bench.results.store.run_store import RunStore


class SpanEvaluator:
    """Evaluates the cells of one group. It reads cached scores, and writes nothing.

    Args:
        group: the group.
        store: folder of the results.
        options: device and batch size.
    """

    def __init__(self, group: CellGroup, store: RunStore, options: SweepOptions) -> None:
        self._notices: list[str] = []
        self._scores = _ReadScores(ScoreCache(store, group, self._notices.append))
        # Controls that use no pixels multiply nothing.
        gflops = None if group.selector.selector.uses_pixels else 0.0
        self._costs = CostRecorder(device_name(options.device), self._notices.append, gflops)
        self._score_stage = ScoreStage(group, self._scores, self._costs, options)
        self._task_stage = TaskStage(group.task.task, self._costs, options.effective_batch_size)

    def evaluate(self, work: SpanWork, loaded: LoadedSpan, resized: ResizedImages) -> SpanResult:
        """Do the work.

        Args:
            work: cells of this evaluator's group.
            loaded: the images of the work's span.
            resized: the same images at the sizes that selectors ask for.

        Raises:
            BenchError: the selector or the task failed.
        """
        began = time.perf_counter()
        rankings = self._score_stage.rank(loaded, resized)
        rows = {cell.fingerprint: self._task_stage.rows(cell, loaded, rankings) for cell in work.cells}
        shown = work.gallery and rankings is not None
        ids = loaded.image_ids
        result = SpanResult(
            rows=rows,
            unreadable=loaded.unreadable,
            costs=self._costs.take(),
            seconds=time.perf_counter() - began,
            scores=self._scores.take(),
            ranks={one: ranking.ranks() for one, ranking in zip(ids, rankings or (), strict=True)} if shown else None,
            thumbnails=[thumbnail(sample) for sample in loaded.samples[:THUMBNAILS]] if shown else (),
            notices=tuple(self._notices),
        )
        self._notices.clear()
        return result


class _ReadScores:
    """Reads scores of the cache, and holds new ones until they are taken: only the driver writes the store."""

    def __init__(self, cache: ScoreCache) -> None:
        self._cache = cache
        self._new: NewScores | None = None

    def get(self, ids: Sequence[str], grids: Sequence[Grid]) -> CachedScores | None:
        return self._cache.get(ids, grids)

    def put(self, ids: Sequence[str], grids: Sequence[Grid], scores: Sequence[np.ndarray], cost: ScoreCost) -> None:
        self._new = NewScores(ids=ids, grids=grids, scores=scores, cost=cost)

    def take(self) -> NewScores | None:
        new, self._new = self._new, None
        return new
