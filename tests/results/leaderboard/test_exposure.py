"""Unseen categories of a table that the selectors' own label sets contain."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.aggregate import aggregate_cells
from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.category_groups import GroupReader
from ltrp_bench.results.leaderboard.exposure import COLUMNS, Exposure, exposure_of, with_exposure
from ltrp_bench.results.schema.rows import MetricRow


def _row(frame: pd.DataFrame, selector: str, ratios: str) -> pd.Series:
    found = frame[(frame["selector"] == selector) & (frame["ratios"] == ratios)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize(
    ("label_sets", "expected"),
    [
        ((), ("none", 0.0, 0.0, "")),
        (("imagenet1k",), ("none", 0.0, 0.0, "")),
        (("imagenet21k", "imagenet1k"), ("exposed", 1.0, 0.0, "b")),
        (("kinds", "imagenet1k"), ("exposed", 1.0, 1.0, "b (narrow)")),
        (("captions", "imagenet1k"), ("open", math.nan, math.nan, "")),
        (("captions", "imagenet21k"), ("open", math.nan, math.nan, "b")),
        (("somebodys",), ("unknown", math.nan, math.nan, "")),
    ],
)
def test_columns(world: Any, label_sets: tuple[str, ...], expected: tuple[Any, ...], known_labels: Any) -> None:
    world.cell("good", 0.5, 0.6, label_sets=label_sets)
    row = load_leaderboard(world.store.root, LeaderboardOptions(intervals=False), label_sets=known_labels).frame.iloc[0]
    assert (row["split_by"], row["seen_categories"], row["unseen_categories"]) == ("imagenet1k", 1, 1)
    # The world's record says 4 objects of b, and 10 for the whole group.
    assert (row["unseen_measured"], row["unseen_objects"]) == (1, 10)
    found = tuple(row[["exposure", "exposed_unseen", "exposed_narrow", "exposed_categories"]])
    assert found == pytest.approx(expected, nan_ok=True)


def test_columns_of_a_table_without_intervals(world: Any, known_labels: Any) -> None:
    world.cell("good", 0.5, 0.6, label_sets=("imagenet21k", "imagenet1k"))
    world.cell("plain", 0.5, 0.6, label_sets=())
    records = world.store.read_cells()
    table = aggregate_cells(records)
    frame = with_exposure(table, records, GroupReader(world.store, known_labels))
    pd.testing.assert_frame_equal(frame[table.columns], table)
    assert list(frame.columns) == [*table.columns, *COLUMNS, "ceiling"]
    assert frame[["selector", "exposure", "exposed_categories"]].to_numpy().tolist() == [
        *(["good", "exposed", "b"], ["plain", "none", ""])
    ]


def test_the_share_is_that_of_the_unseen_group(world: Any, make_record: Any, known_labels: Any) -> None:
    known_labels.contents["imagenet21k"] = {"b": "seen", "c": "narrow", "d": "unseen", "e": "unseen", "a": "seen"}
    metrics = [MetricRow("coverage", "unseen" if name in "bcde" else "seen", name, 0.5, 1) for name in "abcde"]
    for narrow_as, share in (("seen", 0.5), ("unseen", 0.25)):
        record = make_record(label_sets=("imagenet21k", "imagenet1k"), narrow_as=narrow_as)
        stored = world.store.write_cell(replace(record, metrics=tuple(metrics)), {}, world.schema, {})
        reader = GroupReader(world.store, known_labels)
        found = exposure_of(stored, reader.stored(stored), reader)
        assert found == Exposure(kind="exposed", seen=frozenset("b"), narrow=frozenset("c"), share=share)


def _compare(world: Any, known_labels: Any, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    board = load_leaderboard(world.store.root, LeaderboardOptions(**options), label_sets=known_labels)
    return board.frame, board.pairs


def test_exposed_rows_are_ranked_over_all_categories_only(world: Any, known_labels: Any) -> None:
    for ratio in (0.25, 0.5):
        world.cell("good", ratio, 0.5)
        world.cell("biased", ratio, 0.4, 0.2)
        world.cell("exposed", ratio, 0.6, 0.1, label_sets=("imagenet21k", "imagenet1k"))
        world.cell("captioned", ratio, 0.7, label_sets=("captions",))
        for name in ("variance", "center"):
            world.cell(name, ratio, 0.3, 0.04, label_sets=())
    frame, pairs = _compare(world, known_labels)
    for ratios in ("0.25", "0.5", "auc 0.25-0.5"):
        for name in ("exposed", "captioned"):
            row = _row(frame, name, ratios)
            assert row["exposure"] != "none" and not math.isnan(row["gap"]) and not math.isnan(row["unseen_low"])
            assert math.isnan(row["unseen_rank"]) and math.isnan(row["gap_adjusted"]), (name, ratios)
        assert [_row(frame, name, ratios)["rank"] for name in ("captioned", "exposed", "good")] == [1, 2, 3]
        assert [_row(frame, name, ratios)["unseen_rank"] for name in ("good", "biased")] == [1, 2]
        assert not math.isnan(_row(frame, "biased", ratios)["gap_adjusted"])
    unseen = pairs[pairs["value"] == "unseen"]
    assert set(unseen["first"]) | set(unseen["second"]) == {"good", "biased", "variance", "center"}
    assert "exposed" in set(pairs[pairs["value"] == "all"]["first"])
    counted, _ = _compare(world, known_labels, count_exposed=True)
    assert [_row(counted, name, "0.5")["unseen_rank"] for name in ("captioned", "exposed", "good")] == [1, 2, 3]
    # Gap less that of the controls at 0.5: (0.1 - 0.04) / 2, since the world's biases are scaled by the ratio.
    assert _row(counted, "exposed", "0.5")["gap_adjusted"] == pytest.approx(0.03, abs=1e-9)


def test_an_exposed_control_is_no_yardstick(world: Any, known_labels: Any) -> None:
    world.cell("biased", 0.5, 0.4, 0.2)
    world.cell("variance", 0.5, 0.3, 0.04, label_sets=())
    world.cell("center", 0.5, 0.3, 0.04, label_sets=("imagenet21k",))
    frame, _ = _compare(world, known_labels)
    assert frame["gap_adjusted"].isna().all()
    frame, _ = _compare(world, known_labels, controls=("variance",))
    assert _row(frame, "biased", "0.5")["gap_adjusted"] == pytest.approx(0.08, abs=1e-9)
    assert math.isnan(_row(frame, "center", "0.5")["gap_adjusted"])


def test_another_split_changes_who_is_exposed(world: Any, known_labels: Any) -> None:
    for name, label_sets in (("detector", ("coco80",)), ("classifier", ("imagenet1k",)), ("ltrp", ())):
        world.cell(name, 0.5, 0.6, label_sets=label_sets)
    frame, _ = _compare(world, known_labels)
    assert dict(zip(frame["selector"], frame["exposure"], strict=True)) == {
        "detector": "exposed",
        "classifier": "none",
        "ltrp": "none",
    }
    frame, _ = _compare(world, known_labels, unseen_by="coco80")
    found = {row["selector"]: (row["exposure"], row["exposed_categories"]) for row in frame.to_dict("records")}
    assert found == {"detector": ("none", ""), "classifier": ("exposed", "a"), "ltrp": ("none", "")}


def test_a_row_without_cells_has_the_exposure_of_its_selector(world: Any, known_labels: Any) -> None:
    world.cell("good", 0.25, 0.6)
    world.cell("good", 0.5, 0.6)
    world.cell("holed", 0.5, 0.6, label_sets=("imagenet21k",))
    frame, _ = _compare(world, known_labels, intervals=False)
    row = _row(frame, "holed", "0.25")
    assert not row["complete"] and row["exposure"] == "exposed" and row["split_by"] == "imagenet1k"


def test_the_worst_cell_of_a_row_decides(world: Any, known_labels: Any) -> None:
    first = world.cell("good", 0.5, 0.6)
    again = replace(
        world.make("good", 0.5, seed=1), selector=replace(first.selector, label_sets=("imagenet21k",)), images=120
    )
    world.store.write_cell(again, {}, world.schema, {})
    frame, _ = _compare(world, known_labels, intervals=False)
    assert frame["exposure"].tolist() == ["exposed"] and frame["seeds"].tolist() == [2]
