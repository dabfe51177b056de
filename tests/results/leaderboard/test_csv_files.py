"""CSV files: exact round trip, areas left out, other files rejected."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard import aggregate, build
from ltrp_bench.results.leaderboard.aggregate import aggregate_cells, aggregate_folder
from ltrp_bench.results.leaderboard.csv_files import read_all_columns, read_csv
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.leaderboard.names import LABELS, OPTIONS
from ltrp_bench.results.schema.record import CellRecord, ResultsError

MakeRecord = Callable[..., CellRecord]


def test_csv_gives_the_same_table_back(tmp_path: Path, make_record: MakeRecord) -> None:
    records = [make_record("ltrp", values=(1 / 3, 0.1 + 0.2, math.nan)), make_record("center", 0.5)]
    frame = aggregate_cells(records)
    write_table(frame, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv"), frame, check_exact=True, check_dtype=False)
    write_table(read_csv(tmp_path / "a.csv"), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_other_files_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="does not exist"):
        read_csv(tmp_path / "no.csv")
    for text in ("", "a,b\n1,2\n"):
        (tmp_path / "odd.csv").write_text(text)
        with pytest.raises(ResultsError, match=r"odd\.csv is not a "):
            read_csv(tmp_path / "odd.csv")


def test_files_and_folders_have_the_same_rows(world: Any, tmp_path: Path) -> None:
    for ratio in (0.25, 0.5):
        world.cell("ltrp", ratio, 0.6)
    leaderboard = build.load_leaderboard(world.store.root)
    assert leaderboard.frame["ratios"].tolist() == ["0.25", "0.5", "auc 0.25-0.5"]
    write_table(leaderboard.frame, tmp_path / "all.csv")
    rows = read_csv(tmp_path / "all.csv")
    assert tuple(rows.columns) == (*aggregate.COLUMNS, *LABELS, *OPTIONS) and rows["keep_ratio"].tolist() == [0.25, 0.5]
    cells = rows[list(aggregate.COLUMNS)]
    pd.testing.assert_frame_equal(cells, aggregate_folder(world.store.root), check_exact=True, check_dtype=False)


def test_all_columns_are_read_and_absent_ones_are_empty(world: Any, tmp_path: Path) -> None:
    for ratio in (0.25, 0.5):
        world.cell("ltrp", ratio, 0.6)
    frame = build.load_leaderboard(world.store.root).frame
    write_table(frame.drop(columns=["rank", "machine"]).assign(own=[1, 2, 3]), tmp_path / "some.csv")
    back = read_all_columns(tmp_path / "some.csv", build.COLUMNS)
    assert list(back.columns) == [*build.COLUMNS, "own"]
    assert back["rank"].isna().all() and back["machine"].isna().all()
    assert back["all_low"].tolist() == frame["all_low"].tolist() and math.isnan(back["keep_ratio"].iloc[-1])
    assert back["task_id"].tolist() == frame["task_id"].tolist()
    (tmp_path / "other.csv").write_text("task,task_id\n1,2\n")
    with pytest.raises(ResultsError, match=r"other\.csv is not a leaderboard: it lacks the columns reduction, metric"):
        read_all_columns(tmp_path / "other.csv", build.COLUMNS)
    with pytest.raises(ResultsError, match=r"none\.csv does not exist; give a CSV file that"):
        read_all_columns(tmp_path / "none.csv", build.COLUMNS)
