"""Ceilings: of which objects an oracle's value is a bound, and where it is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.ceilings import ceiling_notes
from ltrp_bench.results.leaderboard.export import markdown
from ltrp_bench.results.schema.record import CellRecord, Identity, cell_fingerprint
from ltrp_bench.results.schema.rows import GROUPS, MetricRow

ALL = (
    "oracle: no ranking covers more of all objects; the most of seen or of unseen objects alone is covered by "
    "oracle.seen and oracle.unseen (groups of the run's split)"
)
NONE = "oracle: ranks by ground truth, but is no bound: other patches may score higher"


def store(world: Any, name: str, group: str | None = None, version: int = 2, **cell: Any) -> CellRecord:
    """Store a cell of an oracle."""
    record = world.cell(name, 0.5, 0.9, **cell)
    options = {"patch_size": 8, **({} if group is None else {"group": group})}
    identity = Identity.of({"name": name, "options": options, "version": version})
    names = record.selector.identity.value, record.task.identity.value
    fingerprint = cell_fingerprint(identity.value, names[1], record.keep_ratio, record.seed, record.reduction)
    own = replace(record, fingerprint=fingerprint, selector=replace(record.selector, identity=identity))
    images = world.store.read_images(record.fingerprint)
    summary = world.store.read_summary(record)
    world.store.cell_path(record.fingerprint).unlink()
    return world.store.write_cell(own, images, world.schema, {}, summary)


def ceilings(world: Any, label_sets: Any = None, **options: Any) -> dict[str, str]:
    """Selector -> its ceiling."""
    sets = {} if label_sets is None else {"label_sets": label_sets}
    frame = load_leaderboard(world.store.root, LeaderboardOptions(intervals=False, **options), **sets).frame
    return dict(zip(frame["selector"], frame["ceiling"], strict=True))


def test_coverage_has_ceilings_of_all_objects_and_of_groups(world: Any) -> None:
    world.cell("ltrp", 0.5, 0.6)
    store(world, "oracle")
    store(world, "oracle.unseen+small", "unseen+small")
    assert ceilings(world) == {"ltrp": "", "oracle": "all", "oracle.unseen+small": "unseen+small"}
    text = markdown(load_leaderboard(world.store.root).frame)
    assert f"\n\n{ALL}\n\noracle.unseen+small: the ceiling of the group unseen+small only; its other" in text


@pytest.mark.parametrize("cell", [{"reduction": "drop"}, {"reduction": "fill"}])
def test_with_a_model_the_oracle_is_no_bound(world: Any, cell: dict[str, str]) -> None:
    store(world, "oracle", **cell)
    assert ceilings(world) == {"oracle": "no bound"}
    assert NONE in markdown(load_leaderboard(world.store.root).frame)


def test_corloc_has_no_ceiling(world: Any) -> None:
    record = store(world, "oracle")
    images, summary = world.store.read_images(record.fingerprint), world.store.read_summary(record)
    world.store.cell_path(record.fingerprint).unlink()
    rows = [MetricRow("corloc", group, None, 0.5, 1) for group in GROUPS]
    world.store.write_cell(replace(record, metrics=(*record.metrics, *rows)), images, world.schema, {}, summary)
    assert ceilings(world, metrics=("corloc",)) == {"oracle": "no bound"}
    assert ceilings(world, metrics=("coverage",)) == {"oracle": "all"}


def test_the_oracle_of_old_versions_is_no_ceiling(world: Any) -> None:
    store(world, "oracle", version=1)
    assert ceilings(world) == {"oracle": "no bound"}


def test_in_other_groups_than_those_of_the_run(world: Any, known_labels: Any) -> None:
    for name, group in (("oracle", None), ("oracle.unseen", "unseen"), ("oracle.small", "small")):
        store(world, name, group)
    own = {"oracle": "all", "oracle.unseen": "unseen", "oracle.small": "small"}
    assert ceilings(world, known_labels, unseen_by="imagenet1k") == own
    other = ceilings(world, known_labels, unseen_by="coco80")
    assert other == {**own, "oracle.unseen": "no bound: groups of the run"}
    (line,) = ceiling_notes([{"selector": "oracle.unseen", "selector_id": "1", "ceiling": other["oracle.unseen"]}])
    assert line.endswith("by the split of the run, so it is no ceiling in the groups of this table")


def test_tables_without_the_column_have_no_lines() -> None:
    assert ceiling_notes([{"selector": "oracle"}, {"selector": "oracle", "ceiling": float("nan")}]) == []
