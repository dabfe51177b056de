"""Groups of categories chosen when results are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.category_groups import (
    CategoryGroups,
    GroupReader,
    RegroupedStore,
    category_counts,
    joint_states,
    regroup,
    stored_groups,
)
from ltrp_bench.results.schema.rows import MetricRow
from ltrp_bench.results.statistics.replicates import Replicates
from ltrp_bench.selectors.errors import UsageError


def test_stored_groups_come_from_the_rows_of_single_categories(world: Any) -> None:
    record = world.cell("good", 0.5, 0.6)
    found = stored_groups(record, world.store)
    assert found == CategoryGroups("imagenet1k", frozenset("a"), frozenset("b"), "seen")
    assert found.categories == ("a", "b")


@pytest.mark.parametrize(("narrow_as", "seen", "unseen"), [("seen", {"x", "y"}, {"z"}), ("unseen", {"x"}, {"y", "z"})])
def test_groups_by_states_count_narrow_categories_as_the_run_did(narrow_as: str, seen: set, unseen: set) -> None:
    groups = CategoryGroups("imagenet1k", frozenset("xyz"), frozenset(), narrow_as)
    found = groups.by_states("imagenet21k", {"x": "seen", "y": "narrow", "z": "unseen"})
    assert (found.split_by, found.seen, found.unseen) == ("imagenet21k", seen, unseen)


def test_narrow_categories_can_be_counted_anew(world: Any, known_labels: Any) -> None:
    world.cell("good", 0.5, 0.6)
    for narrow_as, seen in (("seen", {"b"}), ("unseen", set()), (None, {"b"})):
        store, groups = regroup(world.store, "kinds", known_labels, narrow_as=narrow_as)  # type: ignore[arg-type]
        found = groups.shown(store.read_cells()[0])
        assert (found.seen, found.unseen, found.narrow_as) == (seen, {"a", "b"} - seen, narrow_as or "seen")


def test_narrow_categories_of_the_runs_own_label_set(world: Any, known_labels: Any) -> None:
    record = world.cell("good", 0.5, 0.6)
    known_labels.contents["imagenet1k"] = {"a": "narrow", "b": "narrow"}
    reader = GroupReader(world.store, known_labels)
    # The run counts narrow categories as seen: a may be narrow, b was declared unseen by the run's split.
    assert reader.states(record, "imagenet1k") == {"a": "narrow", "b": "unseen"}


def test_joint_states_take_the_most_seen() -> None:
    one, other = {"x": "seen", "y": "unseen", "z": "unseen"}, {"x": "unseen", "y": "narrow", "z": "unseen"}
    assert joint_states("xyz", [one, other]) == {"x": "seen", "y": "narrow", "z": "unseen"}  # type: ignore[list-item]
    assert joint_states("xy", []) == {"x": "unseen", "y": "unseen"}


def test_the_run_decides_about_its_own_label_set(world: Any, known_labels: Any) -> None:
    record = world.cell("good", 0.5, 0.6)
    reader = GroupReader(world.store, known_labels)
    assert reader.states(record, "imagenet1k") == {"a": "seen", "b": "unseen"}
    assert reader.states(record, "coco80") == {"a": "unseen", "b": "seen"}
    assert reader.states(record, "captions") is None


def test_values_of_another_split_are_those_of_its_categories(world: Any, known_labels: Any) -> None:
    original = world.cell("good", 0.5, 0.6, 0.2)
    notices: list[str] = []
    store, groups = regroup(world.store, "coco80", known_labels, notices.append)
    (record,) = store.read_cells()
    # Category a has the even images, b the odd ones; coco80 swaps seen and unseen.
    kept = world.values(0.6, 0.2, 0.5)
    assert record.value("coverage", "unseen") == pytest.approx(kept[::2].mean(), abs=1e-12)
    assert record.value("coverage", "seen") == pytest.approx(kept[1::2].mean(), abs=1e-12)
    assert record.value("coverage", "all") == original.value("coverage", "all")
    assert np.isnan(record.value("coverage_gap", "all"))
    assert groups.shown(record) == CategoryGroups("coco80", frozenset("b"), frozenset("a"))
    assert groups.stored(record) == CategoryGroups("imagenet1k", frozenset("a"), frozenset("b"))
    summary = store.read_summary(record)
    assert summary is not None and summary.groups["unseen"] == ("a",) and summary.groups["all"] == ("a", "b")
    assert notices == []


def test_estimates_of_another_split_have_their_own_cache(world: Any, known_labels: Any) -> None:
    record = world.cell("good", 0.5, 0.6, 0.2)
    store, _ = regroup(world.store, "coco80", known_labels)
    assert isinstance(store, RegroupedStore)
    first, swapped = Replicates(world.store, 100).of(record), Replicates(store, 100).of(store.read_cells()[0])
    assert first is not None and swapped is not None
    assert swapped["seen"].point == first["unseen"].point
    np.testing.assert_array_equal(swapped["seen"].draws, first["unseen"].draws)
    names = sorted(path.name for path in (world.store.root / "bootstrap").iterdir())
    assert len(names) == 2 and f"{record.fingerprint}.coverage.npz" in names
    # Both are found again.
    again = Replicates(store, 100).of(store.read_cells()[0])
    assert again is not None and again["seen"].point == swapped["seen"].point


def test_the_same_split_changes_nothing(world: Any, known_labels: Any) -> None:
    record = world.cell("good", 0.5, 0.6, 0.2)
    store, _ = regroup(world.store, "imagenet1k", known_labels)
    assert store.read_cells() == [record]


def test_common_is_what_no_selector_has_seen(world: Any, known_labels: Any) -> None:
    for ratio in (0.25, 0.5):
        world.cell("good", ratio, 0.6, label_sets=())
        world.cell("detector", ratio, 0.6, label_sets=("coco80",))
        world.cell("captioned", ratio, 0.6, label_sets=("captions",))
    store, groups = regroup(world.store, "common", known_labels)
    assert {groups.shown(one).unseen for one in store.read_cells()} == {frozenset("a")}
    # A selector that has seen a as well leaves nothing unseen.
    world.cell("both", 0.5, 0.6, label_sets=("imagenet21k",))
    store, groups = regroup(world.store, "common", known_labels)
    assert {groups.shown(one).unseen for one in store.read_cells()} == {frozenset()}


def test_a_mean_over_images_counts_each_image_once(world: Any, known_labels: Any) -> None:
    record = replace(world.make("good", 0.5, values=(0.5, 1.0, 0.0)), images=120)
    meta = {"kind": "means", "images": world.images, "categories": ["a", "b"], "metrics": ["coverage"]}
    groups = {"all": ["a", "b"], "seen": ["a"], "unseen": ["b"]}
    # Two images: one shows a and b, the other b.
    summary = {
        "meta": {**meta, "groups": groups, "per_image": ["coverage"]},
        "image": np.array([0, 0, 1]),
        "category": np.array([0, 1, 1]),
        "values": np.array([[1.0, 0.0, 0.0]]),
    }
    world.store.write_cell(record, {image: [] for image in world.images}, world.schema, {}, summary)
    store, _ = regroup(world.store, "kinds", known_labels, narrow_as="unseen")
    (row,) = [
        r for r in store.read_cells()[0].metrics if (r.metric, r.group, r.category) == ("coverage", "unseen", None)
    ]
    assert (row.value, row.n) == (0.5, 2)


def test_without_labels_everything_is_unseen(world: Any, known_labels: Any) -> None:
    world.cell("good", 0.5, 0.6, label_sets=())
    notices: list[str] = []
    frame = load_leaderboard(
        world.store.root, LeaderboardOptions(unseen_by="common"), label_sets=known_labels, notice=notices.append
    ).frame
    assert frame["unseen_categories"].tolist() == [2] and frame["unseen"].tolist() == pytest.approx(frame["all"])
    assert notices == [
        "no selector of shapes-coverage was trained on known labels, so no selector has seen any category"
    ]


def test_a_label_set_that_splits_no_task_is_refused(world: Any, known_labels: Any) -> None:
    world.cell("good", 0.5, 0.6)
    options = LeaderboardOptions(unseen_by="objects365")
    with pytest.raises(UsageError, match="objects365 has no split of the categories of shapes-coverage; `ltrp-bench"):
        load_leaderboard(world.store.root, options, label_sets=known_labels)


def test_tasks_that_a_label_set_does_not_split_keep_their_groups(world: Any, known_labels: Any) -> None:
    world.cell("good", 0.5, 0.6)
    other = world.make("good", 0.5, task="other-coverage")
    rows = [replace(row, category={"a": "x", "b": "y"}[row.category]) for row in other.metrics if row.category]
    world.store.write_cell(replace(other, metrics=tuple(rows)), {}, world.schema, {})
    known_labels.contents = {"objects365": {"x": "unseen", "y": "unseen"}}
    notices: list[str] = []
    store, groups = regroup(world.store, "objects365", known_labels, notices.append)
    shown = {record.task.name: groups.shown(record).split_by for record in store.read_cells()}
    assert shown == {"shapes-coverage": "imagenet1k", "other-coverage": "objects365"}
    assert notices[0] == "objects365 has no split of the categories of shapes-coverage, which stay split by imagenet1k"


def test_each_split_of_a_run_decides_for_its_own_cells(world: Any, known_labels: Any) -> None:
    """The same task was run with two splits under one name: neither decides for the other."""
    records = []
    for limit, unseen in ((1, "b"), (2, "a")):
        made = world.make("good", 0.5, limit=limit)
        rows = [
            replace(row, group="unseen" if row.category == unseen else "seen") for row in made.metrics if row.category
        ]
        records.append(world.store.write_cell(replace(made, metrics=tuple(rows)), {}, world.schema, {}))
    for unseen_by in ("imagenet1k", "common"):
        _, groups = regroup(world.store, unseen_by, known_labels)
        assert [groups.shown(record).unseen for record in records] == [frozenset("b"), frozenset("a")]


def test_cells_without_summary_have_no_values_in_other_groups(world: Any, known_labels: Any) -> None:
    world.cell("old", 0.5, 0.6, summary=False)
    world.cell("good", 0.5, 0.6)
    notices: list[str] = []
    options = LeaderboardOptions(unseen_by="coco80")
    frame = load_leaderboard(world.store.root, options, label_sets=known_labels, notice=notices.append).frame
    old = frame[frame["selector"] == "old"].iloc[0]
    assert np.isnan(old["seen"]) and np.isnan(old["unseen"]) and not np.isnan(old["all"])
    assert notices[0].startswith("1 of 2 cells have no resampling summary, so their values on seen and unseen")


def test_counts_of_categories() -> None:
    rows = [
        MetricRow("IoU", "unseen", "sky", 0.5, 70),
        MetricRow("IoU", "unseen", "fog", 0.5, 0),
        MetricRow("IoU", "seen", "cat", 0.5, 9),
        MetricRow("Acc", "unseen", "sky", 0.5, 3),
        MetricRow("mIoU", "unseen", None, 0.5, 70),
    ]
    assert category_counts(rows, "mIoU", "unseen") == {"sky": 70, "fog": 0}
    assert category_counts(rows, "Acc", "unseen") == {"sky": 3}
    assert category_counts(rows, "bbox_APs", "unseen") == {}
