"""Comparison: what counts as a regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ltrp_bench.results.comparison.compare import CompareOptions, Comparison, compare, compare_frames
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.store.run_store import RunStore

MakeRecord = Callable[..., CellRecord]


def _compare(base: Sequence[CellRecord], current: Sequence[CellRecord], tolerance: float = 0.01) -> Comparison:
    return compare_frames(aggregate_cells(base), aggregate_cells(current), tolerance)


def _status(comparison: Comparison) -> list[str]:
    return [row.status for row in comparison.rows]


def test_equal_tables_pass(make_record: MakeRecord) -> None:
    records = [make_record("ltrp"), make_record("center", 0.5, values=(0.1, math.nan, 0.2))]
    comparison = _compare(records, records, 0.0)
    assert not comparison.regressions and set(_status(comparison)) <= {"ok", "not compared"}


@pytest.mark.parametrize(
    ("now", "status"),
    [
        ((0.49, 0.59, 0.39), "ok"),
        ((0.489, 0.6, 0.4), "worse"),
        ((0.5, 0.58, 0.42), "worse"),
        ((0.5, 0.7, 0.38), "worse"),
        ((0.6, 0.8, 0.4), "better"),
        ((0.5, 0.6, math.nan), "worse"),
    ],
)
def test_direction(make_record: MakeRecord, now: tuple[float, float, float], status: str) -> None:
    # The gap doubles in the "better" case: only seen and unseen are compared.
    assert _status(_compare([make_record()], [make_record(values=now)])) == [status]


def test_undefined_in_the_base_is_not_compared(make_record: MakeRecord) -> None:
    base = [make_record(values=(0.5, 0.5, math.nan))]
    assert _status(_compare(base, base)) == ["ok"]
    assert _status(_compare(base, [make_record(values=(0.5, 0.5, 0.1))])) == ["ok"]


def test_nothing_measured_in_the_base_is_not_compared(tmp_path: Path, make_record: MakeRecord) -> None:
    base = [make_record(values=(math.nan,) * 3), make_record("center")]
    comparison = _compare(base, [make_record(), make_record("center")])
    assert sorted((row.status, row.note) for row in comparison.rows) == [
        ("not compared", "nothing was measured in the base"),
        ("ok", ""),
    ]
    write_table(aggregate_cells(base[:1]), tmp_path / "base.csv")
    with pytest.raises(ResultsError, match=r"base\.csv has no value to compare with: nothing could be measured"):
        compare(tmp_path / "base.csv", tmp_path / "base.csv")


def test_rows_that_are_missing_or_incomplete(make_record: MakeRecord) -> None:
    base = [make_record("ltrp"), make_record("center")]
    absent = _compare(base, [make_record("ltrp")])
    assert _status(absent) == ["missing", "ok"] and len(absent.regressions) == 1
    seeds = [make_record("random", seed=seed, stochastic=True) for seed in (0, 1)]
    noise = [make_record("noise", seed=seed, stochastic=True) for seed in (0, 1)]
    half = _compare([*seeds, *noise], [*seeds, noise[0]])
    assert half.regressions[0].note == "incomplete now (seed 1)"
    # Rows that are incomplete in the base are never regressions.
    assert not _compare([*seeds, noise[0]], [*seeds, noise[0]]).regressions
    assert _status(_compare([make_record("ltrp")], base)) == ["new", "ok"]


def test_other_weights_are_compared_by_name_with_a_note(make_record: MakeRecord) -> None:
    (row,) = _compare([make_record()], [make_record(weights="w2", values=(0.4, 0.4, 0.4))]).rows
    assert row.status == "worse" and "other selector" in row.note


def test_one_name_with_two_weights_pairs_by_identity(make_record: MakeRecord) -> None:
    both = [make_record(weights="w1"), make_record(weights="w2", values=(0.3, 0.3, 0.3))]
    assert _status(_compare(both, both)) == ["ok", "ok"]
    assert _status(_compare(both, both[:1])) == ["missing", "ok"]


def test_two_rows_with_one_name_show_their_ids(make_record: MakeRecord) -> None:
    one, two, other = make_record(), make_record(weights="w2"), make_record("evit")
    ids = [record.selector.identity.short for record in (one, two)]
    comparison = _compare([one, other], [two, one, other])
    assert {(row.status, row.key[3]) for row in comparison.rows} == {
        *(("ok", f"ltrp {ids[0]}"), ("new", f"ltrp {ids[1]}"), ("ok", "evit"))
    }
    assert f"| none | 0.25 | ltrp {ids[1]} |" in comparison.markdown()
    names = [case.get("name") for case in ElementTree.fromstring(comparison.junit()).iter("testcase")]
    assert f"ltrp {ids[1]} at keep ratio 0.25" in names and len(set(names)) == 3
    # One row for both: its note says that the weights differ.
    (row,) = _compare([one], [two]).rows
    assert row.key[3] == "ltrp" and "other selector" in row.note
    tasks = [make_record(), make_record(limit=5)]
    assert {row.key[0] for row in _compare(tasks, tasks).rows} == {
        f"shapes-coverage {record.task.identity.short}" for record in tasks
    }


def test_markdown(make_record: MakeRecord) -> None:
    comparison = _compare([make_record()], [make_record(values=(0.4, 0.6, 0.4))])
    text = comparison.markdown()
    (first, *_) = replace(comparison, unseen_by="imagenet21k").markdown().splitlines()
    assert first == "**1 regression** in 1 rows (1 by tolerance 0.01); unseen by imagenet21k."
    lines = text.splitlines()
    assert lines[0] == "**1 regression** in 1 rows (1 by tolerance 0.01)."
    assert lines[2].startswith("| status | task |") and len(lines) == 5
    assert "0.5000 → 0.4000 (-0.1000)" in lines[4] and "all fell by 0.1" in lines[4]
    assert {line.count("|") for line in lines[2:]} == {11}


def test_csv_files_and_run_folders(tmp_path: Path, make_record: MakeRecord) -> None:
    store = RunStore(tmp_path / "runs")
    records = [make_record(), make_record("center", 0.5)]
    for record in records:
        store.write_cell(record, {}, {"x": "int64"}, {})
    write_table(aggregate_cells(records), tmp_path / "base.csv")
    assert not compare(tmp_path / "base.csv", tmp_path / "runs", CompareOptions(tolerance=0.0)).regressions
    assert not compare(tmp_path / "runs", tmp_path / "base.csv", CompareOptions(tolerance=0.0)).regressions
    with pytest.raises(ResultsError, match="tolerance"):
        compare(tmp_path / "base.csv", tmp_path / "runs", CompareOptions(tolerance=-1.0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="has no complete row"):
        compare(tmp_path / "empty", tmp_path / "runs")
    assert len(compare(tmp_path / "base.csv", tmp_path / "empty").regressions) == 2
