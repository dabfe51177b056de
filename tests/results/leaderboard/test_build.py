"""The complete leaderboard: intervals, ranks, areas, adjusted gaps, break-even points and cost of stored cells."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import (
    COLUMNS,
    FOLD_TABLE_COLUMNS,
    PAIR_COLUMNS,
    LeaderboardOptions,
    load_leaderboard,
)
from ltrp_bench.results.leaderboard.export import latex, markdown
from ltrp_bench.results.schema.record import Identity, ResultsError, TaskInfo, cell_fingerprint


def _row(frame: pd.DataFrame, selector: str, ratios: str) -> pd.Series:
    found = frame[(frame["selector"] == selector) & (frame["ratios"] == ratios)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_complete_leaderboard(world: Any) -> None:
    for ratio in world.ratios:
        world.cell("good", ratio, 0.6, cost={"selector_ms": 2.0, "selector_gflops": 0.5, "model_ms": 8.0})
        world.cell("twin", ratio, 0.6)
        world.cell("biased", ratio, 0.5, 0.2)
        for name in ("variance", "center", "random", "oracle"):
            world.cell(name, ratio, 0.3, 0.04)
    world.cell("full", 1.0, 0.9)
    leaderboard = load_leaderboard(world.store.root)
    frame = leaderboard.frame
    assert tuple(frame.columns) == COLUMNS and frame["complete"].all()
    assert len(frame) == 7 * 3 + 1 + 7
    good, twin, biased = (_row(frame, name, "0.25") for name in ("good", "twin", "biased"))
    assert good["all_low"] < good["all"] < good["all_high"]
    # Equal selectors share ranks; the controls tie behind them; references are not ranked.
    assert (good["rank"], good["rank_last"]) == (twin["rank"], twin["rank_last"]) == (1, 2)
    assert biased["rank"] == 3 and biased["holm_rank"] == 3
    control = _row(frame, "center", "0.25")
    assert (control["rank"], control["rank_last"]) == (4, 6)
    assert math.isnan(_row(frame, "oracle", "0.25")["rank"]) and math.isnan(_row(frame, "full", "1")["rank"])
    # Gap less that of the controls at ratio 0.25: 0.05 - 0.01. The draws are paired, so the interval has no width.
    assert biased["gap_adjusted"] == pytest.approx(0.04, abs=1e-9)
    assert biased["gap_adjusted_low"] == pytest.approx(0.04) == biased["gap_adjusted_high"]
    # The area is a mean over ratios by the trapezoidal rule.
    whole = _row(frame, "good", "auc 0.25-1")
    parts = [_row(frame, "good", f"{ratio:g}")["all"] for ratio in world.ratios]
    assert whole["all"] == pytest.approx(np.trapezoid(parts, world.ratios) / 0.75)
    assert whole["all_low"] < whole["all"] < whole["all_high"] and math.isnan(whole["keep_ratio"])
    # The value of `good` at 0.25 lies between those of random at 0.25 and 0.5.
    low, high = (_row(frame, "random", r) for r in ("0.25", "0.5"))
    expected = 0.25 + 0.25 * (good["all"] - low["all"]) / (high["all"] - low["all"])
    assert good["break_even_random"] == pytest.approx(expected)
    assert low["break_even_random"] == 0.25 and math.isnan(good["break_even_downsample"])
    assert good["images_per_second"] == pytest.approx(100) and good["machine"] == "here, cpu"
    assert math.isnan(twin["selector_ms"]) and twin["machine"] == ""
    assert tuple(leaderboard.pairs.columns) == PAIR_COLUMNS
    pair = leaderboard.pairs[(leaderboard.pairs["first"] == "good") & (leaderboard.pairs["second"] == "twin")]
    assert (pair["difference"] == 0).all() and (pair["p"] == 1).all() and len(pair) == 2 * 4


def test_a_break_even_that_is_never_reached_is_infinite(world: Any) -> None:
    for ratio in (0.25, 0.5):
        world.cell("good", ratio, 0.9)
        world.cell("random", ratio, 0.1)
    frame = load_leaderboard(world.store.root).frame
    assert _row(frame, "good", "0.5")["break_even_random"] == math.inf
    assert "beyond" in markdown(frame) and "beyond" in latex(frame)


def test_missing_cells_are_shown_and_not_averaged_over(world: Any) -> None:
    notices: list[str] = []
    for ratio in world.ratios:
        world.cell("good", ratio, 0.6)
        if ratio != 0.5:
            world.cell("holed", ratio, 0.6)
    world.cell("old", 0.25, 0.6, summary=False)
    frame = load_leaderboard(world.store.root, notice=notices.append).frame
    row = _row(frame, "holed", "auc 0.25-1")
    assert not row["complete"] and row["missing"] == "at 0.5: keep ratio 0.5"
    assert math.isnan(row["all"]) and math.isnan(row["all_low"])
    assert len(notices) == 1 and notices[0].startswith("1 of 6 cells have no resampling summary")
    old = _row(frame, "old", "0.25")
    assert old["complete"] and not math.isnan(old["all"]) and math.isnan(old["all_low"]) and math.isnan(old["rank"])
    assert "incomplete: lacks at 0.5: keep ratio 0.5" in markdown(frame)


def test_folds_have_intervals_of_their_mean(world: Any) -> None:
    for fold in (0, 1):
        for name, bias in (("variance", 0.04), ("center", 0.0), ("evit", 0.2)):
            record = world.cell(name, 0.5, 0.5, bias if fold == 0 else -bias)
            what = Identity.of({"name": "shapes-coverage", "label_set": f"shapes-seen/{fold}"})
            fingerprint = cell_fingerprint(record.selector.identity.value, what.value, 0.5, 0, "none")
            moved = replace(record, fingerprint=fingerprint, task=TaskInfo("shapes-coverage", "coverage", what))
            rows = world.store.read_images(record.fingerprint)
            summary = np.load(world.store.summary_path(record.fingerprint))
            meta = json.loads(summary["meta"].tobytes())["evidence"]
            arrays = {**{name: summary[name] for name in summary.files}, "meta": meta}
            world.store.write_cell(moved, rows, world.schema, {}, arrays)
            world.store.cell_path(record.fingerprint).unlink()
    frame = load_leaderboard(world.store.root, LeaderboardOptions(folds=True)).frame
    assert tuple(frame.columns) == FOLD_TABLE_COLUMNS and frame["complete"].all() and len(frame) == 3
    row = _row(frame, "evit", "0.5")
    assert row["gap_0"] == pytest.approx(-row["gap_1"], abs=0.05)
    assert row["gap_low"] <= row["gap"] <= row["gap_high"] and abs(row["gap"]) < 0.05


def test_other_metrics(world: Any) -> None:
    world.cell("good", 0.5, 0.6)
    frame = load_leaderboard(world.store.root, LeaderboardOptions(sizes=True)).frame
    assert frame["metric"].tolist() == ["coverage_small"] and frame["all"].tolist() == [0.5]
    both = LeaderboardOptions(metrics=("coverage", "coverage_small"))
    assert load_leaderboard(world.store.root, both).frame["metric"].tolist() == ["coverage", "coverage_small"]
    with pytest.raises(ResultsError, match="no cell has the metric nonsense; known metrics: coverage,"):
        load_leaderboard(world.store.root, LeaderboardOptions(metrics=("nonsense",)))
