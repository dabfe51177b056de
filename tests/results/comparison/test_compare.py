"""Comparison: what counts as a regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ltrp_bench.results.comparison.compare import CompareOptions, Comparison, compare, compare_frames
from ltrp_bench.results.comparison.outcome import RowComparison
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.schema.record import CellRecord, ResultsError
from ltrp_bench.results.statistics.replicates import paired
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.errors import UsageError

KEY = ("shapes-coverage", "none", 0.25, "ltrp")
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
        ((0.51, 0.61, 0.41), "ok"),
        ((0.5, 0.6, 0.411), "better"),
        ((math.nan, 0.7, 0.5), "worse"),
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


def _values(all_: float, seen: float, unseen: float) -> Any:
    values = {"all": all_, "seen": seen, "unseen": unseen, "gap": seen - unseen}
    return pytest.approx(values, nan_ok=True)


def test_rows_hold_values_and_reasons(make_record: MakeRecord) -> None:
    """Each kind of row, whole; regressions come first."""
    fallen = (0.4, 0.6, math.nan)
    base = [
        *(make_record("ltrp"), make_record("gone"), make_record("random", 0.5, values=(math.nan,) * 3)),
        *(make_record("center", 0.5, values=(0.5, math.nan, 0.4)), make_record("evit", 0.5, weights="w1")),
        *(make_record(one, 0.25, seed, stochastic=True) for one in ("noise", "part") for seed in (0, 1)),
    ]
    now = [
        *(make_record("ltrp", values=fallen), make_record("random", 0.5), make_record("new")),
        *(make_record("center", 0.5, values=(0.5, 0.1, 0.3)), make_record("evit", 0.5, weights="w2")),
        *(make_record("noise", 0.25, seed, stochastic=True) for seed in (0, 1)),
        make_record("part", 0.25, 0, stochastic=True),
    ]
    same, none = _values(0.5, 0.6, 0.4), _values(*(math.nan,) * 3)
    # Every selector but one has one keep ratio of two.
    rows = {row.key[2:]: row for row in _compare(base, now).rows if row.base or row.current}
    task = KEY[:2]
    assert rows[0.25, "ltrp"] == RowComparison(
        "worse", (*task, 0.25, "ltrp"), same, _values(*fallen), "all fell by 0.1; unseen is no longer defined"
    )
    assert rows[0.25, "gone"] == RowComparison("missing", (*task, 0.25, "gone"), same, {}, "not in the current results")
    assert rows[0.25, "new"] == RowComparison("new", (*task, 0.25, "new"), {}, same, "not in the base")
    assert rows[0.5, "random"] == RowComparison(
        "not compared", (*task, 0.5, "random"), none, same, "nothing was measured in the base"
    )
    assert rows[0.5, "center"] == RowComparison(
        "worse",
        (*task, 0.5, "center"),
        _values(0.5, math.nan, 0.4),
        _values(0.5, 0.1, 0.3),
        "unseen fell by 0.1",
    )
    assert rows[0.5, "evit"] == RowComparison(
        "ok", (*task, 0.5, "evit"), same, same, "other selector than in the base (weights, options or data)"
    )
    assert rows[0.25, "noise"] == RowComparison("ok", (*task, 0.25, "noise"), same, same)
    assert rows[0.25, "part"] == RowComparison("missing", (*task, 0.25, "part"), same, none, "incomplete now (seed 1)")
    assert rows[0.25, "evit"] == RowComparison(
        "not compared", (*task, 0.25, "evit"), none, none, "incomplete in the base (keep ratio 0.25)"
    )
    assert rows[0.5, "gone"] == RowComparison(
        "not compared", (*task, 0.5, "gone"), none, {}, "incomplete in the base (keep ratio 0.5)"
    )
    order = [(not row.regression, row.key) for row in _compare(base, now).rows]
    assert order == sorted(order) and [row.regression for row in _compare(base, now).rows].count(True) == 4


def test_other_data_and_metrics_are_told(make_record: MakeRecord) -> None:
    (row,) = _compare([make_record()], [make_record(weights="w2", limit=5)]).rows
    assert row.note == "other task and selector than in the base (weights, options or data)"
    base = aggregate_cells([make_record()])
    (row,) = compare_frames(base, base.assign(metric="recall"), 0.01).rows
    assert (row.key, row.status, row.note) == (KEY, "missing", "the metric was coverage, now recall")
    assert row.base == row.current == _values(0.5, 0.6, 0.4)


def test_ambiguous_names_are_not_matched(make_record: MakeRecord) -> None:
    one, two, three = (make_record(weights=name) for name in ("w1", "w2", "w3"))
    assert _status(_compare([one, two], [three])) == ["missing", "missing", "new"]
    assert _status(_compare([one], [two, three])) == ["missing", "new", "new"]
    # Once the one that both have is taken, the others have one name on each side.
    assert _status(_compare([one, two], [one, three])) == ["ok", "ok"]
    # Names are told apart by all that they are made of.
    for other in (make_record("evit"), make_record(task="t"), make_record(reduction="drop"), make_record(keep_ratio=1)):
        assert _status(_compare([one], [other])) == ["missing", "new"]


def test_run_folders_have_paired_tests(world: Any, other_world: Any, tmp_path: Path) -> None:
    base, now = world.store, other_world.store
    before, after = world.cell("ltrp", 0.5, 0.5), other_world.cell("ltrp", 0.5, 0.497)
    world.cell("gone", 0.5, 0.5)
    comparison = compare(base.root, now.root, CompareOptions(resamples=20, test="paired"))
    assert [(row.status, row.key[3]) for row in comparison.rows] == [("missing", "gone"), ("worse", "ltrp")]
    was, is_ = paired(*(s.read_summary(r) for s, r in ((base, before), (now, after))), "coverage", KEY[0], 20)
    changes = comparison.rows[1].changes
    assert changes is not None and list(changes) == ["all", "seen", "unseen"]
    for group, change in changes.items():
        assert change.point == pytest.approx(-0.0015)  # 0.5 * (0.497 - 0.5)
        assert (change.low, change.high) == (is_[group] - was[group]).interval()
    assert comparison.rows[1].note == "; ".join(f"{group} {change.text()}" for group, change in changes.items())
    assert comparison.unseen_by == "" and comparison.tolerance == 0.005
    # By tolerance, if that is asked for or one side is a file.
    write_table(aggregate_cells(now.read_cells()), tmp_path / "now.csv")
    for current, options in ((now.root, CompareOptions(test="tolerance")), (tmp_path / "now.csv", CompareOptions())):
        rows = compare(base.root, current, options).rows
        assert [(row.status, row.changes) for row in rows] == [("missing", None), ("ok", None)]
    with pytest.raises(ResultsError, match=r"no paired test of 1 rows, such as shapes-coverage \(none\) ltrp"):
        compare(base.root, tmp_path / "now.csv", CompareOptions(test="paired"))


def test_rises_are_better_and_equal_values_have_no_note(world: Any, other_world: Any) -> None:
    world.cell("ltrp", 0.5, 0.5)
    other_world.cell("ltrp", 0.5, 0.5)
    world.cell("risen", 0.5, 0.5)
    other_world.cell("risen", 0.5, 0.6)
    rows = compare(world.store.root, other_world.store.root, CompareOptions(resamples=20)).rows
    assert [(row.key[3], row.status) for row in rows] == [("ltrp", "ok"), ("risen", "better")]
    assert rows[0].note == "" and rows[1].note.startswith("all +0.0500 [")


def test_versions_of_the_code_match_in_run_folders(world: Any, other_world: Any) -> None:
    for one, version in ((world, 1), (other_world, 2)):
        one.cell("ltrp", 0.5, 0.5, version=version)
        one.cell("ltrp", 0.5, 0.4, version=version, weights="w2")
    rows = compare(world.store.root, other_world.store.root, CompareOptions(resamples=20)).rows
    assert [(row.status, row.note) for row in rows] == [("ok", ""), ("ok", "")]
    # They are shown as in the leaderboard of the base.
    assert {row.key[3] for row in rows} == {"ltrp w1", "ltrp w2"}


@pytest.mark.parametrize("narrow_as", [None, "seen", "unseen"])
def test_groups_of_another_label_set(world: Any, other_world: Any, known_labels: Any, narrow_as: Any) -> None:
    """By "kinds", b is narrow and a is unseen; the run had a as seen and b as unseen."""
    own, _ = (one.cell("ltrp", 0.5, 0.5, 0.2) for one in (world, other_world))
    notices: list[str] = []
    foreign = world.make(task="other-task")
    rows = [replace(row, category="c") if row.category else row for row in foreign.metrics]
    world.store.write_cell(replace(foreign, metrics=tuple(rows)), {}, {"x": "int64"}, {})
    options = CompareOptions(unseen_by="kinds", narrow_as=narrow_as, resamples=20)
    sides = world.store.root, other_world.store.root
    comparison = compare(*sides, options, label_sets=known_labels, notice=notices.append)
    assert comparison.unseen_by == "kinds"
    (row,) = [row for row in comparison.rows if row.key[0] == KEY[0]]
    a, b, both = (own.value("coverage", group) for group in ("seen", "unseen", "all"))
    groups = {"seen": math.nan, "unseen": both} if narrow_as == "unseen" else {"seen": b, "unseen": a}
    for values in (row.base, row.current):
        assert {name: values[name] for name in groups} == pytest.approx(groups, nan_ok=True)
    assert notices == ["kinds has no split of the categories of other-task, which stay split by imagenet1k"]


def test_sides_in_other_groups_are_not_compared(world: Any, other_world: Any) -> None:
    world.cell("ltrp", 0.5, 0.5)
    other_world.cell("ltrp", 0.5, 0.5, label_set="imagenet21k")
    with pytest.raises(ResultsError, match="is split by imagenet1k .* and by imagenet21k"):
        compare(world.store.root, other_world.store.root)


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
    with pytest.raises(UsageError, match="tolerance"):
        compare(tmp_path / "base.csv", tmp_path / "runs", CompareOptions(tolerance=-1.0))
    with pytest.raises(UsageError, match="the tolerance must be 0 or more, not nan"):
        compare(tmp_path / "base.csv", tmp_path / "runs", CompareOptions(tolerance=math.nan))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="has no complete row"):
        compare(tmp_path / "empty", tmp_path / "runs")
    assert len(compare(tmp_path / "base.csv", tmp_path / "empty").regressions) == 2
