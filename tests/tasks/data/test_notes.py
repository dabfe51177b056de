from __future__ import annotations

from ltrp_bench.tasks.data.notes import DataNotes, Omission


def test_counts_of_the_images_in_use() -> None:
    notes = DataNotes()
    for image, first in (("1", "of 1"), ("2", "of 2"), ("2", "also of 2")):
        notes.count("objects", "clipped", first, image=image)
    notes.count("annotations", "left out", "of no image")
    found = notes.omissions(["2", "3"], {"objects": 5})
    assert [one.line for one in found] == ["2 of 5 objects clipped (of 2)", "1 annotations left out (of no image)"]
    assert [one.count for one in notes.omissions(["3"], {})] == [1]


def test_omissions_are_stored_as_json() -> None:
    one = Omission(noun="objects", reason="left out: crowds", count=2, total=3, first="image 1")
    assert one.to_json() == {"what": "objects left out: crowds", "count": 2, "of": 3, "first": "image 1"}
    assert Omission.from_json(one.to_json()) == one


def test_each_assumption_once() -> None:
    notes = DataNotes()
    for line in ("a", "b", "a"):
        notes.assume(line)
    assert notes.assumptions == ["a", "b"]
