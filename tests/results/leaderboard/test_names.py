"""Names of tasks and selectors: with ids only where one name stands for several."""

from __future__ import annotations

from ltrp_bench.results.leaderboard.names import labels, selector_labels


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


def test_ids_of_selectors_that_depend_on_the_task_are_not_needed() -> None:
    rows = [
        {"task": "seg", "task_id": "t1", "selector": "ltrp", "selector_id": "a1"},
        {"task": "det", "task_id": "t2", "selector": "ltrp", "selector_id": "b2"},
        {"task": "det", "task_id": "t3", "selector": "ltrp", "selector_id": "b2"},
        {"task": "det", "task_id": "t3", "selector": "ltrp", "selector_id": "c3"},
    ]
    assert list(map(selector_labels(rows), rows)) == ["ltrp", "ltrp", "ltrp b2", "ltrp c3"]
    assert list(map(labels("task", rows), rows)) == ["seg", "det t2", "det t3", "det t3"]


def test_tables_without_ids() -> None:
    rows = [{"selector": "ltrp"}, {"selector": "ltrp"}]
    assert list(map(labels("selector", rows), rows)) == ["ltrp", "ltrp"]


def test_a_label_stands_for_the_name() -> None:
    rows = [
        {"selector": "ltrp", "selector_id": "a1", "selector_label": "ours"},
        {"selector": "ltrp", "selector_id": "b2", "selector_label": ""},
        {"selector": "evit", "selector_id": "c3", "selector_label": float("nan")},  # read from a CSV file
    ]
    assert list(map(labels("selector", rows), rows)) == ["ours", "ltrp", "evit"]
    rows[1]["selector_label"] = "ours"
    assert list(map(labels("selector", rows), rows)) == ["ours a1", "ours b2", "evit"]
