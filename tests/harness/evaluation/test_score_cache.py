"""Scores on disk: found again only for the same selector, seed, task, images and grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_bench as toy
from safetensors.numpy import load, save

from ltrp_bench.harness.evaluation.cost import ScoreCost
from ltrp_bench.harness.evaluation.score_cache import CachedScores, ScoreCache
from ltrp_bench.results.schema.record import SCHEMA_VERSION, digest
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


def test_a_file_that_is_no_safetensors_is_reported(tmp_path: Path) -> None:
    path, notices = _filled(tmp_path), list[str]()
    for damage in (b"", path.read_bytes()[:-3], save({"scores": np.zeros(8, np.float32)})):
        path.write_bytes(damage)
        assert _cache(tmp_path, notices=notices).get(IDS, GRIDS) is None
    assert len(notices) == 3 and {f"cached scores in {path} are damaged: they are computed again"} == set(notices)


def test_scores_for_other_grids_under_the_same_name_are_damaged(tmp_path: Path) -> None:
    path, notices = _filled(tmp_path), list[str]()
    other = _cache(tmp_path).path(IDS, [(2, 3), (1, 3)])
    path.rename(other)
    assert _cache(tmp_path, notices=notices).get(IDS, [(2, 3), (1, 3)]) is None and len(notices) == 1


@pytest.mark.parametrize("missing", ["cost", "machine"])
def test_a_cost_without_its_machine_counts_for_nothing(tmp_path: Path, missing: str) -> None:
    path = _filled(tmp_path)
    path.write_bytes(save({name: part for name, part in load(path.read_bytes()).items() if name != missing}))
    found = _cache(tmp_path).get(IDS, GRIDS)
    assert found is not None and found.cost is None


def test_files_are_named_by_hashes_of_selector_and_images(tmp_path: Path) -> None:
    path = _filled(tmp_path)
    assert path.parent.parent == tmp_path / "scores" and len(path.parent.name) == 32
    assert path.suffix == ".safetensors" and len(path.stem) == 24
    assert path.stem == digest([["a", "b"], [[2, 3], [1, 2]]])[:24]
    assert _cache(tmp_path).path(IDS, GRIDS) == path and not _cache(tmp_path).path(["a"], GRIDS[:1]).exists()
    group = toy.toy_groups(selectors=[toy.NetSelector()])[0]
    key = {"schema": SCHEMA_VERSION, "selector": group.selector.info.identity.value, "seed": None}
    key["data"] = group.task.info.identity.value
    own = ScoreCache(RunStore(tmp_path), group, print).path(IDS, GRIDS)
    assert own.parent.name == digest(key)[:32]


def test_scores_are_stored_as_float32_in_raster_order(tmp_path: Path) -> None:
    turned = [np.arange(6.0).reshape(3, 2).T, np.array([[0.5, -1.0]])]
    _cache(tmp_path).put(IDS, GRIDS, turned, COST)
    found = _cache(tmp_path).get(IDS, GRIDS)
    assert found is not None and found.scores[0].dtype == np.float32
    assert found.scores[0].tolist() == [[0, 2, 4], [1, 3, 5]]
    stored = load(_cache(tmp_path).path(IDS, GRIDS).read_bytes())
    assert {name: str(part.dtype) for name, part in stored.items()} == {
        "scores": "float32",
        "sha256": "uint8",
        "cost": "float64",
        "machine": "uint8",
    }


def test_three_images_come_back_and_a_miss_is_no_damage(tmp_path: Path) -> None:
    notices = list[str]()
    cache = _cache(tmp_path, notices=notices)
    ids, grids = [*IDS, "c"], [*GRIDS, (3, 1)]
    assert cache.get(ids, grids) is None and notices == []
    cache.put(ids, grids, [*SCORES, np.ones((3, 1), np.float32)], COST)
    found = cache.get(ids, grids)
    assert found is not None and [one.shape for one in found.scores] == grids


def test_no_images_leave_no_file(tmp_path: Path) -> None:
    _cache(tmp_path).put([], [], [], COST)
    assert not (tmp_path / "scores").exists()
