"""Cells of a run."""

from __future__ import annotations

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.plan import plan
from ltrp_bench.selectors.controls import DownsampleControl, FullControl, OracleControl, RandomControl
from ltrp_bench.selectors.errors import UsageError


def _cells(notices: list[str] | None = None, **options: object) -> list[tuple[str, int, float]]:
    lines: list[str] = [] if notices is None else notices
    groups = toy.toy_groups(notice=lines.append, **options)  # type: ignore[arg-type]
    return [(group.selector.name, group.seed, cell.keep_ratio) for group in groups for cell in group.cells]


def test_only_stochastic_selectors_run_with_several_seeds() -> None:
    cells = _cells(selectors=[toy.NetSelector(), RandomControl(8)], ratios=[0.5, 0.25, 0.5], seeds=[3, 1, 3])
    assert cells == [
        ("net", 3, 0.25),
        ("net", 3, 0.5),
        ("random", 3, 0.25),
        ("random", 3, 0.5),
        ("random", 1, 0.25),
        ("random", 1, 0.5),
    ]


def test_a_selector_that_keeps_every_patch_runs_at_ratio_1() -> None:
    lines: list[str] = []
    assert _cells(lines, selectors=[FullControl(8)]) == [("full", 0, 1.0)]
    assert lines == ["full keeps every patch: it runs at keep ratio 1 only"]
    lines.clear()
    assert _cells(lines, selectors=[FullControl(8)], ratios=[1.0]) == [("full", 0, 1.0)] and not lines


def test_downsample_runs_on_tasks_that_support_it() -> None:
    lines: list[str] = []
    assert len(_cells(lines, selectors=[DownsampleControl(8)])) == 2 and not lines
    task = toy.ToyTask()
    task.supports_downsample = False
    assert _cells(lines, task=task, selectors=[DownsampleControl(8)]) == []
    task.reduction = "none"
    assert _cells(lines, task=task, selectors=[DownsampleControl(8)]) == []
    assert lines == [
        "downsample is left out on toy-coverage: its model takes no smaller images",
        "downsample is left out on toy-coverage: "
        "coverage is about the patches that are kept, and downsample keeps none",
    ]


def test_equal_cells_run_once() -> None:
    pairs = toy.entries(toy.ToyTask(), OracleControl(8), OracleControl(8))
    groups = plan(pairs, [0.5], [0], print)
    assert len(groups) == 1
    # Another identity of the task makes another cell.
    other = toy.entries(toy.ToyTask(images=7), OracleControl(8))
    assert len(plan([*pairs, *other], [0.5], [0], print)) == 2


@pytest.mark.parametrize("ratios", [[], [0.0], [-0.1], [1.01], [float("nan")]])
def test_ratios_out_of_range(ratios: list[float]) -> None:
    with pytest.raises(UsageError, match="keep"):
        _cells(ratios=ratios)


@pytest.mark.parametrize("seeds", [[], [-1]])
def test_seeds_out_of_range(seeds: list[int]) -> None:
    with pytest.raises(UsageError, match="seeds"):
        _cells(seeds=seeds)


def test_a_task_without_images() -> None:
    with pytest.raises(UsageError, match="no images"):
        toy.toy_groups(toy.ToyTask(images=0))
