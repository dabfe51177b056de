from __future__ import annotations

import numpy as np

from ltrp_bench.tasks.data.annotations import SIZES, ImageAnnotations, ObjectAnnotation
from ltrp_bench.tasks.data.objects import ObjectDataset


class Counting(ObjectDataset):
    """Counts how often ground truth is read."""

    domain, categories, revision = "photos", ("cat",), "1"

    def __init__(self) -> None:
        super().__init__(["a", "b"])
        self.reads: list[tuple[int, bool]] = []

    def pixels(self, index: int) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def _truth(self, index: int, masks: bool) -> ImageAnnotations:
        self.reads.append((index, masks))
        return ImageAnnotations(self.ids[index], 4, 4, [ObjectAnnotation("cat", (0, 0, 2, 2), 4.0)])


def test_ground_truth_is_read_once_with_and_once_without_masks() -> None:
    dataset = Counting()
    first = dataset.truth(1)
    assert dataset.truth(1) is first and first.image_id == "b"
    assert dataset.truth(1, masks=True) is dataset.truth(1, masks=True)
    assert dataset.reads == [(1, False), (1, True)]


def test_size_buckets_are_cocos_by_default() -> None:
    assert SIZES == ("small", "medium", "large")
    assert [Counting().size(area) for area in (1023, 1024, 9216)] == list(SIZES)
