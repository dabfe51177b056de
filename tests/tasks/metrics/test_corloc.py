"""CorLoc: boxes of components and what they find, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ltrp_bench.tasks.metrics.corloc import box_overlaps, component_box, found_share

ROWS, COLUMNS = (0.0, 2.5, 5.0, 7.5), (0.0, 4.0, 8.0, 12.0, 16.0)


@pytest.mark.parametrize(
    ("mask", "box"),
    [
        ([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]], (4.0, 2.5, 8.0, 5.0)),  # a corner connects nothing
        ([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]], (0.0, 0.0, 8.0, 2.5)),  # of two alike the first
        ([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], (12.0, 2.5, 4.0, 2.5)),
        ([[1, 1, 1, 1]] * 3, (0.0, 0.0, 16.0, 7.5)),
        ([[0, 0, 0, 0]] * 3, None),
    ],
)
def test_box_of_the_largest_component(mask: list[list[int]], box: tuple[float, ...] | None) -> None:
    assert component_box(np.array(mask, bool), ROWS, COLUMNS) == box


def test_overlaps_by_hand() -> None:
    box = (0.0, 0.0, 4.0, 4.0)
    others = [box, (2.0, 0.0, 4.0, 4.0), (1.0, 1.0, 2.0, 2.0), (4.0, 0.0, 1.0, 1.0)]
    np.testing.assert_allclose(box_overlaps(box, others), [1, 8 / 24, 4 / 16, 0])
    assert box_overlaps(None, others).tolist() == [0, 0, 0, 0] and box_overlaps(box, []).tolist() == []


def test_an_image_counts_once() -> None:
    image, found = np.array([0, 0, 0, 2, 3]), np.array([True, True, False, False, True])
    assert found_share(image, found) == (pytest.approx(2 / 3), 3)
    share, images = found_share(image[:0], found[:0])
    assert math.isnan(share) and images == 0
