"""From images to rankings: cache first, selector otherwise, one ranking per image."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_bench as toy

from ltrp_bench.harness.evaluation import score_stage
from ltrp_bench.harness.evaluation.cost import CostRecorder
from ltrp_bench.harness.evaluation.execution.resized_images import ResizedImages
from ltrp_bench.harness.evaluation.loading import LoadedSpan
from ltrp_bench.harness.evaluation.options import SweepOptions
from ltrp_bench.harness.evaluation.score_cache import ScoreCache
from ltrp_bench.harness.evaluation.score_stage import ScoreStage
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.base import BatchContext, Selector, resize
from ltrp_bench.selectors.controls import DownsampleControl, OracleControl, RandomControl
from ltrp_bench.selectors.topk import rank_patches


def _stage(out: Path, selector: Selector, seed: int = 0, costs: CostRecorder | None = None) -> ScoreStage:
    (group,) = toy.toy_groups(selectors=[selector], seeds=(seed,))
    cache = ScoreCache(RunStore(out), group, print)
    return ScoreStage(group, cache, costs or CostRecorder("cpu", print), SweepOptions())


def _resized(loaded: LoadedSpan) -> ResizedImages:
    return ResizedImages([sample.image for sample in loaded.samples], torch.device("cpu"))


def test_scores_are_computed_once_and_ranked_alike(tmp_path: Path) -> None:
    loaded = toy.load(toy.ToyTask(), 0, 5)
    selectors = [toy.NetSelector(), toy.NetSelector()]
    first, second = (_stage(tmp_path, one).rank(loaded, _resized(loaded)) for one in selectors)
    assert first is not None and second is not None
    assert [one.calls["images"] for one in selectors] == [5 + 1, 0]  # once more, to count its operations
    for one, other, grid in zip(first, second, loaded.grids, strict=True):
        assert np.array_equal(one.order, other.order) and one.grid == other.grid == grid


def test_ties_are_broken_by_image_and_seed(tmp_path: Path) -> None:
    class Constant(toy.NetSelector):
        def _scores(self, images: torch.Tensor, context: object) -> torch.Tensor:
            return torch.zeros(len(images), images.shape[2] // 8, images.shape[3] // 8)

    loaded = toy.load(toy.ToyTask(), 0, 2)
    for seed in (0, 3):
        rankings = _stage(tmp_path, Constant(), seed).rank(loaded, _resized(loaded))
        assert rankings is not None
        for ranking, image_id, grid in zip(rankings, loaded.image_ids, loaded.grids, strict=True):
            expected = rank_patches(torch.zeros(1, *grid), [image_id], seed)[0]
            assert ranking.order.tolist() == expected.tolist()


def test_the_seed_reaches_a_selector_with_chance(tmp_path: Path) -> None:
    loaded = toy.load(toy.ToyTask(), 0, 1)
    orders = [
        _stage(tmp_path, RandomControl(8), seed).rank(loaded, _resized(loaded))[0].order.tolist() for seed in (0, 1, 0)
    ]  # type: ignore[index]
    assert orders[0] == orders[2] != orders[1]


def test_ground_truth_is_ranked_and_not_cached(tmp_path: Path) -> None:
    task, loaded = toy.ToyTask(), toy.load(toy.ToyTask(), 0, 3)
    rankings = _stage(tmp_path, OracleControl(8)).rank(loaded, _resized(loaded))
    assert rankings is not None and not (tmp_path / "scores").exists()
    for ranking, sample in zip(rankings, loaded.samples, strict=True):
        shares = task.oracle_scores(sample).ravel()[ranking.order]
        assert shares.tolist() == sorted(shares.tolist(), reverse=True)


def test_downsampling_needs_no_ranking(tmp_path: Path) -> None:
    loaded = toy.load(toy.ToyTask(), 0, 3)
    assert _stage(tmp_path, DownsampleControl(8)).rank(loaded, _resized(loaded)) is None


def test_an_image_is_resized_once_for_selectors_of_one_size(tmp_path: Path) -> None:
    loaded = toy.load(toy.ToyTask(), 0, 3)
    resized = _resized(loaded)
    _stage(tmp_path / "a", toy.PlainSelector()).rank(loaded, resized)  # type: ignore[arg-type]
    seconds = resized.seconds
    assert seconds > 0
    first = resized.get([0], (64, 64))
    assert resized.get([0], (64, 64)) is first and resized.seconds == seconds
    assert torch.equal(first, resize([loaded.samples[0].image], (64, 64)))


def test_a_selector_without_pixels_is_given_none(tmp_path: Path) -> None:
    loaded = toy.load(toy.ToyTask(), 0, 3)
    resized = _resized(loaded)
    assert _stage(tmp_path, RandomControl(8)).rank(loaded, resized) is not None
    assert resized.seconds == 0


def test_a_span_without_readable_images_costs_nothing(tmp_path: Path) -> None:
    costs = CostRecorder("cpu", print)
    loaded = toy.load(toy.ToyTask(bad=range(3)), 0, 3)
    assert _stage(tmp_path, toy.NetSelector(), costs=costs).rank(loaded, _resized(loaded)) == []
    assert costs.take().scores is None and not (tmp_path / "scores").exists()


def test_scores_are_timed_by_image_without_resizing_and_the_cost_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock of half a second a look: 11 looks after the first, between which five batches are resized for half."""
    ticks = itertools.count(10.0, 0.5)
    monkeypatch.setattr(score_stage.time, "perf_counter", lambda: next(ticks))
    loaded = toy.load(toy.ToyTask(), 0, 5)
    resized = _resized(loaded)
    resized.seconds = 100.0  # for selectors before
    costs = [CostRecorder("cpu", print) for _ in range(2)]
    for recorder in costs:
        _stage(tmp_path, toy.NetSelector(), costs=recorder).rank(loaded, resized)
    first, again = (recorder.take().scores for recorder in costs)
    assert first is not None and first.ms == 1000 * (5.5 - 2.5) / 5 and first.gflops > 0
    assert again == first


def test_operations_are_counted_on_one_image_with_its_seed_and_ground_truth(tmp_path: Path) -> None:
    class Watching(OracleControl):
        asked: list[BatchContext]

        def to(self, device: torch.device | str) -> Selector:
            assert device == torch.device("cpu")
            return self

        def _scores(self, images: torch.Tensor, context: BatchContext | None) -> torch.Tensor:
            assert context is not None
            self.asked.append(context)
            return super()._scores(images, context)

    selector, costs = Watching(8), CostRecorder("cpu", print)
    selector.asked = []
    task, loaded = toy.ToyTask(), toy.load(toy.ToyTask(), 0, 4)
    _stage(tmp_path, selector, 3, costs).rank(loaded, _resized(loaded))
    assert {context.seed for context in selector.asked} == {3}
    truth = torch.from_numpy(task.oracle_scores(loaded.samples[0]))[None]
    counted = selector.asked[-1]
    assert counted.image_ids == ("toy 0",) and counted.objects is not None and torch.equal(counted.objects, truth)
    scores = costs.take().scores
    assert scores is not None and scores.gflops == 0.0
