"""Estimates of stored cells: shared draws, and a cache that is checked."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.statistics.bootstrap import Draws
from ltrp_bench.results.statistics.replicates import Replicates


def test_estimates_are_cached_and_a_damaged_cache_is_replaced(world: Any) -> None:
    record = world.cell("good", 0.5, 0.6)
    first = load_leaderboard(world.store.root).frame
    cache = world.store.root / "bootstrap" / f"{record.fingerprint}.coverage.npz"
    assert cache.exists()
    world.store.summary_path(record.fingerprint).rename(world.store.root / "moved")
    (world.store.root / "evidence" / f"{record.fingerprint}.npz").write_bytes(b"not looked at")
    pd.testing.assert_frame_equal(first, load_leaderboard(world.store.root).frame)
    cache.write_bytes(cache.read_bytes()[:-20])
    with pytest.raises(ResultsError, match="no resampling summary"):
        load_leaderboard(world.store.root)
    (world.store.root / "moved").rename(world.store.summary_path(record.fingerprint))
    pd.testing.assert_frame_equal(first, load_leaderboard(world.store.root).frame)


def test_seeds_are_averaged_draw_by_draw(world: Any) -> None:
    records = [world.cell("random", 0.5, 0.3 + 0.1 * seed, seed=seed, stochastic=True) for seed in (0, 1)]
    row = load_leaderboard(world.store.root).frame.iloc[0]
    kept = (world.values(0.3, 0, 0.5) + world.values(0.4, 0, 0.5)) / 2
    draws = Draws.of(world.images, "shapes-coverage")
    expected = draws.estimate(draws.weights @ kept / len(world.images)).point
    assert row["all"] == pytest.approx(expected) and row["seeds"] == 2
    assert row["all_low"] < row["all"] < row["all_high"]
    # All seeds and ratios share their draws.
    replicates = Replicates(world.store)
    keys = {groups["all"].key for record in records if (groups := replicates.of(record)) is not None}
    assert keys == {draws.key}
