"""Names of tasks and selectors: with ids only where one name stands for several."""

from __future__ import annotations

from ltrp_bench.results.leaderboard.names import labels


def test_only_names_with_several_ids_have_them() -> None:
    rows = [
        {"task": "seg", "task_id": "t1", "selector": "ltrp", "selector_id": "a1"},
        {"task": "seg", "task_id": "t1", "selector": "ltrp", "selector_id": "b2"},
        {"task": "seg", "task_id": "t1", "selector": "evit", "selector_id": "c3"},
        {"task": "seg", "task_id": "t1", "selector": "evit", "selector_id": "c3"},
    ]
    assert list(map(labels("selector", rows), rows)) == ["ltrp a1", "ltrp b2", "evit", "evit"]
    assert set(map(labels("task", rows), rows)) == {"seg"}
    assert labels("selector", rows[:1])(rows[1]) == "ltrp"


def test_tables_without_ids() -> None:
    rows = [{"selector": "ltrp"}, {"selector": "ltrp"}]
    assert list(map(labels("selector", rows), rows)) == ["ltrp", "ltrp"]
