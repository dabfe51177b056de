"""From rankings to checked rows: prefixes of the ranking, batches of one size, errors that name the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.cost import CostRecorder
from ltrp_bench.harness.evaluation.plan import Cell
from ltrp_bench.harness.evaluation.ranking import PatchRanking
from ltrp_bench.harness.evaluation.task_stage import TaskStage
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.selectors.errors import InputError
from ltrp_bench.tasks.base import Downsample, Keep, ReducedInput, Row, Sample

HALF = Cell(0.5, "half")


class WatchedTask(toy.ToyTask):
    """Remembers its calls."""

    def __init__(self, images: int = 150) -> None:
        super().__init__(images)
        self.calls: list[tuple[list[str], Sequence[ReducedInput]]] = []

    def predict(self, samples: Sequence[Sample], reductions: Sequence[ReducedInput]) -> list[list[Row]]:
        self.calls.append(([sample.image_id for sample in samples], reductions))
        return super().predict(samples, reductions)


def _rankings(grids: Sequence[tuple[int, int]]) -> list[PatchRanking]:
    return [PatchRanking(np.arange(gh * gw)[::-1], (gh, gw)) for gh, gw in grids]


def test_rows_come_in_the_order_of_the_images(tmp_path: Any) -> None:
    task, costs = WatchedTask(), CostRecorder("cpu", print)
    loaded = toy.load(task, 0, 5)
    rows = TaskStage(task, costs, 2).rows(HALF, loaded, _rankings(loaded.grids))
    # Images 0 and 3 are square; the others share another size.
    assert [ids for ids, _ in task.calls] == [["toy 0", "toy 3"], ["toy 1", "toy 2"], ["toy 4"]]
    assert list(rows) == ["toy 0", "toy 1", "toy 2", "toy 3", "toy 4"]
    assert rows["toy 0"] == [] and [row["patches"] for row in rows["toy 1"]] == [12]
    assert [type(value) for value in rows["toy 1"][0].values()] == [str, float, int, bytes]
    assert list(costs.take().model_ms) == ["half"]


def test_the_best_patches_are_kept() -> None:
    task = WatchedTask()
    loaded = toy.load(task, 0, 1)
    TaskStage(task, CostRecorder("cpu", print), 1).rows(HALF, loaded, _rankings(loaded.grids))
    ((_, (kept,)),) = task.calls
    assert isinstance(kept, Keep) and kept.mask.shape == (5, 5)
    assert np.flatnonzero(kept.mask).tolist() == list(range(13, 25))  # round(0.5 * 25) = 12 of the ranking's first


def test_without_rankings_images_are_downsampled() -> None:
    task = WatchedTask()
    TaskStage(task, CostRecorder("cpu", print), 8).rows(HALF, toy.load(task, 1, 3), None)
    assert task.calls == [(["toy 1", "toy 2"], [Downsample(0.5), Downsample(0.5)])]


def test_rows_of_too_few_images_are_refused() -> None:
    class FewRows(toy.ToyTask):
        def predict(self, samples: Any, reductions: Any) -> list[list[Row]]:
            return []

    with pytest.raises(InputError, match="task 'toy-coverage' gave rows of 0 images for 2"):
        TaskStage(FewRows(), CostRecorder("cpu", print), 8).rows(HALF, toy.load(toy.ToyTask(), 1, 3), None)


def test_rows_that_do_not_fit_the_schema_name_their_image() -> None:
    class OddRows(toy.ToyTask):
        def predict(self, samples: Any, reductions: Any) -> list[list[Row]]:
            return [[{"category": "a"}] for _ in samples]

    with pytest.raises(ResultsError, match="task 'toy-coverage', image 'toy 1': the columns of a row differ"):
        TaskStage(OddRows(), CostRecorder("cpu", print), 8).rows(HALF, toy.load(toy.ToyTask(), 1, 3), None)
