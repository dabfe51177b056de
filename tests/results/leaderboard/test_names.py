"""Names of tasks and selectors: what differs stands beside names that several have, and ids where nothing does."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.names import add_labels, labels, selector_labels, with_names
from ltrp_bench.results.store.labels import Labels


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


def test_what_differs_stands_beside_a_name_that_several_have() -> None:
    rows = [
        {"selector": "entropy", "selector_id": "a1", "selector_options": '{"bins":9}'},
        {"selector": "entropy", "selector_id": "b2", "selector_options": '{"bins":23}'},
        {"selector": "evit", "selector_id": "c3", "selector_options": '{"weights":"#1"}', "selector_label": "ours"},
        {"selector": "evit", "selector_id": "d4", "selector_options": '{"weights":"#2"}', "selector_label": "ours"},
        {"selector": "evit", "selector_id": "e5", "selector_options": '{"weights":"#3"}'},
    ]
    shown = list(map(labels("selector", rows), rows))
    assert shown == ["entropy bins=9", "entropy bins=23", "ours c3", "ours d4", "evit"]
    assert labels("selector", rows[:1])(rows[0]) == "entropy"  # only what differs among these rows


def test_options_and_models_of_records(world: Any) -> None:
    record = world.cell("ltrp", 0.25, 0.6)
    row: dict[str, Any] = {"selector_id": record.selector.identity.short, "task_id": record.task.identity.short}
    stored = Labels({}, {}, {record.task.identity.short: "yolox"}, {record.selector.identity.short: "tiny.pt"})
    add_labels([row], stored, [record])
    assert row["model"] == "yolox" and '"model":"yolox"' in row["task_options"]
    assert '"weights":"tiny.pt"' in row["selector_options"]


@pytest.mark.parametrize(
    ("command", "model"),
    [
        (["ltrp-bench", "run", "--model", "timm:vit_tiny", "--model-weights", "a.pt"], "vit_tiny"),
        (["run", "--model=configs/yolox_nano.py"], "yolox_nano"),
        (["run", "--task-option", "TASK.model=rtmdet", "--task-option", "other.model=no"], "rtmdet"),
        (["run", "--model"], ""),
        (None, ""),
        ("run --model x", ""),
    ],
)
def test_the_model_of_older_results_is_that_of_their_command(world: Any, command: Any, model: str) -> None:
    record = world.cell("ltrp", 0.25, 0.6, reduction="fill")
    name = str(record.task.identity.value.get("name"))
    given = [word.replace("TASK", name) for word in command] if isinstance(command, list) else command
    row: dict[str, Any] = {"selector_id": "a", "task_id": record.task.identity.short}
    add_labels([row], Labels(), [record], lambda fingerprint: {"command": given})
    assert row["model"] == model


def test_names_of_a_table_are_columns() -> None:
    rows = [
        {"task": "det", "task_id": key, "task_options": f'{{"images":{limit}}}', "selector": "evit", "selector_id": "a"}
        for key, limit in (("t1", 60), ("t2", 300))
    ]
    found = with_names(pd.DataFrame(rows))
    assert found["task_name"].tolist() == ["det limit 60", "det limit 300"]
    assert found["selector_name"].tolist() == ["evit", "evit"]
