"""The sides of a comparison: their rows and groups, and which of them can be compared."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ltrp_bench.results.comparison.sides import FolderTable, check_same_groups, open_side, regroup_both
from ltrp_bench.results.leaderboard.aggregate import COLUMNS, aggregate_folder
from ltrp_bench.results.leaderboard.build import LeaderboardOptions, load_leaderboard
from ltrp_bench.results.leaderboard.csv_files import CsvTable
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.run_store import ReadOnceStore


def _csv(world: Any, path: Path, **options: Any) -> CsvTable:
    write_table(load_leaderboard(world.store.root, LeaderboardOptions(**options)).frame, path)
    return CsvTable(path)


def test_folders_and_files(world: Any, tmp_path: Path) -> None:
    world.cell("ltrp", 0.5, 0.5)
    _csv(world, tmp_path / "a.csv")
    folder, file = open_side(world.store.root), open_side(tmp_path / "a.csv")
    assert isinstance(folder, FolderTable) and isinstance(folder.store, ReadOnceStore) and isinstance(file, CsvTable)
    assert (folder.path, folder.store.root, file.path) == (world.store.root, world.store.root, tmp_path / "a.csv")
    for side in (folder, file):
        cells = side.rows()[list(COLUMNS)]
        pd.testing.assert_frame_equal(cells, aggregate_folder(world.store.root), check_dtype=False)
        assert side.rows()["selector_options"].tolist() == ['{"version":1,"weights":"w1"}']
        # The run has seen a, and has not seen b.
        assert side.groups() == {"shapes-coverage": ("imagenet1k", 1, 1)}
    with pytest.raises(ResultsError, match="does not exist"):
        open_side(tmp_path / "none")


def test_groups_are_those_that_all_tables_of_a_task_share(world: Any) -> None:
    world.cell("ltrp", 0.5, 0.5)
    world.cell("random", 0.5, 0.5)
    world.cell("ltrp", 0.5, 0.5, task="two ways")
    world.cell("ltrp", 0.5, 0.5, task="two ways", label_set="coco80")
    unsplit = world.make(task="no categories")
    rows = tuple(row for row in unsplit.metrics if row.category is None)
    world.store.write_cell(replace(unsplit, metrics=rows), {}, {"x": "int64"}, {})
    more = world.make(task="more")
    rows = (*more.metrics, *(replace(more.metrics[0], group="unseen", category=name) for name in "cd"))
    world.store.write_cell(replace(more, metrics=rows), {}, {"x": "int64"}, {})
    assert open_side(world.store.root).groups() == {
        "shapes-coverage": ("imagenet1k", 1, 1),
        "more": ("imagenet1k", 1, 3),
    }


def test_tasks_of_both_sides_need_one_split(world: Any, other_world: Any, known_labels: Any, tmp_path: Path) -> None:
    world.cell("ltrp", 0.5, 0.5)
    other_world.cell("ltrp", 0.5, 0.4)
    other_world.cell("ltrp", 0.5, 0.4, task="elsewhere", label_set="coco80")
    mine, theirs = open_side(world.store.root), open_side(other_world.store.root)
    check_same_groups(mine, theirs)
    check_same_groups(theirs, mine)
    check_same_groups(mine, _csv(world, tmp_path / "own.csv"))
    write_table(
        load_leaderboard(world.store.root, LeaderboardOptions(unseen_by="imagenet21k"), label_sets=known_labels).frame,
        tmp_path / "by21k.csv",
    )
    by_21k = open_side(tmp_path / "by21k.csv")
    assert by_21k.groups() == {"shapes-coverage": ("imagenet21k", 2, 0)}
    with pytest.raises(ResultsError) as caught:
        check_same_groups(mine, by_21k)
    assert str(caught.value).startswith(
        f"shapes-coverage is split by imagenet1k (1 unseen categories) in {world.store.root} and by imagenet21k "
        f"(0 unseen categories) in {tmp_path / 'by21k.csv'}, so seen and unseen cannot be compared"
    )


def test_both_sides_are_regrouped_together(world: Any, other_world: Any, known_labels: Any, tmp_path: Path) -> None:
    """By "kinds", a is unseen and b is narrow, which the runs count as seen."""
    cells = [one.cell("ltrp", 0.5, 0.5, bias) for one, bias in ((world, 0.2), (other_world, 0.0))]
    sides = open_side(world.store.root), open_side(other_world.store.root)
    for narrow_as in (None, "seen", "unseen"):
        both = regroup_both(sides, "kinds", known_labels, lambda line: None, narrow_as)  # type: ignore[arg-type]
        assert [side.path for side in both] == [world.store.root, other_world.store.root]
        for side, cell in zip(both, cells, strict=True):
            (row,) = side.rows().to_dict("records")
            a, b = cell.value("coverage", "seen"), cell.value("coverage", "unseen")
            split = (math.nan, cell.value("coverage", "all")) if narrow_as == "unseen" else (b, a)
            assert (row["seen"], row["unseen"]) == pytest.approx(split, nan_ok=True)
    # What no selector of either side has seen: a selector of one side has seen b.
    other_world.cell("evit", 0.5, 0.5, label_sets=("coco80",))
    sides = open_side(world.store.root), open_side(other_world.store.root)
    common = regroup_both(sides, "common", known_labels, lambda line: None, None)
    for side in common:
        assert side.rows()["unseen"].isna().all()  # by imagenet1k, a is seen
    lines: list[str] = []
    foreign = world.make(task="foreign")
    rows = tuple(replace(row, category="c") if row.category else row for row in foreign.metrics)
    world.store.write_cell(replace(foreign, metrics=rows), {}, {"x": "int64"}, {})
    regroup_both((open_side(world.store.root), sides[1]), "kinds", known_labels, lines.append, None)
    assert lines == ["kinds has no split of the categories of foreign, which stay split by imagenet1k"]


def test_files_cannot_be_regrouped(world: Any, known_labels: Any, tmp_path: Path) -> None:
    world.cell("ltrp", 0.5, 0.5)
    folder, file = open_side(world.store.root), _csv(world, tmp_path / "a.csv")
    for sides in ((folder, file), (file, folder), (file, file)):
        with pytest.raises(ResultsError, match=r"a\.csv cannot be split by kinds: it must be a run folder on both"):
            regroup_both(sides, "kinds", known_labels, lambda line: None, None)
