"""What is timed, and with which inputs, by the log of what was called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy_bench import PATCH, NetSelector, PlainSelector, ToyTask

from ltrp_bench.harness.evaluation.latency.timing import Clock
from ltrp_bench.harness.evaluation.latency.workload import Workload, measure, workload_of
from ltrp_bench.results.store.latency import Times
from ltrp_bench.selectors.base import as_selector
from ltrp_bench.selectors.controls import DownsampleControl, FullControl
from ltrp_bench.tasks.base import Downsample, Keep

CPU = torch.device("cpu")


class Steps(Clock):
    """A clock that what is timed moves: scores take 2 s, the model 10 s an image share that it is given."""

    def __init__(self) -> None:
        super().__init__("wall", CPU)
        self.time = 0.0
        self.now = lambda: self.time

    def select(self, ratio: float) -> float:
        self.time += 2.0
        return ratio

    def run(self, share: float) -> None:
        self.time += 10.0 * share


def test_parts_are_timed_apart_and_together() -> None:
    clock = Steps()
    workload = Workload(select=clock.select, run=clock.run, whole=1.0, kept={0.25: 0.25, 0.5: 0.5})
    turns, found = measure(workload, [0.25, 0.5], turns=5, seconds=1000, clock=clock)
    assert turns == 5
    seconds = {ratio: {part: times.median / 1000 for part, times in own.items()} for ratio, own in found.items()}
    assert seconds == {
        0.25: pytest.approx({"whole": 10, "selector": 2, "model": 2.5, "both": 4.5}),
        0.5: pytest.approx({"whole": 10, "selector": 2, "model": 5, "both": 7}),
    }


def test_without_a_selector_both_is_the_model_alone() -> None:
    clock = Steps()
    _, found = measure(Workload(run=clock.run, whole=1.0, kept={0.5: 0.5}), [0.5], turns=3, seconds=99, clock=clock)
    assert found[0.5].keys() == {"whole", "model", "both"}
    assert found[0.5]["both"] == found[0.5]["model"] == Times(5000.0, 5000.0)


def test_without_a_model_the_selector_is_timed_alone() -> None:
    clock = Steps()
    _, found = measure(Workload(select=clock.select), [0.5, 1.0], turns=3, seconds=99, clock=clock)
    assert {ratio: set(own) for ratio, own in found.items()} == {0.5: {"selector"}, 1.0: {"selector"}}


class Recorder(ToyTask):
    """Remembers what its model is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []

    def predict(self, samples: Any, reductions: Any) -> Any:
        self.given.append(list(reductions))
        return super().predict(samples, reductions)


@pytest.mark.parametrize("selector", [NetSelector(), as_selector(PlainSelector())], ids=["net", "third party"])
def test_a_selector_keeps_what_a_run_keeps(selector: Any) -> None:
    task = Recorder()
    samples = [task.load(i) for i in (1, 2, 4)]  # of one size
    workload = workload_of(selector, task, samples, [0.25, 0.5], CPU)
    variants = workload.variants([0.25, 0.5])
    assert list(variants) == ["whole", "selector", "model 0.25", "both 0.25", "model 0.5", "both 0.5"]
    assert task.given == []
    variants["whole"]()
    variants["model 0.25"]()
    variants["both 0.25"]()
    whole, model, both = task.given
    assert all(one.mask.all() and one.mask.shape == (4, 6) for one in whole)
    assert [int(one.mask.sum()) for one in model] == [6, 6, 6]  # 0.25 of 24 patches
    assert all(np.array_equal(one.mask, other.mask) for one, other in zip(model, both, strict=True))
    assert not np.array_equal(model[0].mask, model[1].mask)


def test_references_and_downsampling_run_no_selector() -> None:
    task = Recorder()
    samples = [task.load(1)]
    full = workload_of(FullControl(PATCH), task, samples, [1.0], CPU)
    assert full.select is None and isinstance(full.kept[1.0][0], Keep)
    small = workload_of(DownsampleControl(PATCH), task, samples, [0.5], CPU)
    assert small.select is None and small.kept == {0.5: [Downsample(0.5)]}


def test_a_task_without_a_model_has_nothing_to_run() -> None:
    task = Recorder()
    task.reduction = "none"
    workload = workload_of(NetSelector(), task, [task.load(1)], [0.5], CPU)
    assert workload.run is None and list(workload.variants([0.5])) == ["selector"]
