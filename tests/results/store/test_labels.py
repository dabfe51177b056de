"""Labels of selectors and tasks in a run folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltrp_bench.results.leaderboard.build import load_leaderboard
from ltrp_bench.results.leaderboard.export import write_table
from ltrp_bench.results.schema.atomic_io import exclusive
from ltrp_bench.results.schema.record import CellRecord, ResultsError
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
    for content, error in (
        ('{"selectors": {}', "JSONDecodeError"),
        ('{"selectors": {}}', "KeyError"),
        ("[]", "TypeError"),
    ):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(ResultsError, match=rf"^{tmp_path / FILE} is damaged \({error}\); delete it$"):
            read_labels(tmp_path)


def test_the_file_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted and indented, so that users can edit it; written only where a label is new."""
    store, path = RunStore(tmp_path), tmp_path / "labels.json"
    add_labels(store, Labels())
    assert not path.exists()
    add_labels(store, Labels({"b2": "théirs", "a1": "ours"}, {"t1": "x"}))
    content = '{\n "selectors": {\n  "a1": "ours",\n  "b2": "théirs"\n },\n "tasks": {\n  "t1": "x"\n }\n}\n'
    assert path.read_bytes() == content.encode()
    assert [lock.name for lock in (tmp_path / "partial").iterdir()] == ["labels.lock"]
    monkeypatch.setattr(RunStore, "write", lambda *_: pytest.fail("nothing is new"))
    add_labels(store, Labels({"a1": "ours"}))
    add_labels(store, Labels({"a1": "other"}), keep=True)
    path.write_text('{"selectors": {"a1": 7}, "tasks": {}}')
    assert read_labels(tmp_path) == Labels({"a1": "7"})


def test_labels_are_added_by_one_process_at_a_time(tmp_path: Path) -> None:
    other = threading.Thread(target=add_labels, args=(RunStore(tmp_path), Labels({"a1": "ours"})))
    with exclusive(tmp_path / "partial" / "labels.lock", wait=True):
        other.start()
        other.join(0.2)
        assert read_labels(tmp_path) == Labels()
    other.join()
    assert read_labels(tmp_path) == Labels({"a1": "ours"})


def test_labels_of_some_cells(make_record: Callable[..., CellRecord]) -> None:
    records = [make_record("ltrp"), make_record("evit", task="t")]
    (one, task), (other, other_task) = ((r.selector.identity.short, r.task.identity.short) for r in records)
    labels = Labels({one: "1", other: "2", "0" * 8: "3"}, {task: "4", other_task: "5", "1" * 8: "6"})
    assert labels.of(records[:1]) == Labels({one: "1"}, {task: "4"})
    assert labels.of(records) == Labels({one: "1", other: "2"}, {task: "4", other_task: "5"})
    assert labels.of([]) == Labels()


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


def test_names_of_models_and_files_of_weights(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    add_labels(store, Labels({"a1": "ours"}, models={"t1": "yolox"}, weights={"a1": "tiny.pt"}))
    add_labels(store, Labels(models={"t1": "other", "t2": "rtmdet"}), keep=True)
    found = Labels({"a1": "ours"}, {}, {"t1": "yolox", "t2": "rtmdet"}, {"a1": "tiny.pt"})
    assert read_labels(tmp_path) == found
    assert json.loads((tmp_path / FILE).read_text())["models"] == {"t1": "yolox", "t2": "rtmdet"}
    assert Labels({"a1": "x"}).to_json() == b'{\n "selectors": {\n  "a1": "x"\n },\n "tasks": {}\n}\n'
