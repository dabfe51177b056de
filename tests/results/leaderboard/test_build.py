"""The complete leaderboard: intervals, ranks, areas, adjusted gaps, break-even points and cost of stored cells."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
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
from ltrp_bench.results.schema.record import Identity, TaskInfo, cell_fingerprint
from ltrp_bench.results.store.archive import export, import_archive
from ltrp_bench.selectors.errors import UsageError


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
    assert good["images_per_second"] == pytest.approx(100) and good["machine"] == "cpu"
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
    assert "beyond" in markdown(frame) and "beyond" in latex(frame, ["as random at"])


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
    with pytest.raises(UsageError, match=r"metric 'coverge'; did you mean 'coverage'\?$"):
        load_leaderboard(world.store.root, LeaderboardOptions(metrics=("coverage", "coverge")))
    with pytest.raises(UsageError, match="no cell has the metric 'nonsense'; there are coverage,"):
        load_leaderboard(world.store.root, LeaderboardOptions(metrics=("nonsense",)))


def test_a_control_that_was_not_measured_is_named(world: Any) -> None:
    world.cell("good", 0.5, 0.6)
    world.cell("variance", 0.5, 0.5)
    notices: list[str] = []
    frame = load_leaderboard(world.store.root, notice=notices.append).frame
    assert frame["gap_adjusted"].isna().all()
    assert notices == ["no adjusted gap on shapes-coverage: the control center was not measured"]
    # Runs without any control are not asked for one, unless by name.
    options = LeaderboardOptions(controls=("centre", "edges"))
    load_leaderboard(world.store.root, options, notice=notices.append)
    assert notices[1:] == ["no adjusted gap on shapes-coverage: the controls centre and edges were not measured"]
    world.cell("center", 0.5, 0.5)
    assert not load_leaderboard(world.store.root, notice=notices.append).frame["gap_adjusted"].isna().any()
    assert len(notices) == 2


def test_replicates_are_counted_and_their_spread_is_shown(world: Any, other_world: Any, tmp_path: Path) -> None:
    """0.25 * (0.604 - 0.6) = 0.001 in all three groups."""
    for skill, one in ((0.6, world), (0.604, other_world)):
        one.cell("good", 0.25, skill)
        one.cell("random", 0.25, 0.3)
    export(other_world.store.root, tmp_path / "a.zip")
    import_archive(tmp_path / "a.zip", world.store.root)
    before = world.store.read_cells()
    frame = load_leaderboard(world.store.root).frame
    good, random = _row(frame, "good", "0.25"), _row(frame, "random", "0.25")
    assert good["all"] in [record.value("coverage", "all") for record in before] and len(frame) == 2
    assert (good["replicates"], random["replicates"]) == (1, 0)
    assert good["replicate_spread"] == pytest.approx(0.001) and math.isnan(random["replicate_spread"])
    line = "1 of 2 rows were measured on up to 2 machines; their values differ by at most 0.001 (good at 0.25)"
    assert line in markdown(frame) and line in latex(frame)
    assert "machines" not in markdown(frame[frame["selector"] == "random"])
    # Replicates are grouped like their cell.
    regrouped = load_leaderboard(world.store.root, LeaderboardOptions(unseen_by="common")).frame
    assert _row(regrouped, "good", "0.25")["replicate_spread"] == pytest.approx(0.001)
