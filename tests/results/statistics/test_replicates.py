"""Estimates of stored cells: shared draws, and a cache that is checked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.statistics.bootstrap import Draws
from ltrp_bench.results.statistics.replicates import Groups, Replicates, paired
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.results.summaries.base import ResamplingSummary
from ltrp_bench.results.summaries.registry import parse_summary


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


def _all(groups: Groups | None) -> Any:
    assert groups is not None
    return groups["all"]


def test_tasks_images_and_seeds_have_their_own_draws(world: Any) -> None:
    records = [world.cell("good", 0.5, 0.6, task=task) for task in ("shapes-coverage", "shapes-other")]
    for seed in (0, 1, 0):  # the cache of one seed is none for another
        replicates = Replicates(world.store, 50, seed)
        for record in records:
            draws = Draws.of(world.images, record.task.name, 50, seed)
            found = _all(replicates.of(record))
            assert found.key == draws.key and len(found.draws) == 50
            expected = draws.weights @ world.values(0.6, 0, 0.5) / draws.weights.sum(1)
            np.testing.assert_allclose(found.draws, expected[1:51])
            np.testing.assert_allclose(found.jackknife, expected[51:])
    assert len({_all(Replicates(world.store, count).of(records[0])).key for count in (50, 60)}) == 2


def test_cells_of_other_images_have_other_draws(world: Any, make_record: Any) -> None:
    """Two cells of a task whose limit differs."""
    replicates = Replicates(world.store, 20)
    for images in (["1", "2", "3"], ["1", "2"]):
        record = replace(make_record(values=(0.5, 0.5, math.nan), limit=len(images)), images=len(images))
        rows = {image: [{"category": "a", "kept": 0.5}] for image in images}
        stored = world.store.write_cell(record, rows, world.schema, {}, _means(images, np.full(len(images), 0.5)))
        assert _all(replicates.of(stored)).key == Draws.of(images, "shapes-coverage", 20).key


def test_cells_without_the_metric_have_no_estimates(world: Any) -> None:
    record, bare = world.cell("good", 0.5, 0.6), world.cell("bare", 0.5, 0.6, summary=False)
    replicates = Replicates(world.store, 20)
    assert replicates.of(record, "AP") is None and replicates.of(bare) is None
    assert _all(replicates.of(record, "coverage")).point == pytest.approx(world.values(0.6, 0, 0.5).mean())
    assert replicates.of(record, "coverage") is replicates.of(record)


def test_a_cache_does_not_wait_for_the_disk(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.cell("good", 0.5, 0.6)
    waited: list[int] = []
    monkeypatch.setattr("os.fsync", waited.append)
    assert Replicates(world.store, 20).of(record) is not None
    assert list((world.store.root / "bootstrap").iterdir()) and not waited


def test_many_cells_at_once(world: Any) -> None:
    wanted = [(world.cell("good", ratio, 0.6), "coverage") for ratio in world.ratios]
    replicates = Replicates(world.store, 20)
    assert [record.fingerprint for record in replicates.fill(wanted)] == [record.fingerprint for record, _ in wanted]
    for path in (world.store.root / "bootstrap").iterdir():
        path.unlink()
    for (record, _), ratio in zip(wanted, world.ratios, strict=True):
        assert _all(replicates.of(record)).point == pytest.approx(world.values(0.6, 0, ratio).mean())
    assert not list((world.store.root / "bootstrap").iterdir()), "estimates are computed once"


class Swapped(RunStore):
    """A run folder of which seen and unseen are swapped."""

    def groups_key(self, record: Any) -> str:
        return f"swapped-{record.fingerprint[:4]}"

    def read_summary(self, record: Any) -> ResamplingSummary | None:
        found = super().read_summary(record)
        assert found is not None
        return replace(found, groups={**found.groups, "seen": found.groups["unseen"], "unseen": found.groups["seen"]})


def test_other_groups_have_their_own_cache(world: Any) -> None:
    record = world.cell("good", 0.5, 0.6, bias=0.3)
    kept = world.values(0.6, 0.3, 0.5)
    stores = [world.store, Swapped(world.store.root)]
    for _ in range(2):
        for store, seen in zip(stores, (kept[::2], kept[1::2]), strict=True):
            groups = Replicates(store, 20).of(record)
            assert groups is not None and groups["seen"].point == pytest.approx(seen.mean())
    names = {path.name for path in (world.store.root / "bootstrap").iterdir()}
    cell = record.fingerprint
    assert names == {f"{cell}.coverage.npz", f"{cell}.coverage.swapped-{cell[:4]}.npz"}


def _means(images: list[str], values: np.ndarray) -> dict[str, Any]:
    """Summary of one object an image, of the category a."""
    meta = {
        "kind": "means",
        "images": images,
        "categories": ["a"],
        "groups": {"all": ["a"], "seen": ["a"], "unseen": []},
        "metrics": ["other", "coverage"],
    }
    nothing = np.zeros(len(images), int)
    return {
        "meta": meta,
        "image": np.arange(len(images)),
        "category": nothing,
        "values": np.stack([1 - values, values]),
    }


@pytest.mark.parametrize("options", [{}, {"seed": 3}])
def test_pairs_share_the_draws_of_their_common_images(options: dict[str, int]) -> None:
    ours = {"1": 0.1, "2": 0.7, "3": 0.3, "4": 0.9}
    theirs = {"4": 0.2, "5": 0.8, "2": 0.5, "1": 0.4}
    common = ["1", "2", "4"]
    summaries = [parse_summary(_means(list(of), np.array(list(of.values()))), "x") for of in (ours, theirs)]
    found = paired(summaries[0], summaries[1], "coverage", "task", 30, **options)
    draws = Draws.of(common, "task", 30, options.get("seed", 0))
    for groups, of in zip(found, (ours, theirs), strict=True):
        values = draws.weights @ np.array([of[image] for image in common]) / draws.weights.sum(1)
        one = groups["all"]
        assert one.key == draws.key and one.point == pytest.approx(values[0])
        np.testing.assert_allclose(one.draws, values[1:31])
        np.testing.assert_allclose(one.jackknife, values[31:])
        assert np.isnan(groups["unseen"].point)


def test_summaries_without_a_common_image_are_no_pair() -> None:
    one, other = (parse_summary(_means([image], np.ones(1)), "x") for image in ("1", "2"))
    with pytest.raises(ResultsError, match="cannot draw 30 times from 0 images"):
        paired(one, other, "coverage", "task", 30)
