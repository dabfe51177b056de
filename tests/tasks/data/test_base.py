from __future__ import annotations

import hashlib

import numpy as np
import pytest

from ltrp_bench.selectors.errors import UsageError
from ltrp_bench.tasks.data.base import DataNotes, ImageDataset, Omission, RandomLimit, limited


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


@pytest.mark.parametrize("limit", [0, RandomLimit(0, 1)])
def test_a_limit_is_at_least_one(limit: int | RandomLimit) -> None:
    assert limited("abc", None) == "abc" and limited("abc", 1) == "a" and limited("abc", 5) == "abc"
    with pytest.raises(UsageError, match=r"^limit must be at least 1, got 0$"):
        limited("abc", limit)


def test_a_random_subset_depends_on_ids_and_seed_alone() -> None:
    ids = [f"image {number}" for number in range(100)]
    # The first 10 by sha256 of "3/<id>", in the given order.
    digests = {one: hashlib.sha256(f"3/{one}".encode()).hexdigest() for one in ids}
    expected = {one for one in ids if digests[one] <= sorted(digests.values())[9]}
    found = limited(ids, RandomLimit(10, 3))
    assert len(found) == 10 and found == [one for one in ids if one in expected]
    assert limited(ids[::-1], RandomLimit(10, 3)) == found[::-1]
    assert set(limited(ids, RandomLimit(4, 3))) < set(found) != set(limited(ids, RandomLimit(10, 4)))
    assert limited(ids, RandomLimit(200, 3)) == ids
    padded = limited([f"{number:012d}" for number in range(100)], RandomLimit(10, 3))
    assert [int(one) for one in padded] == limited(range(100), RandomLimit(10, 3), str)


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
