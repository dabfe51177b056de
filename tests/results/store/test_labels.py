"""Labels of selectors and tasks in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.schema.record import ResultsError
from ltrp_bench.results.store.archive import export, import_archive
from ltrp_bench.results.store.labels import FILE, Labels, add_labels, read_labels
from ltrp_bench.results.store.run_store import RunStore


def test_newer_labels_win_unless_those_there_are_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert read_labels(tmp_path) == Labels()
    add_labels(store, Labels({"a1": "ours"}, {"t1": "é"}))
    add_labels(store, Labels({"a1": "mine", "b2": "theirs"}))
    assert read_labels(tmp_path) == Labels({"a1": "mine", "b2": "theirs"}, {"t1": "é"})
    add_labels(store, Labels({"a1": "other", "c3": "new"}), keep=True)
    assert read_labels(tmp_path).selectors == {"a1": "mine", "b2": "theirs", "c3": "new"}
    (tmp_path / FILE).write_text('{"selectors": {}')
    with pytest.raises(ResultsError, match=r"labels\.json is damaged .*: delete it"):
        read_labels(tmp_path)


@pytest.fixture
def labelled(world: Any) -> tuple[Any, str, str]:
    """Two selectors, of which "ltrp" and the task have labels; and ids of both."""
    record = world.cell("ltrp", 0.5, 0.6)
    world.cell("random", 0.5, 0.3)
    selector, task = record.selector.identity.short, record.task.identity.short
    add_labels(world.store, Labels({selector: "LTRP, ours", "0" * 8: "of no cell"}, {task: "ours"}))
    return world, selector, task


def test_tables_show_labels_and_keep_names(labelled: Any, tmp_path: Path) -> None:
    board = load_leaderboard(labelled[0].store.root)
    rows = board.frame[board.frame["ratios"] == "0.5"].set_index("selector")
    assert rows["selector_label"].to_dict() == {"ltrp": "LTRP, ours", "random": ""}
    assert set(rows["task_label"]) == {"ours"} and set(board.pairs["task_label"]) == {"ours"}
    assert set(board.pairs[["first_label", "second_label"]].to_numpy().ravel()) == {"LTRP, ours", ""}
    for suffix in (".md", ".tex"):
        for frame in (board.frame, board.pairs):
            write_table(frame, tmp_path / f"t{suffix}")
            text = (tmp_path / f"t{suffix}").read_text()
            assert "LTRP, ours" in text and "random" in text and " ltrp " not in text


def test_labels_of_exported_cells_travel_with_them(labelled: Any, tmp_path: Path) -> None:
    world, selector, task = labelled
    export(world.store.root, tmp_path / "all.zip")
    export(world.store.root, tmp_path / "random.zip", selectors=["random"])
    here = RunStore(tmp_path / "here")
    import_archive(tmp_path / "random.zip", here.root)
    assert read_labels(here.root) == Labels({}, {task: "ours"})
    add_labels(here, Labels({}, {task: "kept"}))
    import_archive(tmp_path / "all.zip", here.root)
    assert read_labels(here.root) == Labels({selector: "LTRP, ours"}, {task: "kept"})
