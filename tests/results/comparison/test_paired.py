"""The paired test: significant decreases, on the images that both sides have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import norm

from ltrp_bench.results.comparison.compare import CompareOptions, compare
from ltrp_bench.results.comparison.paired import Change, PairedCells, _p_fall
from ltrp_bench.results.leaderboard.aggregate import aggregate_store
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.statistics.bootstrap import Estimate
from ltrp_bench.results.statistics.ranks import ALPHA
from ltrp_bench.results.statistics.replicates import paired


def _compare(base: Any, current: Any, **options: Any) -> Any:
    return compare(base.store.root, current.store.root, CompareOptions(**options))


def test_equal_runs_have_no_change(world: Any, other_world: Any) -> None:
    for one in (world, other_world):
        one.cell("ltrp", 0.5, 0.5)
        one.cell("random", 0.5, 0.3)
    comparison = _compare(world, other_world, test="paired")
    assert [row.status for row in comparison.rows] == ["ok", "ok"]
    changes = [change for row in comparison.rows for change in row.changes.values()]
    assert {(c.point, c.low, c.high, c.p_fall, c.p_rise) for c in changes} == {(0.0, 0.0, 0.0, 1.0, 1.0)}
    assert "2 by a paired bootstrap test, Holm-corrected" in comparison.markdown()


def test_a_small_significant_decrease_is_found_and_noise_is_not(world: Any, other_world: Any) -> None:
    world.cell("ltrp", 0.5, 0.5)
    other_world.cell("ltrp", 0.5, 0.497)  # every image is slightly worse: below the tolerance, but significant
    world.cell("noisy", 0.5, 0.5)
    other_world.easy = world.easy[::-1].copy()  # almost equal on average, but different for each image
    other_world.cell("noisy", 0.5, 0.495)
    world.cell("risen", 0.5, 0.5)
    other_world.easy = world.easy
    other_world.cell("risen", 0.5, 0.6)
    comparison = _compare(world, other_world)
    status = {row.key[3]: row.status for row in comparison.rows}
    assert status == {"ltrp": "worse", "noisy": "ok", "risen": "better"}
    fall = comparison.rows[0].changes["all"]
    assert fall.point == pytest.approx(-0.0015) and fall.high < 0 and fall.fell and not fall.rose
    assert "all -0.0015 [-0.0015, -0.0015], p 0" in comparison.rows[0].note
    # With the tolerance it is the other way round.
    by_tolerance = _compare(world, other_world, test="tolerance", tolerance=0.01)
    assert [row.key[3] for row in by_tolerance.regressions] == ["noisy"]


def test_images_of_one_side_do_not_count(world: Any, other_world: Any) -> None:
    before = world.cell("ltrp", 0.5, 0.5)
    after = other_world.cell("ltrp", 0.5, 0.5)
    fewer = [image for i, image in enumerate(world.images) if i % 3]
    rows = {image: rows for image, rows in other_world.store.read_images(after.fingerprint).items() if image in fewer}
    keep = [i for i in range(len(world.images)) if i % 3]
    kept = other_world.values(0.5, 0.0, 0.5)[keep]
    meta = {
        "kind": "means",
        "images": fewer,
        "categories": ["a", "b"],
        "groups": {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]},
        "metrics": ["coverage"],
    }
    category = [i % 2 for i in keep]
    means = [kept.mean(), *(kept[[c == g for c in category]].mean() for g in (0, 1))]
    metrics = tuple(
        replace(m, value=dict(zip(("all", "seen", "unseen"), means, strict=True))[m.group])
        if m.metric == "coverage" and m.category is None and m.group in ("all", "seen", "unseen")
        else m
        for m in after.metrics
    )
    arrays = {"meta": meta, "image": np.arange(len(fewer)), "category": np.array(category), "values": kept[None]}
    other_world.store.write_cell(replace(after, images=len(fewer), metrics=metrics), rows, world.schema, {}, arrays)
    (row,) = _compare(world, other_world, test="paired").rows
    assert row.status == "ok" and row.changes["all"].point == 0 == row.changes["all"].low
    assert row.base["all"] != row.current["all"]
    assert before.fingerprint == after.fingerprint


def test_rows_of_different_code_versions_match(world: Any, other_world: Any) -> None:
    for one, version in ((world, 1), (other_world, 2)):
        one.cell("ltrp", 0.5, 0.5, version=version)
        one.cell("ltrp", 0.5, 0.4, version=version, weights="w2")
    rows = _compare(world, other_world, test="paired").rows
    assert [row.status for row in rows] == ["ok", "ok"] and not any(row.note for row in rows)
    assert {row.key[3] for row in rows} == {"ltrp w1", "ltrp w2"}  # as in the leaderboard of the base


def test_versions_of_one_selector_need_no_ids(world: Any, other_world: Any) -> None:
    world.cell("ltrp", 0.5, 0.5, version=1)
    other_world.cell("ltrp", 0.5, 0.5, version=2)
    other_world.cell("ltrp", 1.0, 0.5, version=2)
    rows = _compare(world, other_world).rows
    assert [(row.key[3], row.key[2]) for row in rows] == [("ltrp", 0.5), ("ltrp", 1.0)]


def test_the_tolerance_is_used_without_resampling_summaries(world: Any, other_world: Any) -> None:
    for one in (world, other_world):
        one.cell("ltrp", 0.5, 0.5, summary=False)
        one.cell("random", 0.5, 0.3)
    comparison = _compare(world, other_world)
    assert {row.key[3]: row.changes is None for row in comparison.rows} == {"ltrp": True, "random": False}
    assert "1 by a paired bootstrap test, Holm-corrected, 1 by tolerance 0.005" in comparison.markdown()
    with pytest.raises(ResultsError, match=r"no paired test of 1 rows, such as shapes-coverage \(none\) ltrp"):
        _compare(world, other_world, test="paired")


def test_seeds_are_paired(world: Any, other_world: Any) -> None:
    for seed in (0, 1):
        world.cell("random", 0.5, 0.3 + 0.1 * seed, seed=seed, stochastic=True)
        other_world.cell("random", 0.5, 0.3 + 0.1 * seed, seed=seed, stochastic=True)
    cells = PairedCells(world.store, other_world.store)
    row = compare(world.store.root, other_world.store.root).rows[0]
    assert row.changes is not None and row.changes["all"].point == 0
    assert cells.changes([]) == []


def test_seeds_of_one_side_do_not_count(world: Any, other_world: Any) -> None:
    """The change is the mean over the seeds 1 and 2: 0 and 0.5 * 0.2."""
    for seed, skill in ((0, 0.9), (1, 0.3), (2, 0.4)):
        world.cell("random", 0.5, skill, seed=seed, stochastic=True)
    for seed, skill in ((1, 0.3), (2, 0.6), (3, 0.1)):
        other_world.cell("random", 0.5, skill, seed=seed, stochastic=True)
    (row,) = _compare(world, other_world).rows
    assert row.status == "better" and row.changes["all"].point == pytest.approx(0.05)


def test_without_a_common_seed_there_is_no_paired_test(world: Any, other_world: Any) -> None:
    world.cell("random", 0.5, 0.3, seed=0, stochastic=True)
    other_world.cell("random", 0.5, 0.3, seed=1, stochastic=True)
    (row,) = _compare(world, other_world).rows
    assert (row.status, row.changes) == ("ok", None)


@pytest.mark.parametrize("lacking", [0, 1])
@pytest.mark.parametrize("other_metric", [False, True])
def test_both_sides_need_a_summary_of_the_metric(
    world: Any, other_world: Any, lacking: int, other_metric: bool
) -> None:
    worlds = (world, other_world)
    record = [one.cell("ltrp", 0.5, 0.5) for one in worlds][lacking]
    store = worlds[lacking].store
    summary = store.read_summary(record)
    store.summary_path(record.fingerprint).unlink()
    if other_metric:
        store.write_summary(record, replace(summary, metrics=("recall",)))
    (row,) = _compare(world, other_world).rows
    assert (row.status, row.changes) == ("ok", None)


def test_p_values_are_those_of_a_normal_distribution(world: Any, other_world: Any) -> None:
    """The mean change of 120 images, and its standard error std / sqrt(120); three tests of one row, by Holm."""
    before = world.cell("ltrp", 0.5, 0.5)
    other_world.easy = np.random.default_rng(2).random(len(world.images))
    after = other_world.cell("ltrp", 0.5, 0.47)
    moved = other_world.values(0.47, 0.0, 0.5) - world.values(0.5, 0.0, 0.5)
    (row,) = _compare(world, other_world).rows
    parts = {"all": moved, "seen": moved[::2], "unseen": moved[1::2]}
    p = {group: norm.cdf(x.mean() / (x.std() / len(x) ** 0.5)) for group, x in parts.items()}
    least = min(p, key=lambda group: p[group])
    assert row.changes[least].p_fall == pytest.approx(min(1.0, 3 * p[least]), rel=0.15)
    largest = max(p, key=lambda group: p[group])
    assert row.changes[largest].p_rise == pytest.approx(min(1.0, 3 * (1 - p[largest])), rel=0.15)
    # The draws are those of the task, which all tables of its images share.
    summaries = [one.store.read_summary(r) for one, r in ((world, before), (other_world, after))]
    tables = [aggregate_store(one.store).to_dict("records")[0] for one in (world, other_world)]
    (changes,) = PairedCells(world.store, other_world.store, 50).changes([(tables[0], tables[1])])
    was, now = paired(*summaries, "coverage", "shapes-coverage", 50)
    assert changes is not None
    for group, change in changes.items():
        assert change.point == pytest.approx(parts[group].mean())
        assert (change.low, change.high) == (now[group] - was[group]).interval()


@pytest.mark.parametrize(
    ("point", "draws", "p"),
    [
        (-0.2, [-0.3, -0.2, -0.1], norm.cdf(-2)),  # the standard deviation is 0.1
        (0.1, [0.0, 0.1, 0.2], norm.cdf(1)),
        (0.0, [0.0, 0.0, 0.0], 1.0),
        (-1e-12, [0.0, 0.0, 0.0], 1.0),  # rounding is no decrease
        (-1e-3, [-1e-3, -1e-3, -1e-3], 0.0),
        (np.nan, [0.0, 0.0, 0.0], np.nan),
        (0.1, [np.nan, np.nan, np.nan], np.nan),
    ],
)
def test_one_sided_p_value(point: float, draws: list[float], p: float) -> None:
    estimate = Estimate("key", point, np.array(draws), np.zeros(0))
    assert _p_fall(estimate) == pytest.approx(p, nan_ok=True)


def test_changes_as_text() -> None:
    fall, rise, none = (
        Change(-0.0312, -0.041, -0.0221, 0.001, 1.0),
        Change(0.02, 0.01, 0.03, 1.0, 0.0123),
        Change(0.0, -0.01, 0.01, 0.5, 0.6),
    )
    assert fall.text() == "-0.0312 [-0.0410, -0.0221], p 0.001"
    assert rise.text() == "+0.0200 [+0.0100, +0.0300], p 0.012"
    assert none.text() == "+0.0000 [-0.0100, +0.0100], p 0.6"
    assert [(one.fell, one.rose) for one in (fall, rise, none)] == [(True, False), (False, True), (False, False)]
    assert not replace(fall, p_fall=ALPHA).fell and not replace(rise, p_rise=ALPHA).rose


def test_junit(world: Any, other_world: Any, tmp_path: Path) -> None:
    world.cell("ltrp", 0.5, 0.5)
    other_world.cell("ltrp", 0.5, 0.4)
    world.cell("random", 0.5, 0.3)
    other_world.cell("random", 0.5, 0.3)
    world.cell("absent", 0.5, 0.3)
    root = ElementTree.fromstring(_compare(world, other_world).junit())
    suite = root.find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("3", "2")
    failed = {case.get("name"): case.find("failure") for case in suite.findall("testcase")}
    assert failed["random at keep ratio 0.5"] is None
    worse = failed["ltrp at keep ratio 0.5"]
    assert worse is not None and "worse: all -0.05" in str(worse.get("message"))
    assert failed["absent at keep ratio 0.5"] is not None


@pytest.mark.parametrize("unseen_by", [None, "coco80"])
def test_each_record_is_read_once(
    world: Any, other_world: Any, known_labels: Any, monkeypatch: pytest.MonkeyPatch, unseen_by: str | None
) -> None:
    paths = []
    for one in (world, other_world):
        for name in ("ltrp", "random"):
            paths.append(one.store.cell_path(one.cell(name, 0.5, 0.5).fingerprint))
    read: list[Path] = []
    read_text = Path.read_text

    def counted(path: Path, *args: Any, **options: Any) -> str:
        read.append(path)
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    options = CompareOptions(unseen_by=unseen_by)
    compare(world.store.root, other_world.store.root, options, label_sets=known_labels)
    assert sorted(path for path in read if path.parent.name == "cells") == sorted(paths)
