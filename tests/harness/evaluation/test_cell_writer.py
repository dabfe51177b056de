"""State of a group of cells on disk: what is missing, what is merged, when a cell may be finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import toy_bench as toy

from ltrp_bench.harness.evaluation.cell_writer import CellWriter, skip_reason
from ltrp_bench.harness.evaluation.cost import CostRecorder
from ltrp_bench.harness.evaluation.plan import CellGroup
from ltrp_bench.harness.evaluation.task_stage import TaskStage
from ltrp_bench.results.schema.image_rows import Images
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import DownsampleControl
from ltrp_bench.selectors.errors import InputError

SPANS = [(0, 64), (64, 70)]


def _group(ratios: Sequence[float] = (0.25, 0.5), bad: Sequence[int] = ()) -> CellGroup:
    (group,) = toy.toy_groups(toy.ToyTask(70, bad), selectors=[DownsampleControl(8)], ratios=ratios)
    return group


def _writer(out: Path, group: CellGroup, *, skip: bool = False) -> CellWriter:
    return CellWriter(group, RunStore(out), skip_unreadable=skip)


def _write(writer: CellWriter, group: CellGroup, span: tuple[int, int]) -> dict[str, Images]:
    loaded = toy.load(group.task.task, *span)
    stage = TaskStage(group.task.task, CostRecorder("cpu", print), 1)
    rows = {cell.fingerprint: stage.rows(cell, loaded, None) for cell in writer.missing()[span]}
    writer.write_span(span, rows, loaded.unreadable)
    return rows


def _no_cost(fingerprint: str) -> dict[str, float]:
    return {}


def test_spans_are_missing_until_they_are_written(tmp_path: Path) -> None:
    group = _group()
    writer = _writer(tmp_path, group)
    assert writer.pending == group.cells
    assert list(writer.missing().items()) == [(span, group.cells) for span in SPANS]
    _write(writer, group, SPANS[1])
    assert writer.missing() == {SPANS[0]: group.cells}
    _write(writer, group, SPANS[0])
    assert writer.missing() == {} and _writer(tmp_path, group).missing() == {}


def test_rows_of_other_keep_ratios_stay_in_the_span(tmp_path: Path) -> None:
    few, more = _group(ratios=(0.5,)), _group()
    held = _write(_writer(tmp_path, few), few, SPANS[0])
    writer = _writer(tmp_path, more)
    assert writer.missing() == {SPANS[0]: more.cells[:1], SPANS[1]: more.cells}
    new = _write(writer, more, SPANS[0])
    assert list(new) == [more.cells[0].fingerprint]
    stored = RunStore(tmp_path).read_chunk(more.key, SPANS[0], [cell.fingerprint for cell in more.cells])
    assert stored == ({**held, **new}, {})


def test_a_finished_cell_has_its_record_and_rows(tmp_path: Path) -> None:
    group, store = _group(), RunStore(tmp_path)
    writer = _writer(tmp_path, group)
    rows = [_write(writer, group, span) for span in SPANS]
    first = group.cells[0]
    writer.finish({"machine": "here"}, lambda fingerprint: {"selector_ms": 2.0})
    record = store.read_cell(first.fingerprint)
    assert (record.images, record.keep_ratio, record.skipped) == (70, 0.25, ())
    assert record.value("coverage", "all") == 0.25
    assert store.read_images(first.fingerprint) == {k: v for part in rows for k, v in part[first.fingerprint].items()}
    assert store.read_provenance(first.fingerprint) == {
        "cost": {"selector_ms": 2.0},
        "machine": "here",
        "role": "control",
        "skipped": {},
    }
    assert writer.pending == _writer(tmp_path, group).pending == ()
    assert not list((tmp_path / "partial").rglob("*.parquet"))


def test_what_was_assumed_is_kept_with_the_results(tmp_path: Path) -> None:
    group = _group(ratios=(0.5,))
    group.selector.selector.assumptions = ("its heads are 3",)
    group.task.task.assumptions = ("its classes are in order",)
    writer = _writer(tmp_path, group)
    for span in SPANS:
        _write(writer, group, span)
    writer.finish({"finished": "now"}, _no_cost)
    stored = RunStore(tmp_path).read_provenance(group.cells[0].fingerprint)
    assert stored["assumed"] == ["its heads are 3", "its classes are in order"]


def test_a_cell_cannot_be_finished_without_all_spans(tmp_path: Path) -> None:
    group = _group()
    writer = _writer(tmp_path, group)
    _write(writer, group, SPANS[0])
    with pytest.raises(ResultsError, match="00000064-00000070.parquet went missing during the run"):
        writer.finish({}, _no_cost)
    assert not (tmp_path / "cells").exists()


def test_spans_of_another_run_outlive_the_cells_that_are_finished(tmp_path: Path) -> None:
    """Two processes share a folder, with other keep ratios each: finishing one's cells leaves the other's rows."""
    ours, theirs = _group(ratios=(0.5,)), _group(ratios=(0.25,))
    writer, other = _writer(tmp_path, ours), _writer(tmp_path, theirs)
    _write(other, theirs, SPANS[0])
    for span in SPANS:
        _write(writer, ours, span)
    writer.finish({}, _no_cost)
    assert list(other.missing()) == [SPANS[1]]
    _write(other, theirs, SPANS[1])
    other.finish({}, _no_cost)
    assert not list((tmp_path / "partial").rglob("*.parquet"))


def test_cells_that_another_process_has_finished_are_kept(tmp_path: Path) -> None:
    group = _group()
    writer, other = _writer(tmp_path, group), _writer(tmp_path, group)
    for span in SPANS:
        _write(writer, group, span)
    writer.finish({"machine": "first"}, _no_cost)
    assert other.still_missing(SPANS[0]) == () and other.pending == ()
    other.finish({"machine": "second"}, _no_cost)
    assert RunStore(tmp_path).read_provenance(group.cells[0].fingerprint)["machine"] == "first"


def test_skipped_images_are_unfinished_work_unless_skipping_is_allowed(tmp_path: Path) -> None:
    group, store = _group(bad=[3, 69]), RunStore(tmp_path)
    writer = _writer(tmp_path, group, skip=True)
    for span in SPANS:
        _write(writer, group, span)
    assert _writer(tmp_path, group, skip=True).missing() == {}
    assert list(_writer(tmp_path, group).missing()) == SPANS
    writer.finish({}, _no_cost)
    record = store.read_cell(group.cells[0].fingerprint)
    assert (record.images, record.skipped) == (68, ("toy 3", "toy 69"))
    assert skip_reason(store, record, "toy 69") == "image toy 69 is corrupt"
    assert skip_reason(store, record, "toy 4") is None
    assert _writer(tmp_path, group, skip=True).pending == ()
    assert _writer(tmp_path, group).pending == group.cells


def test_nothing_is_finished_without_a_readable_image(tmp_path: Path) -> None:
    group = _group(bad=range(70))
    writer = _writer(tmp_path, group, skip=True)
    for span in SPANS:
        _write(writer, group, span)
    with pytest.raises(InputError, match="task 'toy-coverage': not one of its 70 images could be read"):
        writer.finish({}, _no_cost)


def test_a_summary_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    class Summarized(toy.ToyTask):
        def resampling_summary(self, records: object) -> dict[str, object] | None:
            made.append(records)
            return None

    made: list[object] = []
    (group,) = toy.toy_groups(Summarized(70), selectors=[DownsampleControl(8)], ratios=(0.5,))
    writer = _writer(tmp_path, group)
    for span in SPANS:
        _write(writer, group, span)
    writer.finish({}, _no_cost)
    made.clear()
    _writer(tmp_path, group).add_missing_summaries()
    assert made == [RunStore(tmp_path).read_images(group.cells[0].fingerprint)]
