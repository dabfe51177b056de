"""Aggregation: means over seeds, no averages over missing cells, separate rows for `fill` and `drop`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.aggregate import COLUMNS, aggregate_cells, aggregate_folder
from ltrp_bench.results.schema.record import CellRecord
from ltrp_bench.results.store.run_store import RunStore

MakeRecord = Callable[..., CellRecord]


def _row(frame: pd.DataFrame, **wanted: object) -> pd.Series:
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_seeds_are_averaged(make_record: MakeRecord) -> None:
    values = [(0.5, 0.6, 0.4), (0.4, 0.4, 0.4), (0.6, 0.7, 0.3)]
    frame = aggregate_cells(
        make_record("random", seed=seed, values=value, stochastic=True) for seed, value in enumerate(values)
    )
    assert tuple(frame.columns) == COLUMNS and len(frame) == 1
    row = frame.iloc[0]
    assert row["all"] == pytest.approx(0.5) and row["seeds"] == 3 and row["complete"]
    assert row["gap"] == pytest.approx(statistics.fmean([0.2, 0.0, 0.4]))
    assert row["gap_std"] == pytest.approx(statistics.stdev([0.2, 0.0, 0.4]))
    assert row["supervision"] == "imagenet1k" and len(row["fingerprints"].split()) == 3


def test_a_missing_seed_makes_a_row_incomplete(make_record: MakeRecord) -> None:
    records = [make_record("random", ratio, seed, stochastic=True) for ratio in (0.25, 0.5) for seed in (0, 1)]
    records += [make_record("noise", ratio, 0, stochastic=True) for ratio in (0.25, 0.5)]
    records += [make_record("ltrp", ratio, 0) for ratio in (0.25, 0.5)]
    frame = aggregate_cells(records)
    row = _row(frame, selector="noise", keep_ratio=0.25)
    assert not row["complete"] and row["missing"] == "seed 1"
    assert math.isnan(row["all"]) and math.isnan(row["gap"]) and row["seeds"] == 1
    # Deterministic selectors need one seed only.
    assert _row(frame, selector="ltrp", keep_ratio=0.25)["complete"]
    assert _row(frame, selector="random", keep_ratio=0.5)["complete"]


def test_a_missing_keep_ratio_is_shown(make_record: MakeRecord) -> None:
    records = [make_record("ltrp", ratio) for ratio in (0.1, 0.25, 0.5)] + [make_record("center", 0.25)]
    frame = aggregate_cells([*records, make_record("full", 1.0)])
    assert len(frame) == 7
    for ratio in (0.1, 0.5):
        row = _row(frame, selector="center", keep_ratio=ratio)
        assert not row["complete"] and row["missing"] == f"keep ratio {ratio:g}"
        assert math.isnan(row["seen"]) and row["seeds"] == 0 and row["fingerprints"] == ""
    assert _row(frame, selector="full")["complete"]
    assert _row(frame, selector="center", keep_ratio=0.25)["complete"]


def test_reductions_tasks_and_weights_have_rows_of_their_own(make_record: MakeRecord) -> None:
    frame = aggregate_cells(
        [
            make_record("ltrp", reduction="fill", values=(0.1, 0.1, 0.1)),
            make_record("ltrp", reduction="drop", values=(0.9, 0.9, 0.9)),
            make_record("ltrp", reduction="fill", weights="w2", values=(0.3, 0.3, 0.3)),
            make_record("ltrp", reduction="fill", limit=10, values=(0.5, 0.5, 0.5)),
        ]
    )
    assert len(frame) == 4 and frame["complete"].all()
    assert sorted(frame["all"]) == [0.1, 0.3, 0.5, 0.9]
    assert frame["selector_id"].nunique() == 2 and frame["task_id"].nunique() == 2


def test_images_that_one_selector_skipped(make_record: MakeRecord) -> None:
    frame = aggregate_cells([make_record("ltrp", skipped=("7",)), make_record("center")])
    row = _row(frame, selector="ltrp")
    assert not row["complete"] and row["missing"] == "1 images that others have"
    frame = aggregate_cells([make_record("ltrp", skipped=("7",)), make_record("center", skipped=("7",))])
    assert frame["complete"].all() and set(frame["skipped"]) == {1}


def test_undefined_groups_stay_undefined(make_record: MakeRecord) -> None:
    row = aggregate_cells([make_record(values=(0.5, 0.5, math.nan))]).iloc[0]
    assert row["complete"] and math.isnan(row["unseen"]) and math.isnan(row["gap"])


def test_order_of_records_does_not_matter(make_record: MakeRecord) -> None:
    records = [make_record(name, ratio) for name in "cab" for ratio in (0.5, 0.1)]
    pd.testing.assert_frame_equal(aggregate_cells(records), aggregate_cells(records[::-1]))


def test_a_folder_of_cells(tmp_path: Path, make_record: MakeRecord) -> None:
    store = RunStore(tmp_path)
    store.write_cell(make_record(), {}, {"x": "int64"}, {})
    assert len(aggregate_folder(tmp_path)) == 1
    notices: list[str] = []
    (tmp_path / "empty").mkdir()
    assert len(aggregate_folder(tmp_path / "empty", notices.append)) == 0
    assert notices == [f"{tmp_path / 'empty'} holds no finished cell yet"]
