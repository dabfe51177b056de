"""Tasks written for the names of methods before 0.2 still run, with a warning."""

from __future__ import annotations

from typing import Any

import pytest
import toy_bench

from ltrp_bench.tasks import base
from ltrp_bench.tasks.base import RENAMED_METHODS, Keep, Sample, Task


def test_a_subclass_with_old_names_has_the_new_ones() -> None:
    body = {old: getattr(toy_bench.ToyTask, new) for old, new in RENAMED_METHODS.items()}
    renamed = {*body, *RENAMED_METHODS.values()}
    rest = {name: value for name, value in vars(toy_bench.ToyTask).items() if name not in renamed}
    with pytest.warns(DeprecationWarning, match="is now called"):
        old_task: Any = type("OldTask", (Task,), {**rest, **body})
    assert not old_task.__abstractmethods__
    task, new_task = old_task(), toy_bench.ToyTask()
    sample = task.load(0)
    reductions = [Keep(task.oracle_scores(sample) > 0)]
    assert task.predict([sample], reductions) == new_task.predict([sample], reductions)


def test_old_names_call_the_new_methods() -> None:
    task: Any = toy_bench.ToyTask()
    sample = task.load(0)
    with pytest.warns(DeprecationWarning, match="objects is now called oracle_scores"):
        found = task.objects(sample)
    assert (found == task.oracle_scores(sample)).all()
    rows = task.predict([sample], [Keep(found > 0)])[0]
    with pytest.warns(DeprecationWarning, match="summarise is now called compute_metrics"):
        metrics = task.summarise({sample.image_id: rows})
    assert repr(metrics) == repr(task.compute_metrics({sample.image_id: rows}))


def test_super_of_an_old_name_is_the_parents_method() -> None:
    calls = []

    class Older(toy_bench.ToyTask):
        def process(self, samples: list[Sample], reductions: list[Any]) -> Any:
            calls.append("process")
            return super().process(samples, reductions)  # type: ignore[misc]

    sample = Older().load(0)
    keep = [Keep(Older().oracle_scores(sample) > 0)]
    with pytest.warns(DeprecationWarning):
        assert Older().predict([sample], keep) == toy_bench.ToyTask().predict([sample], keep)
    assert calls == ["process"]


def test_the_old_name_of_the_union_of_reduced_inputs() -> None:
    with pytest.warns(DeprecationWarning, match="ReducedInput"):
        assert base.Reduction == base.ReducedInput
    with pytest.raises(AttributeError, match="Nothing"):
        base.Nothing  # noqa: B018
