"""Coverage of objects: the oracle, groups, sizes, crowds, identity."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from drawn_objects import DIAGONAL, STATES, by_hand, draw, measure, value

from ltrp_bench.selectors.errors import InputError, UsageError
from ltrp_bench.tasks.base import Downsample, Keep
from ltrp_bench.tasks.catalog import coco_coverage, shapes_coverage
from ltrp_bench.tasks.coverage import CoverageTask
from ltrp_bench.tasks.data.coco import CocoDataset
from ltrp_bench.tasks.segment_coverage import SegmentCoverageTask
from ltrp_bench.tasks.splits.split import CategorySplit


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


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return draw(tmp_path_factory.mktemp("drawn"))


def test_rows_by_hand(drawn: CocoDataset) -> None:
    task = by_hand(drawn)
    sample = task.load(0)
    assert sample.image_id == "1" and np.array_equal(sample.image, drawn.pixels(0))
    found = task.predict([sample], [Keep(DIAGONAL)])
    assert all(type(row[name]) is float for row in found[0] for name in ("area", "kept"))
    assert found == [
        [
            {"category": "", "size": "", "area": 64.0, "kept": 0.5},
            {"category": "cat", "size": "small", "area": 1.0, "kept": 1.0},
            {"category": "dog", "size": "medium", "area": 8.0, "kept": 0.5},
            {"category": "cow", "size": "large", "area": 16.0, "kept": 0.75},
        ]
    ]


def test_metrics_by_hand(drawn: CocoDataset) -> None:
    found = {(r.metric, r.group, r.category): (r.value, r.n) for r in measure(by_hand(drawn), DIAGONAL)}
    nothing, expected = (math.nan, 0), {}
    for metric, all_seen_unseen in {
        "coverage": ((0.75, 3), (0.875, 2), (0.5, 1)),
        "coverage_small": ((1.0, 1), (1.0, 1), nothing),
        "coverage_medium": ((0.5, 1), nothing, (0.5, 1)),
        "coverage_large": ((0.75, 1), (0.75, 1), nothing),
    }.items():
        for group, one in zip(("all", "seen", "unseen"), all_seen_unseen, strict=True):
            expected[metric, group, None] = one
    for suffix, gap in {
        "": (0.375, 3),
        "_small": (math.nan, 1),
        "_medium": (math.nan, 1),
        "_large": (math.nan, 1),
    }.items():
        expected[f"coverage_gap{suffix}", "all", None] = gap
    expected |= {("image_kept", "all", None): (0.5, 1), ("coverage", "seen", "cat"): (1.0, 1)}
    expected |= {("coverage", "unseen", "dog"): (0.5, 1), ("coverage", "seen", "cow"): (0.75, 1)}
    assert found.keys() == expected.keys()
    for key, one in expected.items():
        assert found[key] == pytest.approx(one, nan_ok=True), key
    strict = measure(by_hand(drawn, narrow_as="unseen"), DIAGONAL)
    assert value(strict, "coverage", "unseen") == 0.625 and value(strict, "coverage", "unseen", "cow") == 0.75


def test_oracle_scores_by_hand(drawn: CocoDataset) -> None:
    """Shares by patch: cat (1, 0, 0, 0), dog (1/2, 0, 1/2, 0), cow (0, 0, 1/4, 3/4); over the greatest sum."""
    task = by_hand(drawn)
    sample = task.load(0)
    assert task.oracle_scores(sample).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert list(task.oracle_groups) == ["all", "seen", "unseen", "small", "medium", "large", "cat", "dog", "cow"]
    dog, cow = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1 / 3, 1.0]]
    for groups, scores in {("unseen",): dog, ("medium",): dog, ("cow",): cow, ("seen", "large"): cow}.items():
        np.testing.assert_allclose(task.group_oracle_scores(sample, groups), scores, rtol=1e-6)
    assert not task.group_oracle_scores(sample, ("cat", "large")).any()
    assert task.annotations_of(sample).objects[0].category == "cat" and len(task.annotations_of(sample).masks()) == 4


def test_things_and_stuff_by_hand(drawn: CocoDataset) -> None:
    task = by_hand(drawn, SegmentCoverageTask, things={"cat", "tree"})
    rows = measure(task, DIAGONAL)
    assert value(rows, "coverage_things") == 1.0 and value(rows, "coverage_stuff") == 0.625
    assert value(rows, "coverage_gap_stuff") == 0.25  # cow less dog
    assert list(task.oracle_groups)[6:8] == ["things", "stuff"]
    cat = task.group_oracle_scores(task.load(0), ("things",))
    assert cat.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert value(rows, "coverage", "seen") == 0.875, "narrow categories count as seen"
    for one_kind in ({"tree"}, set(STATES), set()):
        assert not any(
            "stuff" in row.metric for row in measure(by_hand(drawn, SegmentCoverageTask, things=one_kind), DIAGONAL)
        )


@pytest.mark.parametrize("kind", [CoverageTask, SegmentCoverageTask])
def test_summaries_and_identity_by_hand(drawn: CocoDataset, kind: type[CoverageTask]) -> None:
    task = by_hand(drawn, kind)
    assert task.identity()["grid"] == [2, 2] and task.identity()["narrow_as"] == "seen"
    sample = task.load(0)
    summary = task.resampling_summary({"1": task.predict([sample], [Keep(DIAGONAL)])[0]})
    assert summary.metrics == ("coverage", "coverage_small", "coverage_medium", "coverage_large")
    assert [summary.measured("coverage", group) for group in ("all", "seen", "unseen")] == [0.75, 0.875, 0.5]
    assert [summary.measured(metric, "all") for metric in summary.metrics[1:]] == [1.0, 0.5, 0.75]


def test_grids_have_a_patch_at_least(drawn: CocoDataset) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        CoverageTask("hand", drawn, CategorySplit("x", STATES), grid=(0, 3))
    whole = CoverageTask("hand", drawn, CategorySplit("x", STATES), grid=(1, 1))
    assert whole.grid(whole.load(0)) == (1, 1) and whole.oracle_scores(whole.load(0)).tolist() == [[1.0]]
