"""The board: intervals, ranks, areas, adjusted gaps, break-even points and cost, from cells with evidence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import COLUMNS, FOLDED, PAIR_COLUMNS, BoardOptions, load_board
from ltrp_bench.results.leaderboard.export import latex, markdown, write_table
from ltrp_bench.results.schema.record import Identity, ResultsError, TaskInfo, cell_fingerprint
from ltrp_bench.results.statistics.bootstrap import Draws
from ltrp_bench.results.statistics.replicates import Replicates


def _row(frame: pd.DataFrame, selector: str, ratios: str) -> pd.Series:
    found = frame[(frame["selector"] == selector) & (frame["ratios"] == ratios)]
    assert len(found) == 1
    return found.iloc[0]


def test_a_whole_board(world: Any) -> None:
    for ratio in world.ratios:
        world.cell("good", ratio, 0.6, cost={"selector_ms": 2.0, "selector_gflops": 0.5, "model_ms": 8.0})
        world.cell("twin", ratio, 0.6)
        world.cell("biased", ratio, 0.5, 0.2)
        for name in ("variance", "center", "random", "oracle"):
            world.cell(name, ratio, 0.3, 0.04)
    world.cell("full", 1.0, 0.9)
    board = load_board(world.store.root)
    frame = board.frame
    assert tuple(frame.columns) == COLUMNS and frame["complete"].all()
    assert len(frame) == 7 * 3 + 1 + 7
    good, twin, biased = (_row(frame, name, "0.25") for name in ("good", "twin", "biased"))
    assert good["all_low"] < good["all"] < good["all_high"]
    # Two that are the same share ranks; the controls tie behind them; bounds are not ranked.
    assert (good["rank"], good["rank_last"]) == (twin["rank"], twin["rank_last"]) == (1, 2)
    assert biased["rank"] == 3 and biased["holm_rank"] == 3
    control = _row(frame, "center", "0.25")
    assert (control["rank"], control["rank_last"]) == (4, 6)
    assert math.isnan(_row(frame, "oracle", "0.25")["rank"]) and math.isnan(_row(frame, "full", "1")["rank"])
    # The gap less the controls': 0.05 - 0.01 of the ratio 0.25, to the last digit paired away.
    assert biased["gap_adjusted"] == pytest.approx(0.04, abs=1e-9)
    assert biased["gap_adjusted_low"] == pytest.approx(0.04) == biased["gap_adjusted_high"]
    # The area is a mean over ratios by the trapezoids, the interval of it inside those of its ends.
    whole = _row(frame, "good", "auc 0.25-1")
    parts = [_row(frame, "good", f"{ratio:g}")["all"] for ratio in world.ratios]
    assert whole["all"] == pytest.approx(np.trapezoid(parts, world.ratios) / 0.75)
    assert whole["all_low"] < whole["all"] < whole["all_high"] and math.isnan(whole["keep_ratio"])
    # `good` at 0.25 is what random reaches on its way.
    low, high = (_row(frame, "random", r) for r in ("0.25", "0.5"))
    expected = 0.25 + 0.25 * (good["all"] - low["all"]) / (high["all"] - low["all"])
    assert good["break_even_random"] == pytest.approx(expected)
    assert low["break_even_random"] == 0.25 and math.isnan(good["break_even_downsample"])
    assert good["images_per_second"] == pytest.approx(100) and good["machine"] == "here, cpu"
    assert math.isnan(twin["selector_ms"]) and twin["machine"] == ""
    assert tuple(board.pairs.columns) == PAIR_COLUMNS
    pair = board.pairs[(board.pairs["first"] == "good") & (board.pairs["second"] == "twin")]
    assert (pair["difference"] == 0).all() and (pair["p"] == 1).all() and len(pair) == 2 * 4


def test_never_reached_is_infinite(world: Any) -> None:
    for ratio in (0.25, 0.5):
        world.cell("good", ratio, 0.9)
        world.cell("random", ratio, 0.1)
    frame = load_board(world.store.root).frame
    assert _row(frame, "good", "0.5")["break_even_random"] == math.inf
    assert "beyond" in markdown(frame) and "beyond" in latex(frame)


def test_holes_are_shown_and_not_averaged_over(world: Any) -> None:
    told: list[str] = []
    for ratio in world.ratios:
        world.cell("good", ratio, 0.6)
        if ratio != 0.5:
            world.cell("holed", ratio, 0.6)
    world.cell("old", 0.25, 0.6, evidence=False)
    frame = load_board(world.store.root, notice=told.append).frame
    row = _row(frame, "holed", "auc 0.25-1")
    assert not row["complete"] and row["missing"] == "at 0.5: keep ratio 0.5"
    assert math.isnan(row["all"]) and math.isnan(row["all_low"])
    assert "1 of 6 cells left no evidence" in told[0]
    old = _row(frame, "old", "0.25")
    assert old["complete"] and not math.isnan(old["all"]) and math.isnan(old["all_low"]) and math.isnan(old["rank"])
    assert "incomplete: lacks at 0.5: keep ratio 0.5" in markdown(frame)


def test_seeds_are_averaged_draw_by_draw(world: Any) -> None:
    records = [world.cell("random", 0.5, 0.3 + 0.1 * seed, seed=seed, stochastic=True) for seed in (0, 1)]
    row = _row(load_board(world.store.root).frame, "random", "0.5")
    kept = (world.values(0.3, 0, 0.5) + world.values(0.4, 0, 0.5)) / 2
    draws = Draws.of(world.images, "shapes-coverage")
    expected = draws.estimate(draws.weights @ kept / len(world.images)).point
    assert row["all"] == pytest.approx(expected) and row["seeds"] == 2
    assert row["all_low"] < row["all"] < row["all_high"]
    # All seeds and ratios share their draws.
    replicates = Replicates(world.store)
    keys = {groups["all"].key for record in records if (groups := replicates.of(record)) is not None}
    assert keys == {draws.key}


def test_estimates_are_cached_and_a_damaged_cache_is_made_anew(world: Any) -> None:
    record = world.cell("good", 0.5, 0.6)
    first = load_board(world.store.root).frame
    cache = world.store.root / "bootstrap" / f"{record.fingerprint}.coverage.npz"
    assert cache.exists()
    world.store.evidence_path(record.fingerprint).rename(world.store.root / "moved")
    (world.store.root / "evidence" / f"{record.fingerprint}.npz").write_bytes(b"not looked at")
    pd.testing.assert_frame_equal(first, load_board(world.store.root).frame)
    cache.write_bytes(cache.read_bytes()[:-20])
    with pytest.raises(ResultsError, match="no resampling summary"):
        load_board(world.store.root)
    (world.store.root / "moved").rename(world.store.evidence_path(record.fingerprint))
    pd.testing.assert_frame_equal(first, load_board(world.store.root).frame)


def test_evidence_of_another_cell_is_refused(world: Any) -> None:
    one, other = world.cell("good", 0.5, 0.6), world.cell("bad", 0.5, 0.1)
    data = world.store.evidence_path(one.fingerprint).read_bytes()
    world.store.evidence_path(other.fingerprint).write_bytes(data)
    with pytest.raises(ResultsError, match="does not belong to the rows of its cell"):
        load_board(world.store.root)
    # Bound to its own rows, but with the other cell's values.
    world.store.write_evidence(other, world.store.read_evidence(one))
    with pytest.raises(ResultsError, match=r"coverage of all is .* in its record"):
        load_board(world.store.root)
    with pytest.raises(ResultsError, match="no valid 'means' resampling summary: meta/groups"):
        world.store.write_evidence(other, {"meta": {"kind": "means"}, "values": np.zeros(1)})


def test_folds_have_intervals_of_their_mean(world: Any) -> None:
    for fold in (0, 1):
        for name, bias in (("variance", 0.04), ("center", 0.0), ("evit", 0.2)):
            record = world.cell(name, 0.5, 0.5, bias if fold == 0 else -bias)
            what = Identity.of({"name": "shapes-coverage", "label_set": f"shapes-seen/{fold}"})
            fingerprint = cell_fingerprint(record.selector.identity.value, what.value, 0.5, 0, "none")
            moved = replace(record, fingerprint=fingerprint, task=TaskInfo("shapes-coverage", "coverage", what))
            rows = world.store.read_images(record.fingerprint)
            evidence = np.load(world.store.evidence_path(record.fingerprint))
            meta = json.loads(evidence["meta"].tobytes())["evidence"]
            arrays = {**{name: evidence[name] for name in evidence.files}, "meta": meta}
            world.store.write_cell(moved, rows, world.schema, {}, arrays)
            world.store.cell_path(record.fingerprint).unlink()
    frame = load_board(world.store.root, BoardOptions(folds=True)).frame
    assert tuple(frame.columns) == FOLDED and frame["complete"].all() and len(frame) == 3
    row = _row(frame, "evit", "0.5")
    assert row["gap_0"] == pytest.approx(-row["gap_1"], abs=0.05)
    assert row["gap_low"] <= row["gap"] <= row["gap_high"] and abs(row["gap"]) < 0.05


def test_other_metrics(world: Any) -> None:
    world.cell("good", 0.5, 0.6)
    frame = load_board(world.store.root, BoardOptions(sizes=True)).frame
    assert frame["metric"].tolist() == ["coverage_small"] and frame["all"].tolist() == [0.5]
    both = BoardOptions(metrics=("coverage", "coverage_small"))
    assert load_board(world.store.root, both).frame["metric"].tolist() == ["coverage", "coverage_small"]
    with pytest.raises(ResultsError, match="no cell has the metric nonsense; there are coverage,"):
        load_board(world.store.root, BoardOptions(metrics=("nonsense",)))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".md", ".tex"])
def test_files(world: Any, tmp_path: Path, suffix: str) -> None:
    for ratio in (0.25, 0.5):
        world.cell("good_one", ratio, 0.6)
        world.cell("random", ratio, 0.3)
    board = load_board(world.store.root)
    path = tmp_path / f"board{suffix}"
    write_table(board.frame, path)
    write_table(board.pairs, tmp_path / f"pairs{suffix}")
    if suffix == ".csv":
        back = pd.read_csv(path)
        assert tuple(back.columns) == COLUMNS and back["all_low"].tolist() == board.frame["all_low"].tolist()
    elif suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(path), board.frame, check_dtype=False)
    elif suffix == ".md":
        assert "| 0.25   | good_one" in path.read_text() or "| 0.25 " in path.read_text()
    else:
        text = path.read_text()
        assert "\\toprule" in text and "good\\_one" in text and "\\caption{shapes-coverage, coverage, none}" in text
        assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 1
    with pytest.raises(ResultsError, match=r"end the name so"):
        write_table(board.frame, tmp_path / "board.xlsx")
