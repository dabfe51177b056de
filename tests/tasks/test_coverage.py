"""Coverage of objects: the oracle, groups, sizes, crowds, identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep, MetricRow
from ltrp_bench.tasks.catalog import coco_coverage, shapes_coverage
from ltrp_bench.tasks.coverage import CoverageTask


def value(rows: list[MetricRow], metric: str, group: str = "all", category: str | None = None) -> float:
    (found,) = [r.value for r in rows if (r.metric, r.group, r.category) == (metric, group, category)]
    return found


def measure(task: CoverageTask, keep: np.ndarray | None = None, ratio: float = 0.25) -> list[MetricRow]:
    """Metrics under one mask for all, or under the oracle's."""
    records = {}
    for i in range(len(task)):
        sample = task.load(i)
        mask = keep
        if mask is None:
            objects = task.oracle_scores(sample).ravel()
            mask = np.zeros(objects.size, bool)
            mask[np.argsort(-objects, kind="stable")[: round(ratio * objects.size)]] = True
            mask = mask.reshape(task.grid(sample))
        records[sample.image_id] = task.predict([sample], [Keep(mask)])[0]
    return task.compute_metrics(records)


@pytest.fixture(scope="module")
def small() -> CoverageTask:
    return shapes_coverage(images=60)


def test_everything_and_nothing_kept(small: CoverageTask) -> None:
    everything = measure(small, np.ones((12, 12), bool))
    assert value(everything, "coverage", "seen") == value(everything, "coverage", "unseen") == 1.0
    assert value(everything, "coverage_gap") == 0.0 and value(everything, "image_kept") == 1.0
    nothing = measure(small, np.zeros((12, 12), bool))
    assert value(nothing, "coverage") == 0.0 and value(nothing, "image_kept") == 0.0


def test_the_oracle_is_near_the_ceiling_and_a_blind_grid_at_its_share(small: CoverageTask) -> None:
    assert value(measure(small), "coverage") > 0.95
    lattice = np.add.outer(np.arange(12), 2 * np.arange(12)) % 4 == 0
    assert value(measure(small, lattice), "coverage") == pytest.approx(0.25, abs=0.03)


def test_means_are_over_objects_and_the_folds_swap(small: CoverageTask) -> None:
    half = np.zeros((12, 12), bool)
    half[:, :6] = True
    rows = measure(small, half)
    n = {(r.group, r.category): r.n for r in rows if r.metric == "coverage"}
    assert n["all", None] == n["seen", None] + n["unseen", None]
    together = value(rows, "coverage", "seen") * n["seen", None] + value(rows, "coverage", "unseen") * n["unseen", None]
    assert value(rows, "coverage") == pytest.approx(together / n["all", None])
    per_category = sum(
        r.value * r.n for r in rows if r.metric == "coverage" and r.category is not None and r.group == "seen" and r.n
    )
    assert per_category / n["seen", None] == pytest.approx(value(rows, "coverage", "seen"))
    swapped = measure(shapes_coverage(images=60, fold=1), half)
    assert value(swapped, "coverage", "seen") == value(rows, "coverage", "unseen")
    assert value(swapped, "coverage_gap") == pytest.approx(-value(rows, "coverage_gap"))


def test_size_buckets_hold_a_third_each(small: CoverageTask) -> None:
    rows = measure(small, np.ones((12, 12), bool))
    counts = [
        r.n
        for r in rows
        if r.metric.startswith("coverage_") and r.metric[9:] in ("small", "medium", "large") and r.group == "all"
    ]
    assert len(counts) == 3 and min(counts) > 0.2 * sum(counts)


def test_metrics_of_a_subset_of_images(small: CoverageTask) -> None:
    sample = small.load(3)
    rows = small.predict([sample], [Keep(np.eye(12, dtype=bool))])[0]
    assert rows[0]["category"] == "" and rows[0]["kept"] == pytest.approx(1 / 12)
    alone = small.compute_metrics({sample.image_id: rows})
    assert value(alone, "coverage") == pytest.approx(np.mean([r["kept"] for r in rows[1:]]))
    assert set(rows[0]) == set(small.row_schema)
    empty = small.compute_metrics({})
    assert np.isnan(value(empty, "coverage")) and np.isnan(value(empty, "coverage_gap"))


def test_wrong_grid_and_downsampling_are_refused(small: CoverageTask) -> None:
    sample = small.load(0)
    with pytest.raises(InputError, match="grid"):
        small.predict([sample], [Keep(np.ones((14, 14), bool))])
    with pytest.raises(UsageError, match="no model"):
        small.predict([sample], [Downsample(0.5)])
    assert not small.supports_downsample


def test_identity_holds_what_results_depend_on() -> None:
    one = shapes_coverage(images=10)
    assert one.identity() == shapes_coverage(images=10).identity()
    for other in (shapes_coverage(images=11), shapes_coverage(images=10, fold=1), shapes_coverage(images=10, seed=1)):
        assert other.identity() != one.identity()


@pytest.fixture(scope="module")
def photos(shared_dir: Path) -> CoverageTask:
    return coco_coverage(shared_dir / "data" / "coco", limit=25)


def test_genuine_images(photos: CoverageTask) -> None:
    everything = measure(photos, np.ones((14, 14), bool))
    assert value(everything, "coverage", "unseen") == pytest.approx(1.0)
    oracle = measure(photos)
    assert value(oracle, "coverage") > 0.5 > value(measure(photos, np.eye(14, dtype=bool)), "coverage")
    assert value(oracle, "image_kept") == pytest.approx(0.25)


def test_crowds_are_left_out(photos: CoverageTask) -> None:
    crowds = 0
    for i in range(len(photos)):
        truth = photos.dataset.truth(i, masks=True)
        sample = photos.load(i)
        rows = photos.predict([sample], [Keep(np.ones((14, 14), bool))])[0]
        crowds += sum(o.crowd for o in truth.objects)
        assert len(rows) - 1 <= sum(not o.crowd for o in truth.objects)
    assert crowds > 0


def test_a_category_outside_the_split_is_an_error(shared_dir: Path, tmp_path: Path) -> None:
    split = tmp_path / "mine.csv"
    split.write_text("category,state\nperson,seen\n")
    with pytest.raises(InputError, match="not in the split 'mine'"):
        coco_coverage(shared_dir / "data" / "coco", split=split)
    with pytest.raises(UsageError, match="--data"):
        coco_coverage()
