"""First stage of a sweep: ranks the patches of each image of a span."""

from __future__ import annotations

import time

import numpy as np
import torch

from ltrp_bench.harness.evaluation.cost import CostRecorder
from ltrp_bench.harness.evaluation.execution.resized_images import ResizedImages
from ltrp_bench.harness.evaluation.loading import LoadedSpan
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.ranking import PatchRanking
from ltrp_bench.harness.evaluation.score_cache import Scores
from ltrp_bench.harness.evaluation.scorer import Scorer, oracle_scores


class ScoreStage:
    """Ranks patches with the selector of one group of cells.

    Args:
        group: the cells; they share selector, task and seed.
        cache: scores found there are not computed.
        costs: gets the time and operations of the scores.
        options: device and batch size of the selector.
    """

    def __init__(self, group: CellGroup, cache: Scores, costs: CostRecorder, options: SweepOptions) -> None:
        self._group, self._cache, self._costs = group, cache, costs
        self._scorer = Scorer(group.selector.selector, torch.device(options.device), options.effective_batch_size)

    def rank(self, loaded: LoadedSpan, resized: ResizedImages) -> list[PatchRanking] | None:
        """Rank the patches of a span's images.

        Args:
            loaded: the images.
            resized: the same images at the sizes that selectors ask for.

        Returns:
            One ranking per image; None for a selector that keeps no patches.
        """
        if self._group.selector.reduces_by_downsampling:
            return None
        ids = loaded.image_ids
        scored = zip(self._scores(loaded, resized, ids), ids, strict=True)
        return [PatchRanking.from_scores(scores, image_id, self._group.seed) for scores, image_id in scored]

    def _scores(self, loaded: LoadedSpan, resized: ResizedImages, ids: list[str]) -> list[np.ndarray]:
        """[gh, gw] float32 of each image, from the cache or the selector."""
        samples, grids, seed = loaded.samples, loaded.grids, self._group.seed
        if not samples:
            return []
        cached = self._cache.get(ids, grids)
        if cached is not None:
            self._costs.add_cached(cached.cost)
            return cached.scores
        objects = None
        if self._scorer.needs_context:
            task = self._group.task.task
            objects = [oracle_scores(self._group.selector.selector, task, sample) for sample in samples]
        began, before = time.perf_counter(), resized.seconds
        scores = self._scorer.scores(samples, grids, seed, objects, resized)
        # Resizing is left out: of the selectors that ask for one size, only the first pays for it.
        ms = 1000 * (time.perf_counter() - began - (resized.seconds - before)) / len(samples)
        first = None if objects is None else objects[:1]
        cost = self._costs.add_scores(ms, lambda: self._scorer.scores(samples[:1], grids[:1], seed, first))
        self._cache.put(ids, grids, scores, cost)
        return scores
