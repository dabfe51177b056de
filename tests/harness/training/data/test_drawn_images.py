"""Images of `shapes` are generated once."""

from __future__ import annotations

import numpy as np

from ltrp_bench.harness.training.data.drawn_images import DrawnImages
from ltrp_bench.tasks.data.shapes.world import SIZE


def test_an_image_is_drawn_once_and_kept() -> None:
    drawn: list[int] = []

    def draw(index: int) -> tuple[np.ndarray, str]:
        drawn.append(index)
        return np.full((SIZE, SIZE, 4), index, np.uint8), f"target {index}"

    images = DrawnImages(5, draw, channels=4)
    for index in (3, 1, 3, 0, 1):
        pixels, target = images[index]
        assert pixels.shape == (SIZE, SIZE, 4)
        assert (pixels == index).all()
        assert target == f"target {index}"
    assert drawn == [3, 1, 0]
