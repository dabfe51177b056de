from __future__ import annotations

from pathlib import Path

from ltrp_bench.harness.training.data.notes import TrainingNotes


def test_images_are_named_once_over_all_stages_and_processes(tmp_path: Path) -> None:
    notes = TrainingNotes(tmp_path)
    assert notes.skipped() == {} and notes.skipped_line is None and notes.to_json() == {}
    (tmp_path / "stage").mkdir()
    for folder, name in ((tmp_path, "b.jpg"), (tmp_path / "stage", "a.jpg"), (tmp_path, "b.jpg")):
        TrainingNotes(folder).skip(name, f"image {name} is empty")
    TrainingNotes(tmp_path / "stage").assume(["labels are sorted"])
    notes.assume([])
    assert notes.to_json() == {"assumed": ["labels are sorted"], "skipped_images": ["a.jpg", "b.jpg"]}
    assert notes.skipped_line == (
        "2 unreadable images left out, with others drawn instead: a.jpg, b.jpg (image a.jpg is empty)"
    )
    for i in range(10, 20):
        notes.skip(f"{i}.jpg", "x")
    assert notes.skipped_line is not None and " and 2 more (x)" in notes.skipped_line
