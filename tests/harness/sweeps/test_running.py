from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_bench import ToyTask, sweep, toy_groups

from ltrp_bench.harness.evaluation.plan import selector_entry, task_entry
from ltrp_bench.harness.sweeps.running import check_measured, closing_notes, plan_run
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import DownsampleControl, RandomControl
from ltrp_bench.selectors.errors import InputError, UsageError


class NoShrinking(ToyTask):
    supports_downsample = False


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> CellRecord:
    groups = toy_groups(ToyTask(4), [RandomControl(8)], (0.5,), (0,))
    return sweep(tmp_path_factory.mktemp("record"), groups=groups)[0]


def test_the_whole_image_is_added_unless_it_is_not_wanted(tmp_path: Path) -> None:
    pairs = [(selector_entry(RandomControl(), "random", {"name": "random"}), task_entry(ToyTask(4)))]
    store = RunStore(tmp_path)
    notes: list[str] = []
    with_full = plan_run(pairs, store, [0.5], [0], notes.append, full=True)
    assert [group.selector.name for group in with_full] == ["random", "full"] and len(notes) == 1
    assert [one.selector.name for one in plan_run(pairs, store, [0.5], [0], notes.append, full=False)] == ["random"]


def test_a_run_of_nothing_is_refused(tmp_path: Path) -> None:
    pairs = [(selector_entry(DownsampleControl(), "downsample", {"name": "downsample"}), task_entry(NoShrinking(4)))]
    with pytest.raises(UsageError, match="nothing to run"):
        plan_run(pairs, RunStore(tmp_path), [0.5], [0], [].append, full=True)


def test_no_value_is_an_error(record: CellRecord, tmp_path: Path) -> None:
    check_measured([record])
    with pytest.raises(InputError, match="nothing could be measured: no object or label of toy-coverage counts"):
        check_measured([replace(record, metrics=())])


def test_images_that_were_left_out_are_named(record: CellRecord, tmp_path: Path) -> None:
    many = replace(record, skipped=tuple(f"i{number}" for number in range(12)))
    names = ", ".join(f"i{number} of toy-coverage" for number in range(10))
    assert closing_notes(RunStore(tmp_path), [many, many]) == [f"12 unreadable images left out: {names} and 2 more"]
    assert closing_notes(RunStore(tmp_path), [replace(record, skipped=("a",))]) == [
        "1 unreadable image left out: a of toy-coverage"
    ]
    assert closing_notes(RunStore(tmp_path), [record]) == []
