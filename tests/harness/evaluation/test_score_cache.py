"""Scores on disk: found again only for the same selector, seed, task, images and grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_bench as toy
from safetensors.numpy import load, save

from ltrp_bench.harness.evaluation.cost import ScoreCost
from ltrp_bench.harness.evaluation.score_cache import CachedScores, ScoreCache
from ltrp_bench.results.store.run_store import RunStore
from ltrp_bench.selectors.controls import OracleControl, RandomControl

IDS, GRIDS = ["a", "b"], [(2, 3), (1, 2)]
SCORES = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[0.5, -1.0]], np.float32)]
COST = ScoreCost(2.5, "here", 0.125)


def _cache(out: Path, seed: int = 0, notices: list[str] | None = None, images: int = 150) -> ScoreCache:
    groups = toy.toy_groups(toy.ToyTask(images), selectors=[RandomControl(8)], seeds=(seed,))
    return ScoreCache(RunStore(out), groups[0], ([] if notices is None else notices).append)


def _filled(out: Path) -> Path:
    _cache(out).put(IDS, GRIDS, SCORES, COST)
    return _cache(out).path(IDS, GRIDS)


def test_scores_and_cost_come_back(tmp_path: Path) -> None:
    _filled(tmp_path)
    found = _cache(tmp_path).get(IDS, GRIDS)
    assert isinstance(found, CachedScores) and found.cost == COST
    for one, other in zip(found.scores, SCORES, strict=True):
        assert one.dtype == np.float32 and np.array_equal(one, other)


def test_other_seeds_tasks_images_and_grids_are_kept_apart(tmp_path: Path) -> None:
    _filled(tmp_path)
    assert _cache(tmp_path, seed=1).get(IDS, GRIDS) is None
    assert _cache(tmp_path, images=149).get(IDS, GRIDS) is None
    assert _cache(tmp_path).get(["a", "c"], GRIDS) is None
    assert _cache(tmp_path).get(IDS[::-1], GRIDS) is None
    assert _cache(tmp_path).get(IDS, [(3, 2), (1, 2)]) is None


def test_seeds_share_the_scores_of_a_selector_without_chance(tmp_path: Path) -> None:
    paths = set()
    for seed in (0, 1):
        (group,) = toy.toy_groups(selectors=[toy.NetSelector()], seeds=(seed,))
        paths.add(ScoreCache(RunStore(tmp_path), group, print).path(IDS, GRIDS))
    assert len(paths) == 1


def test_scores_from_ground_truth_are_not_cached(tmp_path: Path) -> None:
    """The key does not know the annotations."""
    oracle = ScoreCache(RunStore(tmp_path), toy.toy_groups(selectors=[OracleControl(8)])[0], print)
    oracle.put(IDS, GRIDS, SCORES, COST)
    assert not oracle.path(IDS, GRIDS).exists() and oracle.get(IDS, GRIDS) is None


@pytest.mark.parametrize(
    "change",
    [
        {"scores": np.zeros(8, np.float32)},
        {"scores": np.concatenate([one.ravel() for one in SCORES]).astype(np.float64)},
        {"sha256": np.zeros(32, np.uint8)},
    ],
)
def test_altered_scores_are_not_used(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    path, notices = _filled(tmp_path), list[str]()
    path.write_bytes(save({**load(path.read_bytes()), **change}))
    assert _cache(tmp_path, notices=notices).get(IDS, GRIDS) is None
    assert notices == [f"cached scores in {path} are damaged: they are computed again"]


def test_scores_of_an_older_version_have_no_cost(tmp_path: Path) -> None:
    path = _filled(tmp_path)
    tensors = load(path.read_bytes())
    path.write_bytes(save({"scores": tensors["scores"], "sha256": tensors["sha256"]}))
    found = _cache(tmp_path).get(IDS, GRIDS)
    assert found is not None and found.cost is None and np.array_equal(found.scores[0], SCORES[0])
