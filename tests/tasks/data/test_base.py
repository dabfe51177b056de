from __future__ import annotations

import numpy as np
import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.base import DataNotes, ImageDataset, Omission, check_limit


class TwoImages(ImageDataset):
    domain, categories, revision = "photos", ("cat",), "1"

    def pixels(self, index: int) -> np.ndarray:
        return np.zeros((1, 1, 3), np.uint8)


def test_ids_keep_their_order_and_are_found_again() -> None:
    dataset = TwoImages(["b", "a"])
    assert dataset.ids == ("b", "a") and len(dataset) == 2
    assert (dataset.index("b"), dataset.index("a")) == (0, 1)
    with pytest.raises(KeyError, match="c"):
        dataset.index("c")


def test_a_limit_is_at_least_one() -> None:
    assert check_limit(None) is None and check_limit(1) == 1
    with pytest.raises(UsageError, match=r"^limit must be at least 1, got 0$"):
        check_limit(0)


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
