"""Content of the report's page, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.report.page_data import SHOWN, ReportSource, report_data
from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.store.gallery import Thumbnail, write_images, write_ranks

RANKS = np.array([[0, 1], [2, 3]], np.int32)


def _data(world: Any) -> dict[str, Any]:
    store = world.store
    leaderboard = load_leaderboard(store.root, LeaderboardOptions(resamples=20))
    data = report_data(ReportSource(store, store.read_cells(), leaderboard))
    parsed: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return parsed


def test_rows_are_plain_json(world: Any) -> None:
    for ratio in (0.25, 0.5):
        world.cell("ltrp", ratio, 0.9)
        world.cell("random", ratio, 0.1)
    data = _data(world)
    assert data["columns"] == [*SHOWN, "note"] and len(data["rows"]) == 6
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
    ltrp = next(row for row in rows if row["selector"] == "ltrp" and row["ratios"] == "0.5")
    assert ltrp["break_even_random"] == "inf" and ltrp["break_even_downsample"] is None
    assert ltrp["all"] == round(ltrp["all"], 5) and ltrp["complete"] is True and ltrp["images"] == 120
    area = next(row for row in rows if row["ratios"] == "auc 0.25-0.5")
    assert area["keep_ratio"] is None
    assert list(data["styles"]) == ["ltrp", "random"]
    assert data["styles"]["ltrp"] == {"light": "#1384e5", "dark": "#508ff0", "symbol": "circle", "dash": "solid"}
    assert data["styles"]["random"]["dash"] == "2px,3px"


def test_costs_are_drawn_with_the_headline_metric_alone(world: Any) -> None:
    world.cell("ltrp", 0.25, 0.5, task="shapes-cls", reduction="drop")
    board = load_leaderboard(world.store.root, LeaderboardOptions(intervals=False))
    one = board.frame.assign(latency_both_ms=3.0)
    frame = pd.concat([one.assign(metric="another", all=1.0), one], ignore_index=True)
    (task,) = report_data(ReportSource(world.store, world.store.read_cells(), replace(board, frame=frame)))["tasks"]
    (cost,) = task["costs"]
    assert len(cost["points"]) == 1 and cost["front"] == [[3.0, float(one["all"].iloc[0])]]


def test_exposed_rows_refer_to_the_notes_of_their_task(world: Any) -> None:
    for task in ("shapes-coverage", "shapes-cls"):
        for name in ("ltrp", "evit", "gradcam", "clip"):
            world.cell(name, 0.25, 0.5, task=task)
    store = world.store
    leaderboard = load_leaderboard(store.root, LeaderboardOptions(resamples=20))
    frame = leaderboard.frame.assign(split_by="imagenet1k", seen_categories=3, unseen_categories=2, unseen_objects=5)
    frame = frame.assign(unseen_measured=2, exposed_unseen=0.5, supervision="imagenet21k+imagenet1k")
    states = {"evit": "exposed", "gradcam": "exposed", "clip": "open", "ltrp": "none"}
    frame["exposure"] = frame["selector"].map(states)
    frame["exposed_categories"] = frame["selector"].map({"evit": "kite", "gradcam": "kite"})
    frame[["unseen_rank", "gap_from_whole"]] = float("nan")
    data = report_data(ReportSource(store, store.read_cells(), replace(leaderboard, frame=frame)))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
    notes = {"clip": 1, "evit": 0, "gradcam": 0, "ltrp": None}
    assert [(row["selector"], row["note"]) for row in rows] == 2 * list(notes.items())
    assert rows[0]["gap_from_whole"] is None
    for task in data["tasks"]:
        assert task["split"] == "unseen by imagenet1k: 2 of 5 categories, 5 objects"
        assert task["few"] == "2 categories are few: their mean says little about unseen categories in general"
        assert task["notes"] == [
            "† evit, gradcam: labels of imagenet21k+imagenet1k contain 1 of the 2 categories called unseen: kite",
            "‡ clip: trained with imagenet21k+imagenet1k; which categories these showed cannot be known",
        ]


def test_common_texts_of_cells_are_stored_once(world: Any) -> None:
    records = [world.cell(name, 0.25, 0.5) for name in ("ltrp", "random")]
    path = world.store.provenance_path(records[0].fingerprint)
    path.write_text(json.dumps({"command": ["/usr/bin/ltrp-bench", "run", "--out", "a b"], "versions": {"torch": "2"}}))
    data = _data(world)
    first, second = (data["cells"][record.fingerprint[:16]] for record in records)
    assert data["shared"][first["command"]] == "ltrp-bench run --out 'a b'"
    assert data["shared"][first["versions"]] == "torch 2" and data["shared"][second["versions"]] == ""
    assert first["task"] == second["task"] and first["selector"] != second["selector"]
    assert json.loads(data["shared"][first["task"]]) == records[0].task.identity.value
    assert (first["fingerprint"], first["images"], first["skipped"]) == (records[0].fingerprint, 120, 0)


def test_best_and_worst_categories(world: Any) -> None:
    record = world.cell("ltrp", 0.25, 0.5)
    own = tuple(MetricRow("coverage", "seen", f"thing {k}", k / 8, k) for k in range(8))
    kept = tuple(row for row in record.metrics if row.category is None)
    undefined = MetricRow("coverage", "seen", "none", float("nan"), 0)
    stored = replace(record, metrics=(*kept, *own, undefined))
    world.store.write(world.store.cell_path(record.fingerprint), stored.to_json().encode())
    (task,) = _data(world)["tasks"]
    (categories,) = task["categories"]
    assert categories["best"] == [[f"thing {k}", k / 8, "seen", k] for k in (7, 6, 5, 4, 3)]
    assert categories["worst"] == [[f"thing {k}", k / 8, "seen", k] for k in (2, 1, 0)]
    assert (categories["count"], categories["metric"], categories["cell"]) == (8, "coverage", record.fingerprint[:16])


@pytest.mark.parametrize("whole", [False, True])
def test_selectors_that_keep_every_patch_have_no_ranks(world: Any, whole: bool) -> None:
    """The role is read from the provenance of the cells."""
    records = [world.cell(name, 1.0, 0.5) for name in ("ltrp", "random", "full", "mine:M")]
    world.store.provenance_path(records[3].fingerprint).write_text(json.dumps({"keeps_every_patch": whole}))
    task_id = records[0].task.identity.short
    for record in records:
        write_ranks(world.store, task_id, record.selector.identity.short, 0, {"a": RANKS})
    write_images(world.store, task_id, [Thumbnail("a", 2, 1, b"webp")])
    (task,) = _data(world)["tasks"]
    shown = ["ltrp", "random"] if whole else ["ltrp", "mine:M", "random"]
    assert [name for _, name in task["gallery"]["selectors"]] == shown
    assert [one["selectors"] for one in task["agreement"]] == [shown] * 3
    assert [one["ids"] for one in task["agreement"]] == [[one for one, _ in task["gallery"]["selectors"]]] * 3
    assert task["agreement"][1]["matrix"] == [[1.0] * len(shown)] * len(shown) and task["agreement"][0]["images"] == 1
    (image,) = task["gallery"]["images"]
    assert image["src"] == "data:image/webp;base64,d2VicA==" and (image["width"], image["height"]) == (2, 1)
    assert next(iter(image["ranks"].values())) == {"grid": [2, 2], "ranks": [0, 1, 2, 3]}


def test_tasks_without_a_gallery(world: Any) -> None:
    world.cell("ltrp", 0.25, 0.5)
    (task,) = _data(world)["tasks"]
    assert task["gallery"] is None and task["agreement"] == []
